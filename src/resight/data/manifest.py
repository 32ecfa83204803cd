"""A table with one image a row, CSV or Parquet: its path, and what else is known of it.

Columns, all but `path` free to be missing or empty: path, pid, camid, timestamp, tracklet, left, top, width, height,
split, tests, protocol.
"""

from collections.abc import Sequence
from pathlib import Path

from resight.data.manifest_cells import boxes, image_files, numbers, timestamps
from resight.data.manifest_table import Table, read_table
from resight.data.tracklets import of_each_camera, refuse_mixed
from resight.errors import DataError, no_such_name
from resight.protocols import GENERAL, PROTOCOLS, EvaluationProtocol
from resight.types import Dataset, Sample, Split, TestSet

SUFFIXES = frozenset({".csv", ".parquet"})
SPLIT_NAMES = ("train", "query", "gallery")
OF_ANIMALS = ("identity", "original_split")
"""Columns of tables as WildlifeDatasets writes them, which mean what pid and split do here."""

SIZES = frozenset({"small", "medium", "large"})


def matches(path: Path) -> bool:
    """Tell whether `path` is a file that ends in .csv or .parquet."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read(path: Path) -> Dataset:
    """Read the table; paths are absolute or relative to its folder, rows without a split are training images.

    `pid`, `camid` and `tracklet` are integers as they stand; if any in a column is no integer, all in it are names,
    numbered from 0 in sorted order. Empty cells are not known; pid -1 is junk in either case. `timestamp` is a number
    or a date such as 2024-05-01T12:00:00 (UTC unless it names a zone), taken as seconds since 1970. `left`, `top`,
    `width`, `height`: the part of the file that is meant, in pixels of the upright image. Where a tracklet stands in
    several cameras, each camera's tracklets are its own, and are numbered anew.

    `tests`: the names of the tests that a query or gallery row takes part in, with blanks or ";" between; empty is all
    of them. Tests stand in order of first appearance, but where all are named by size (small, medium, large, or a
    number) the one with the smallest gallery comes first. `protocol`: a name in `PROTOCOLS`.

    Raises:
        DataError: the file is no such table, or a row cannot be used; the message names the line.
    """
    if not matches(path):
        raise DataError(f"{path} must be a .csv or .parquet file to be read as a manifest")
    table = read_table(path)
    _refuse_table_of_animals(table)
    samples, notes = _samples(table)
    rows = _rows_of_splits(table)
    for name, members in rows.items():
        _refuse_twice(table, name, members, samples)
    refuse_mixed(samples, "pid", lambda row, column: table[column][row], table.place)
    train, query, gallery = (Split(name, tuple(samples[row] for row in members)) for name, members in rows.items())
    if table.unknown:
        notes.append(f"columns of {path} not used: {', '.join(table.unknown)}")
    return Dataset(path, "manifest", train, query, gallery, tuple(notes), _tests(table, rows), _protocol(table))


def names_of_tests(text: str) -> list[str]:
    """Read a cell of the column `tests`."""
    return text.replace(";", " ").split()


def _refuse_table_of_animals(table: Table) -> None:
    """Refuse a table whose identities or splits would be passed over: all its images would be for training."""
    found = [name for name in OF_ANIMALS if name in table.unknown]
    if found and "pid" not in table.columns:
        raise DataError(
            f"{table.file} must have a column pid to be read as a manifest, as it has {' and '.join(found)}; read it "
            "with --format wildlife, or name these columns pid and split"
        )


def _samples(table: Table) -> tuple[list[Sample], list[str]]:
    files, pids, camids = image_files(table), numbers(table, "pid"), numbers(table, "camid")
    notes: list[str] = []
    tracklets = of_each_camera(numbers(table, "tracklet"), camids, table.file, notes)
    return list(map(Sample, files, pids, camids, timestamps(table), tracklets, boxes(table))), notes


def _rows_of_splits(table: Table) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {name: [] for name in SPLIT_NAMES}
    for row, text in enumerate(table["split"]):
        name = text or "train"
        if name not in rows:
            raise DataError(
                f"{table.place(row)} has split '{name}', which must be one of {', '.join(SPLIT_NAMES)} or empty"
            )
        rows[name].append(row)
    return rows


def _refuse_twice(table: Table, split: str, rows: Sequence[int], samples: Sequence[Sample]) -> None:
    first: dict[tuple[str, object], int] = {}
    for row in rows:
        sample = samples[row]
        before = first.setdefault((str(sample.path), sample.box), row)
        if before != row:
            box = "" if sample.box is None else f" with box {', '.join(map(str, sample.box))}"
            raise DataError(
                f"{table.place(before)} and {table.place(row)} both name {sample.path}{box} in {split}; "
                "keep one of them"
            )


def _tests(table: Table, rows: dict[str, list[int]]) -> tuple[TestSet, ...]:
    named = {text: frozenset(names_of_tests(text)) for text in dict.fromkeys(table["tests"])}
    of_row = [named[text] for text in table["tests"]]
    for row in rows["train"]:
        if of_row[row]:
            raise DataError(
                f"{table.place(row)} is a training image and takes part in no test, but has tests "
                f"'{table['tests'][row]}'; leave that empty"
            )
    names = list(dict.fromkeys(name for text in named for name in names_of_tests(text)))
    if not names:
        return (TestSet(),)
    splits = rows["query"], rows["gallery"]
    tests = [TestSet(name, *(_positions(name, of_row, members) for members in splits)) for name in names]
    for test in tests:
        _refuse_empty(table, test)
    if all(name in SIZES or name.isdecimal() for name in names):
        tests.sort(key=lambda test: len(rows["gallery"] if test.gallery is None else test.gallery))
    return tuple(tests)


def _positions(test: str, of_row: Sequence[frozenset[str]], rows: Sequence[int]) -> tuple[int, ...] | None:
    """Give the positions of the rows that take part in a test; None where all do."""
    found = tuple(position for position, row in enumerate(rows) if not of_row[row] or test in of_row[row])
    return None if len(found) == len(rows) else found


def _refuse_empty(table: Table, test: TestSet) -> None:
    for split, positions in (("query", test.query), ("gallery", test.gallery)):
        if positions == ():
            row = next(row for row, text in enumerate(table["tests"]) if test.name in names_of_tests(text))
            raise DataError(
                f"{table.place(row)} names the test '{test.name}', which must have {split} rows too, and no {split} "
                "row takes part in it; name it in some, or leave their column tests empty"
            )


def _protocol(table: Table) -> EvaluationProtocol:
    first = None
    for row, name in enumerate(table["protocol"]):
        if name and first is None:
            first = row
            if name not in PROTOCOLS:
                raise DataError(f"{table.place(row)}: {no_such_name('protocol', name, PROTOCOLS)}")
        elif name and first is not None and name != table["protocol"][first]:
            raise DataError(
                f"a manifest has one protocol, but {table.place(first)} names '{table['protocol'][first]}' and "
                f"{table.place(row)} '{name}'; keep one of them"
            )
    return GENERAL if first is None else PROTOCOLS[table["protocol"][first]]
