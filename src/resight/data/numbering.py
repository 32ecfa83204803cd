"""Numbers for identities, cameras and tracklets that are written as integers or as names."""

import re
from collections.abc import Iterable

from resight.errors import DataError
from resight.types import JUNK_PID

WHOLE = re.compile(r"(?P<integer>-?[0-9]+)(\.0+)?")
LARGEST = 2**63 - 1
"""Tensors and Parquet columns hold integers of 64 bits."""

LONGEST = 1000
"""More digits than this are not turned into an integer, of which Python has a limit: they are too large anyway."""


def whole_number(text: str) -> int | None:
    """Read "7", and "7.0" too: tables with empty cells are often written with all numbers as fractions.

    Nothing else that Python takes for an integer is one here: "1_1" and "11" are two names.
    """
    parts = WHOLE.fullmatch(text)
    if parts is None:
        return None
    integer = parts["integer"]
    if len(integer) > LONGEST:
        return -LARGEST - 1 if integer.startswith("-") else LARGEST + 1
    return int(integer)


def number_names(texts: Iterable[str], *, junk: bool = False) -> dict[str, int]:
    """Give each distinct text its number: itself where all are integers, else its place in sorted order, from 0.

    `junk`: a text for -1 stays -1 in either case. Other negative integers are given as they stand, as are those that
    `too_large` refuses.
    """
    integers = {text: whole_number(text) for text in texts}
    if None not in integers.values():
        return {text: number for text, number in integers.items() if number is not None}
    marks = {text for text, number in integers.items() if junk and number == JUNK_PID}
    return in_sorted_order(integers.keys() - marks) | dict.fromkeys(marks, JUNK_PID)


def in_sorted_order(names: Iterable[str]) -> dict[str, int]:
    """Number the distinct names from 0 in sorted order."""
    return {name: number for number, name in enumerate(sorted(set(names)))}


def is_too_large(number: int) -> bool:
    """Tell whether an integer does not fit into 64 bits."""
    return abs(number) > LARGEST


def too_large(place: str, text: str) -> DataError:
    """Build the error for such a number; `place` ends where it follows, as in "FILE line 3 has pid"."""
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    return DataError(f"{place} {shown}, which must be at most {LARGEST} in digits 0 to 9; put a smaller number there")


def identity_or_camera(text: str, place: str) -> int:
    """Read the digits that an official name or list gives for one.

    Raises:
        DataError: the number does not fit into 64 bits.
    """
    number = whole_number(text)
    if number is None or is_too_large(number):
        raise too_large(f"{place} has the number", text)
    return number
