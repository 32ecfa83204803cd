"""What the cells of a manifest mean: files, numbers, times and boxes, each with the line of one that is wrong."""

import math
import os
from pathlib import Path

from resight.data.lists import is_file
from resight.data.manifest_table import BOX_COLUMNS, Table
from resight.data.numbering import is_too_large, number_names, too_large, whole_number
from resight.data.times import iso_seconds
from resight.errors import DataError
from resight.types import JUNK_PID, Box

LISTED_FROM = 8
"""A folder of which so many files are wanted is listed once; asking for each of fewer is quicker."""


def image_files(table: Table) -> list[Path]:
    """Find the file of each row; paths are absolute or start from the manifest's folder.

    Raises:
        DataError: a row has no path, or its path is no file.
    """
    parts = [text.rpartition("/") for text in table["path"]]
    wanted: dict[str, set[str]] = {}
    for above, slash, name in parts:
        wanted.setdefault(above + slash, set()).add(name)
    folders = {text: Path(os.path.normpath(table.file.parent / text)) for text in wanted}
    present = {text: _files_in(folders[text], names) for text, names in wanted.items()}
    for row, (above, slash, name) in enumerate(parts):
        if name not in present[above + slash]:
            raise _no_file(table, row)
    return [folders[above + slash] / name for above, slash, name in parts]


def _no_file(table: Table, row: int) -> DataError:
    text = table["path"][row]
    if not text:
        return DataError(f"{table.place(row)} has no path; fill it or take the row out")
    file = Path(os.path.normpath(table.file.parent / text))
    return DataError(f"{table.place(row)} names {file}, which is no file; paths start from the manifest's folder")


def _files_in(folder: Path, names: set[str]) -> set[str]:
    """Give those of the names that are files in the folder."""
    found: set[str] = set()
    if len(names) >= LISTED_FROM:
        try:
            with os.scandir(folder) as entries:
                found = {entry.name for entry in entries if entry.name in names and entry.is_file()}
        except (OSError, ValueError):
            found = set()
    # A file system that ignores case or spells accents its own way knows files that its listing writes otherwise.
    return found | {name for name in names - found if name not in ("", "..") and is_file(folder / name)}


def numbers(table: Table, column: str) -> list[int | None]:
    """Read a column of integers, or number the names in it; an empty cell is None, and -1 in `pid` is junk.

    Raises:
        DataError: an integer is below 0, or does not fit into 64 bits.
    """
    texts = table[column]
    junk = column == "pid"
    known = number_names({text for text in texts if text}, junk=junk)
    negative = {text for text, number in known.items() if number < 0 and not (junk and number == JUNK_PID)}
    if negative:
        row = next(row for row, text in enumerate(texts) if text in negative)
        raise DataError(
            f"{table.place(row)} has {column} {texts[row]}, which must be 0 or more, or empty where it is not known"
        )
    large = {text for text, number in known.items() if is_too_large(number)}
    if large:
        row = next(row for row, text in enumerate(texts) if text in large)
        raise too_large(f"{table.place(row)} has {column}", texts[row])
    return [known.get(text) for text in texts]


def timestamps(table: Table) -> list[float | None]:
    """Read the column of numbers, or of dates and times in ISO form: those as seconds since 1970.

    Raises:
        DataError: a cell is neither, or is not finite.
    """
    values = [_seconds(text) for text in table["timestamp"]]
    for row, value in enumerate(values):
        if value is not None and not math.isfinite(value):
            raise DataError(
                f"{table.place(row)} has timestamp '{table['timestamp'][row]}', which must be a number or empty, or a "
                "time such as 2024-05-01T12:00:00"
            )
    return values


def _seconds(text: str) -> float | None:
    """Read a number or an ISO date; NaN where it is neither."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        seconds = iso_seconds(text)
        return math.nan if seconds is None else seconds


def boxes(table: Table) -> list[Box | None]:
    """Read left, top, width and height where a row has them; a box may stick out of its image.

    Raises:
        DataError: a row has some of the four only, or one is no whole number of 64 bits, or width or height is below 1.
    """
    if not any(column in table.columns for column in BOX_COLUMNS):
        return [None] * len(table)
    columns = [table[column] for column in BOX_COLUMNS]
    known = {text: _pixels(text) for column in columns for text in set(column)}
    found: list[Box | None] = []
    for row, cells in enumerate(zip(*columns, strict=True)):
        left, top, width, height = (known[cell] for cell in cells)
        if left is None or top is None or width is None or height is None or min(width, height) < 1:
            if any(cells):
                raise _bad_box(table, row, cells)
            found.append(None)
        else:
            found.append((left, top, width, height))
    return found


def _pixels(text: str) -> int | None:
    number = whole_number(text)
    return None if number is None or is_too_large(number) else number


def _bad_box(table: Table, row: int, cells: tuple[str, ...]) -> DataError:
    """Build the error for the first of the four cells that cannot be used."""
    missing = [column for column, cell in zip(BOX_COLUMNS, cells, strict=True) if not cell]
    if missing:
        return DataError(
            f"{table.place(row)} has no {', '.join(missing)}; a box needs left, top, width and height, and a row "
            "without a box none of them"
        )
    column, cell = next(
        (column, cell)
        for column, cell in zip(BOX_COLUMNS, cells, strict=True)
        if (number := _pixels(cell)) is None or (column in ("width", "height") and number < 1)
    )
    if is_too_large(whole_number(cell) or 0):
        return too_large(f"{table.place(row)} has {column}", cell)
    more = ", 1 or more" if column in ("width", "height") else ""
    return DataError(f"{table.place(row)} has {column} '{cell}', which must be a whole number of pixels{more}")
