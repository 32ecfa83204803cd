"""Groups as a file holds them: a table with the columns path and group, and confidence where there is one."""

import math
from collections import defaultdict
from pathlib import Path

from resight.data.csv_file import read_csv
from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import DataError
from resight.report.album import printable
from resight.report.groups import ShownGroup, ShownGroups
from resight.types import Crop, Picture

IN_NONE = ("", "-1")
"""What the column `group` holds for an image that is in none."""

MEASURE = "Confidence, 0 to 1, is as the file gives it. A group is as doubtful as its least sure member."


def groups_of_file(file: Path, root: Path | None = None) -> ShownGroups:
    """Read a CSV or Parquet table of path, group, and perhaps confidence, left, top, width, height.

    Other columns are passed over. A path may be absolute, or relative to the file's folder or to `root`, the folder of
    the data. An image that is in no group has an empty cell or -1. Groups stand in the order in which they come first.

    Raises:
        DataError: the file cannot be read, lacks a column, or a cell cannot be used.
    """
    rows = _rows(file)
    members: dict[str, list[tuple[Picture, float | None]]] = defaultdict(list)
    alone = 0
    for number, cells in rows:
        place = f"{file} row {number}"
        if not cells["path"]:
            raise DataError(f"{place}: path must name an image, got an empty cell")
        if cells["group"] in IN_NONE:
            alone += 1
            continue
        picture = _picture(cells, file.parent, root, place)
        members[cells["group"]].append((picture, _confidence(cells.get("confidence", ""), place)))
    groups = [_group(name, found) for name, found in members.items()]
    if not groups:
        raise DataError(f"{file} must hold at least one group, got {alone} images and none in a group")
    said = f"Groups of {printable(file.name)}." + (
        "" if any(group.confidence for group in groups) else " It gives no confidence."
    )
    return ShownGroups(tuple(groups), alone, said, MEASURE if any(group.confidence for group in groups) else "")


def _group(name: str, found: list[tuple[Picture, float | None]]) -> ShownGroup:
    known = [confidence for _, confidence in found if confidence is not None]
    return ShownGroup(
        printable(name), tuple(picture for picture, _ in found), tuple(known) if len(known) == len(found) else None
    )


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    if file.suffix.lower() == ".parquet":
        return _rows_of_parquet(file)
    names, numbers, rows = read_csv(file)
    _check_names(file, names)
    return [
        (number, {name: cell.strip() for name, cell in zip(names, cells, strict=False)})
        for number, cells in zip(numbers, rows, strict=True)
    ]


def _rows_of_parquet(file: Path) -> list[tuple[int, dict[str, str]]]:
    import pyarrow
    from pyarrow import parquet

    wanted = {"path", "group", "confidence", *BOX_COLUMNS}
    try:
        with parquet.ParquetFile(file) as source:
            names = source.schema_arrow.names
            _check_names(file, names)
            rows = source.read([name for name in names if name in wanted]).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file} cannot be read as a Parquet file: {str(error).partition(chr(10))[0]}") from error
    return [
        (number, {name: "" if value is None else str(value).strip() for name, value in row.items()})
        for number, row in enumerate(rows, start=1)
    ]


def _check_names(file: Path, names: list[str]) -> None:
    for name in ("path", "group"):
        if names.count(name) != 1:
            raise DataError(
                f"{file} must have one column '{name}', as resight group writes, got the columns "
                f"{', '.join(names) or 'none'}"
            )


def _picture(cells: dict[str, str], folder: Path, root: Path | None, place: str) -> Picture:
    path = Path(cells["path"])
    if not path.is_absolute():
        found = [base / path for base in (folder, root) if base is not None and (base / path).is_file()]
        path = found[0] if found else path
    box = [cells.get(name, "") for name in BOX_COLUMNS]
    if not any(box):
        return path
    try:
        left, top, width, height = (int(float(cell)) for cell in box)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{place}: left, top, width, height must be four whole numbers, got {', '.join(box)}"
        ) from error
    return Crop(path, (left, top, width, height))


def _confidence(cell: str, place: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(f"{place}: confidence must be a number from 0 to 1, got '{cell}'")
    return value
