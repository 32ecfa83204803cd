"""Any data set written as a manifest, the general form that every part of it can be said in."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resight.data.manifest import SUFFIXES, names_of_tests
from resight.data.manifest_table import BOX_COLUMNS, COLUMNS
from resight.errors import ConfigError, DataError
from resight.protocols import GENERAL, PROTOCOLS
from resight.types import Dataset, Split, TestSet
from resight.whole_files import replacing

Columns = Mapping[str, Sequence[Any]]
"""The cells of each column, None where empty."""

WHOLE_NUMBERS = frozenset({"pid", "camid", "tracklet", *BOX_COLUMNS})


def check_target(file: Path, *, overwrite: bool, to_be_made: Path | None = None) -> None:
    """Do nothing if a manifest may be written to `file`; `to_be_made`: a folder that will be there by then.

    Raises:
        ConfigError: it has another ending than .csv or .parquet, is a folder, or exists and may not be replaced.
        DataError: its folder is not there or cannot be written to.
    """
    if file.suffix.lower() not in SUFFIXES or file.is_dir():
        raise ConfigError(f"a manifest must be a file that ends in .csv or .parquet, got {file}")
    if file.exists() and not overwrite:
        raise ConfigError(f"{file} exists already; replace it with --overwrite or give another file")
    folder = file.absolute().parent
    if not folder.is_dir() and (to_be_made is None or folder != to_be_made.absolute()):
        raise DataError(f"{file} cannot be written: there is no folder {folder}; make it or give another file")
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise DataError(f"{file} cannot be written: nothing may be written to {folder}; give another file")


def write_manifest(dataset: Dataset, file: Path, *, overwrite: bool = False, absolute: bool = False) -> int:
    """Write a data set so that reading `file` gives the same splits, tests and protocol; gives the number of rows.

    Columns in which nothing is known are left out. Paths start from the folder of `file` where they can, or are
    absolute. The file is there whole or not at all, and one that was there before stays until then. Tests come back in
    the manifest's own order, see `resight.data.manifest.read`.

    Raises:
        ConfigError: see `check_target`.
        DataError: the file cannot be written, or the data set holds what a manifest cannot say.
    """
    check_target(file, overwrite=overwrite)
    columns = _columns(dataset, _written_paths(dataset, file.parent, absolute=absolute))
    write = _write_parquet if file.suffix.lower() == ".parquet" else _write_csv
    with replacing(file, DataError) as temporary:
        write(temporary, columns)
    return len(columns["path"])


def _columns(dataset: Dataset, paths: Sequence[str]) -> Columns:
    """Give the columns that hold anything, in the manifest's order."""
    samples = [sample for split in dataset.splits for sample in split]
    boxes = [(None,) * len(BOX_COLUMNS) if sample.box is None else sample.box for sample in samples]
    columns: dict[str, Sequence[Any]] = {
        "path": paths,
        "pid": [sample.pid for sample in samples],
        "camid": [sample.camid for sample in samples],
        "timestamp": [sample.timestamp for sample in samples],
        "tracklet": [sample.tracklet for sample in samples],
        **{column: [box[place] for box in boxes] for place, column in enumerate(BOX_COLUMNS)},
        "split": [split.name for split in dataset.splits for _ in split],
        "tests": _tests(dataset),
        "protocol": [_protocol(dataset)] * len(samples),
    }
    return {name: columns[name] for name in COLUMNS if name == "path" or any(c is not None for c in columns[name])}


def _tests(dataset: Dataset) -> list[str | None]:
    """Name each image's tests; no names where there is but the one that every data set has."""
    train: list[str | None] = [None] * len(dataset.train)
    if dataset.tests == (TestSet(),):
        return train + [None] * (len(dataset.query) + len(dataset.gallery))
    for test in dataset.tests:
        if names_of_tests(test.name) != [test.name]:
            raise DataError(f"a test's name must be one word to stand in a manifest, got '{test.name}'")
    query = _tests_of(dataset.query, {test.name: test.query for test in dataset.tests})
    return train + query + _tests_of(dataset.gallery, {test.name: test.gallery for test in dataset.tests})


def _tests_of(split: Split, positions: Mapping[str, tuple[int, ...] | None]) -> list[str | None]:
    names: list[list[str]] = [[] for _ in split]
    for name, chosen in positions.items():
        for position in range(len(split)) if chosen is None else chosen:
            names[position].append(name)
    if [] in names:
        image = split.samples[names.index([])].path
        raise DataError(f"each {split.name} image must take part in a test to stand in a manifest, {image} does not")
    return [" ".join(tests) for tests in names]


def _protocol(dataset: Dataset) -> str | None:
    protocol = dataset.protocol
    if PROTOCOLS.get(protocol.name) != protocol:
        raise DataError(f"a manifest can name the protocols {', '.join(PROTOCOLS)} only, got '{protocol.name}'")
    return None if protocol == GENERAL else protocol.name


def _written_paths(dataset: Dataset, base: Path, *, absolute: bool) -> list[str]:
    folders: dict[Path, str] = {}
    paths = []
    for path in (sample.path for split in dataset.splits for sample in split):
        if path.parent not in folders:
            folders[path.parent] = _written_folder(path.parent, base, absolute=absolute)
        # PurePath writes no "./" before the names of a manifest's own folder.
        folder = folders[path.parent]
        paths.append(path.name if folder == "." else f"{folder.rstrip('/')}/{path.name}")
    return paths


def _written_folder(folder: Path, base: Path, *, absolute: bool) -> str:
    whole, start = os.path.abspath(folder), os.path.abspath(base)  # noqa: PTH100 (links stay as they are named)
    try:
        relative = os.path.relpath(whole, start)
    except ValueError:  # another drive
        return whole
    # ".." out of a linked folder leads elsewhere for whoever comes to it by its own name.
    leads_out = relative.startswith("..") and start != os.path.realpath(start)
    return whole if absolute or leads_out else relative


def _write_csv(file: Path, columns: Columns) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        # repr, so that a time comes back to the last digit.
        writer.writerows(zip(*(_as_text(cells) for cells in columns.values()), strict=True))


def _as_text(cells: Sequence[Any]) -> list[str]:
    return ["" if cell is None else repr(cell) if isinstance(cell, float) else str(cell) for cell in cells]


def _write_parquet(file: Path, columns: Columns) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {"timestamp": pyarrow.float64()} | dict.fromkeys(WHOLE_NUMBERS, pyarrow.int64())
    arrays = {name: pyarrow.array(cells, types.get(name, pyarrow.string())) for name, cells in columns.items()}
    table = pyarrow.table(arrays)
    # Given a name, pyarrow words errors its own way, and removes what it could not write, whatever that is.
    with file.open("wb") as out:
        parquet.write_table(table, out)
