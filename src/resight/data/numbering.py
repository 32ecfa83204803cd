"""Numbers for identities, cameras and tracklets that are written as integers or as names."""

from collections.abc import Iterable

from resight.types import JUNK_PID


def whole_number(text: str) -> int | None:
    """Read "7", and "7.0" too: tables with empty cells are often written with all numbers as fractions."""
    try:
        if "." not in text:
            return int(text)
        value = float(text)
        return int(value) if value.is_integer() else None
    except ValueError:
        return None


def number_names(texts: Iterable[str], *, junk: bool = False) -> dict[str, int]:
    """Give each distinct text its number: itself where all are integers, else its place in sorted order, from 0.

    `junk`: a text for -1 stays -1 in either case. Other negative integers are given as they stand.
    """
    integers = {text: whole_number(text) for text in texts}
    if None not in integers.values():
        return {text: number for text, number in integers.items() if number is not None}
    marks = {text for text, number in integers.items() if junk and number == JUNK_PID}
    numbers = {name: number for number, name in enumerate(sorted(integers.keys() - marks))}
    return numbers | dict.fromkeys(marks, JUNK_PID)
