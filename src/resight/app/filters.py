"""Filters as texts, as a person types them: a comma stands between words, quotes around a word that has one."""

import csv
import io
from collections.abc import Iterable

from resight.errors import ConfigError, GalleryError
from resight.gallery import Where
from resight.gallery.entries import parse_cameras, parse_time

NAMES = ("camera", "after", "before", "type", "source")

MOST_SIGNS = 4096
"""Most characters of a filter."""

LARGEST_CAMERA = 2**63 - 1

Filters = dict[str, str]
"""By name; empty is none."""


def where_of(filters: Filters) -> Where:
    """Read filters; empty texts are none.

    Raises:
        ConfigError: one cannot be read, or is too long.
    """
    for name, text in filters.items():
        if len(text) > MOST_SIGNS:
            raise ConfigError(f"{name} must have at most {MOST_SIGNS:,} characters, got {len(text):,}; ask for fewer")
    camera, after, before, type, source = (filters.get(name, "") for name in NAMES)
    where = Where(
        camids=_cameras(camera) if camera else None,
        after=parse_time(after, "after") if after else None,
        before=parse_time(before, "before") if before else None,
        types=words_of(type) if type else None,
        sources=words_of(source) if source else None,
    )
    try:
        where.expression()
    except GalleryError as error:  # the texts are at fault, not the gallery
        raise ConfigError(str(error)) from error
    return where


def words_of(text: str) -> tuple[str, ...]:
    """Split at the commas; what stands in double quotes is one word."""
    cells = (cell.strip() for row in csv.reader(io.StringIO(text), skipinitialspace=True) for cell in row)
    return tuple(cell for cell in cells if cell)


def text_of(words: Iterable[str]) -> str:
    """Put words into a text that `words_of` reads."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(words)
    return line.getvalue()


def _cameras(text: str) -> tuple[int, ...]:
    camids = parse_cameras(text)
    if max(camids, default=0) > LARGEST_CAMERA:
        raise ConfigError(f"camera must be numbers of cameras up to {LARGEST_CAMERA}, got {max(camids)}")
    return camids
