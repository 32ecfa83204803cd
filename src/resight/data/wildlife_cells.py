"""The rows of a table of animals, and what its cells mean; see `resight.data.wildlife`."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from resight.data.csv_file import read_csv
from resight.data.lists import is_file
from resight.data.numbering import is_too_large
from resight.data.times import iso_seconds
from resight.errors import DataError
from resight.types import Box

NOT_KNOWN = frozenset({"", "nan", "nat", "none", "null", "<na>"})
"""How tables write an empty cell, in lower case."""

DATE = re.compile(r"\d{4}(-\d\d){0,2}")
YEAR = re.compile(r"(\d{4})\.0+")
"""A year in a column of numbers that has gaps."""


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row as text, "" where nothing is known, and the place that an error names."""

    place: str
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


def read_rows(file: Path) -> tuple[list[str], list[Row]]:
    """Read the names of the columns and the rows of a CSV file.

    Raises:
        DataError: the file cannot be read, names a column twice, or a row has too many cells.
    """
    columns, numbers, rows = read_csv(file)
    repeated = [name for name, count in Counter(columns).items() if count > 1 and name]
    if repeated:
        raise DataError(f"{file} must name each column once, but '{repeated[0]}' stands there twice")
    named = (dict(zip(columns, map(_known, cells), strict=True)) for cells in rows)
    return columns, [Row(f"{file} line {line}", cells) for line, cells in zip(numbers, named, strict=True)]


def _known(text: str) -> str:
    text = text.strip()
    return "" if text.lower() in NOT_KNOWN else text


def image_of(row: Row, root: Path) -> Path:
    """Find the file of a row; its path is absolute or starts from `root`.

    Raises:
        DataError: the row has no path, or its path is no file.
    """
    if not row["path"]:
        raise DataError(f"{row.place} has no path; fill it or take the row out")
    image = Path(os.path.normpath(root / row["path"]))
    if not is_file(image):
        raise DataError(f"{row.place} names {image}, which is no file; paths start from the table's folder")
    return image


def box_of(row: Row) -> Box | None:
    """Read "[x, y, w, h]", of numbers that need not be whole, and round the edges; what sticks out at 0 is cut off.

    Raises:
        DataError: it is nothing like that, holds no pixel, or does not fit into 64 bits.
    """
    text = row["bbox"]
    if not text:
        return None
    try:
        x, y, width, height = (float(part) for part in re.split(r"[,\s]+", text.strip("[]() ")))
        left, top = max(round(x), 0), max(round(y), 0)
        right, bottom = round(x + width), round(y + height)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{row.place} has bbox '{text}', which must be four numbers: [x, y, width, height]") from error
    if any(map(is_too_large, (left, top, right, bottom))):
        raise DataError(f"{row.place} has bbox '{text}', which is larger than any image; mend it or take the row out")
    if left >= right or top >= bottom:
        raise DataError(f"{row.place} has bbox '{text}', which holds no pixel; mend it or take the row out")
    return left, top, right - left, bottom - top


def timestamp_of(row: Row) -> float | None:
    """Read a date, with a time of day or not, as seconds since 1970; in UTC unless it names a zone.

    A year or a month alone stands for its beginning.

    Raises:
        DataError: it is no date.
    """
    if not row["date"]:
        return None
    text = _date(row)
    seconds = iso_seconds(text + "-01-01"[len(text) - 4 :] if DATE.fullmatch(text) else text)
    if seconds is None:
        raise DataError(
            f"{row.place} has date '{row['date']}', which must be like 2020-05-31, 2020/05/31 or 2020-05-31 12:00:00"
        )
    return seconds


def is_day(row: Row) -> bool:
    """Tell whether the row has a date without a time of day."""
    return DATE.fullmatch(_date(row)) is not None


def _date(row: Row) -> str:
    year = YEAR.fullmatch(row["date"])
    return year[1] if year else row["date"].replace("/", "-")
