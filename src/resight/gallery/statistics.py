"""What a gallery holds, counted."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from resight.gallery.entries import Where
from resight.gallery.store import Gallery


def statistics(gallery: Gallery) -> dict[str, Any]:
    """Count a gallery's entries by camera, type and source, in JSON's types.

    `entries`, `dim`, `fingerprint`, `about`; `cameras`, `types`, `sources`: name to number of entries, "unknown" for
    those of which it is not known; `first`, `last`: earliest and latest timestamp, None where none is known; `bytes`:
    on the disk, None for a server.
    """
    rows = gallery.scan(Where(), ["id", "camid", "timestamp", "type", "source"])
    times = [row["timestamp"] for row in rows if row["timestamp"] is not None]
    folder = gallery.folder
    return {
        "where": gallery.where,
        "entries": len(rows),
        "dim": gallery.dim,
        "fingerprint": gallery.fingerprint,
        "about": gallery.about,
        "cameras": _counted([row["camid"] for row in rows]),
        "types": _counted([row["type"] for row in rows]),
        "sources": _counted([row["source"] for row in rows]),
        "first": min(times, default=None),
        "last": max(times, default=None),
        "bytes": None if folder is None else sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
    }


def _counted(values: Sequence[int | str | None]) -> dict[str, int]:
    known = sorted({value for value in values if value is not None}, key=lambda value: (isinstance(value, str), value))
    counts = Counter(values)
    named = {str(value): counts[value] for value in known}
    return named | ({"unknown": counts[None]} if counts[None] else {})
