"""Dates and times of tables as seconds since 1970."""

from datetime import UTC, datetime


def iso_seconds(text: str) -> float | None:
    """Read a date, with a time of day or not, in ISO form; None where it is none.

    Without a zone it is in UTC, the same on any machine.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
