"""List files, and the checks that all official layouts share."""

import os
from collections.abc import Iterable
from pathlib import Path

from resight.errors import DataError
from resight.types import JUNK_PID, Sample

Placed = tuple[str, Sample]
"""A sample and the place that an error about it names: a file, or a line of a list."""


def is_file(path: Path) -> bool:
    """Tell whether there is a file; a name that no file can have, as one of over 255 bytes, is none."""
    return os.path.isfile(path)  # noqa: PTH113 (which answers no where `Path.is_file` raises)


def list_lines(file: Path) -> list[tuple[str, str]]:
    """Read a list file: the place ("FILE line 3") and the text of each line that is not empty, blanks cut off.

    Raises:
        DataError: the file is missing, cannot be read, or is no text in UTF-8.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"there is no list file {file}; put the one that the data set ships with there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} must be a text file in UTF-8 with one image a line: {error}") from error
    return [(f"{file} line {number}", line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def filled_list(file: Path) -> list[tuple[str, str]]:
    """Read a list file as `list_lines` does, and refuse an empty one.

    Raises:
        DataError: as there, or no line names anything.
    """
    lines = list_lines(file)
    if not lines:
        raise DataError(
            f"{file} must name at least one image, and it is empty; put the one that the data set ships with"
        )
    return lines


def refuse_twice(placed: Iterable[Placed]) -> None:
    """Do nothing if each image stands once in one split.

    Raises:
        DataError: one stands there twice; both places are named.
    """
    first: dict[tuple[Path, object], str] = {}
    for place, sample in placed:
        before = first.setdefault((sample.path, sample.box), place)
        if before is not place:
            raise DataError(f"{before} and {place} both name {sample.path}; keep one of them")


def refuse_shared_identities(train: Iterable[Placed], test: Iterable[Placed]) -> None:
    """Do nothing if no identity, junk aside, is in both train and test.

    Raises:
        DataError: one is; a place of each is named.
    """
    first: dict[int | None, str] = {}
    for place, sample in train:
        first.setdefault(sample.pid, place)
    for place, sample in test:
        if sample.pid not in (None, JUNK_PID) and sample.pid in first:
            raise DataError(
                f"no identity may be in both train and test, but {sample.pid} is: {first[sample.pid]} and {place}; "
                "take it out of one, or give the images as a manifest (docs/data.md) to use them as they are"
            )
