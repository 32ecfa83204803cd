"""A table with one image a row, CSV or Parquet: path, and where known pid, camid, timestamp and split."""

import csv
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resight.errors import DataError
from resight.types import JUNK_PID, Dataset, Sample, Split

SUFFIXES = frozenset({".csv", ".parquet"})
COLUMNS = ("path", "pid", "camid", "timestamp", "split")
SPLIT_NAMES = ("train", "query", "gallery")


@dataclass(frozen=True)
class _Row:
    """The cells of one row as text, "" where empty, and the place that an error names."""

    place: str
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


def matches(path: Path) -> bool:
    """Tell whether `path` is a file that ends in .csv or .parquet."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read(path: Path) -> Dataset:
    """Read the table; paths are absolute or relative to its folder, rows without a split are training images.

    `pid` and `camid` are integers as they stand; if any in the column is no integer, all are names, numbered from 0 in
    sorted order. Empty cells are not known; pid -1 is junk in either case.

    Raises:
        DataError: the file is no such table, or a row cannot be used; the message names the line.
    """
    if not matches(path):
        raise DataError(f"{path} must be a .csv or .parquet file to be read as a manifest")
    columns, rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    _check_columns(path, columns)
    samples = _samples(path.parent, rows)
    splits: dict[str, list[tuple[_Row, Sample]]] = {name: [] for name in SPLIT_NAMES}
    for row, sample in zip(rows, samples, strict=True):
        splits[_split_name(row)].append((row, sample))
    for name, members in splits.items():
        _refuse_duplicates(name, members)
    train, query, gallery = (Split(name, tuple(s for _, s in members)) for name, members in splits.items())
    unknown = [column for column in columns if column not in COLUMNS]
    notes = (f"columns of {path} not used: {', '.join(unknown)}",) if unknown else ()
    return Dataset(path, "manifest", train, query, gallery, notes)


def _read_csv(path: Path) -> tuple[list[str], list[_Row]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = [column.strip() for column in next(reader, [])]
            rows = []
            for cells in reader:
                if len(cells) > len(columns):
                    raise DataError(
                        f"{path} line {reader.line_num} has {len(cells)} cells under {len(columns)} column names; "
                        "put quotes around a cell with a comma in it"
                    )
                if cells:
                    # A row may stop early: its last cells are empty.
                    rows.append(_Row(f"{path} line {reader.line_num}", dict(zip(columns, cells, strict=False))))
            return columns, rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error


def _read_parquet(path: Path) -> tuple[list[str], list[_Row]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        columns = list(table.column_names)
        wanted = table.select([column for column in columns if column in COLUMNS])
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a Parquet file: {_first_line(error)}") from error
    return columns, [
        _Row(f"{path} row {number}", {column: _text(value) for column, value in cells.items()})
        for number, cells in enumerate(wanted.to_pylist(), start=1)
    ]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _text(value: object) -> str:
    # A column of integers with gaps is often stored as fractions, its gaps as "not a number".
    empty = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if empty else str(value)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if "path" not in columns:
        raise DataError(f"{path} must have a column 'path', got {', '.join(columns) or 'none'}")
    repeated = [column for column, count in Counter(columns).items() if count > 1 and column in COLUMNS]
    if repeated:
        raise DataError(f"{path} must name each column once, but '{repeated[0]}' stands there twice")


def _samples(root: Path, rows: Sequence[_Row]) -> list[Sample]:
    pids, camids = _numbers(rows, "pid"), _numbers(rows, "camid")
    return [
        Sample(_image(root, row), pid, camid, _timestamp(row))
        for row, pid, camid in zip(rows, pids, camids, strict=True)
    ]


def _image(root: Path, row: _Row) -> Path:
    if not row["path"]:
        raise DataError(f"{row.place} has no path; fill it or take the row out")
    image = Path(os.path.normpath(root / row["path"]))
    if not image.is_file():
        raise DataError(f"{row.place} names {image}, which is no file; paths start from the manifest's folder")
    return image


def _timestamp(row: _Row) -> float | None:
    text = row["timestamp"].strip()
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise DataError(f"{row.place} has timestamp '{text}', which must be a number or empty")
    return value


def _split_name(row: _Row) -> str:
    name = row["split"].strip() or "train"
    if name not in SPLIT_NAMES:
        raise DataError(f"{row.place} has split '{name}', which must be one of {', '.join(SPLIT_NAMES)} or empty")
    return name


def _numbers(rows: Sequence[_Row], column: str) -> list[int | None]:
    """Read `pid` or `camid` as integers, or number the names in it."""
    texts = [row[column].strip() for row in rows]
    integers = {text: _integer(text) for text in texts if text}
    if None in integers.values():
        names = sorted(text for text in integers if not _is_junk(text, column))
        numbers = {name: number for number, name in enumerate(names)}
        return [JUNK_PID if _is_junk(text, column) else numbers.get(text) for text in texts]
    for row, text in zip(rows, texts, strict=True):
        number = integers.get(text)
        if number is not None and number < 0 and not _is_junk(text, column):
            raise DataError(f"{row.place} has {column} {text}, which must be 0 or more, or empty where it is not known")
    return [integers.get(text) for text in texts]


def _is_junk(text: str, column: str) -> bool:
    return column == "pid" and bool(text) and _integer(text) == JUNK_PID


def _integer(text: str) -> int | None:
    """Read "7", and "7.0" too: tables with empty cells are often written with all numbers as fractions."""
    try:
        value = float(text)
        return int(value) if "." in text and value.is_integer() else int(text)
    except ValueError:
        return None


def _refuse_duplicates(split: str, members: Sequence[tuple[_Row, Sample]]) -> None:
    first: dict[Path, _Row] = {}
    for row, sample in members:
        before = first.setdefault(sample.path, row)
        if before is not row:
            raise DataError(f"{before.place} and {row.place} both name {sample.path} in {split}; keep one of them")
