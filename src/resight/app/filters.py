"""Filters as texts, as a person types them: a comma stands between words, quotes around a word that has one."""

import re
from collections.abc import Iterable

from resight.errors import ConfigError, GalleryError
from resight.gallery import Where
from resight.gallery.entries import parse_time

NAMES = ("camera", "after", "before", "type", "source")

MOST_SIGNS = 4096
"""Most characters of a filter."""

LARGEST_CAMERA = 2**63 - 1

WORD = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))(?:,|\Z)')
"""A word in double quotes, or one without, up to the comma after it."""

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
    """Split at the commas; what stands in double quotes is one word as it is, where two of them mean one."""
    found = (match.groups() for match in WORD.finditer(text))
    cells = (bare.strip() if whole is None else whole.replace('""', '"') for whole, bare in found)
    return tuple(cell for cell in cells if cell)


def text_of(words: Iterable[str]) -> str:
    """Put words into a text that `words_of` reads."""
    return ",".join(map(_written, words))


def _written(word: str) -> str:
    plain = word == word.strip() and not set(word) & set('",')
    return word if plain else '"{}"'.format(word.replace('"', '""'))


def _cameras(text: str) -> tuple[int, ...]:
    numbers = words_of(text)
    if not numbers or not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"camera must be numbers of cameras with commas between, e.g. 1,2, got '{text}'")
    camids = tuple(map(int, numbers))
    if max(camids) > LARGEST_CAMERA:
        raise ConfigError(f"camera must be numbers of cameras up to {LARGEST_CAMERA}, got {max(camids)}")
    return camids
