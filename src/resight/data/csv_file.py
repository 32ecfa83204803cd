"""A CSV file in UTF-8, read whole, with the line of each row."""

import csv
from pathlib import Path

from resight.errors import DataError


def read_csv(file: Path) -> tuple[list[str], list[int], list[list[str]]]:
    """Give the names of the columns, and of each row that is not empty the line it ends in and a cell for each column.

    A row may stop early: its last cells are then empty.

    Raises:
        DataError: the file cannot be read, or a row has too many cells.
    """
    numbers, rows = [], []
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            names = [name.strip() for name in next(reader, [])]
            for cells in reader:
                if len(cells) > len(names):
                    raise DataError(
                        f"{file} line {reader.line_num} has {len(cells)} cells under {len(names)} column names; "
                        "put quotes around a cell with a comma in it"
                    )
                if cells:
                    rows.append(cells if len(cells) == len(names) else cells + [""] * (len(names) - len(cells)))
                    numbers.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a CSV file in UTF-8: {error}") from error
    return names, numbers, rows
