"""The cells of a manifest as text, column by column, with the line that each row came from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.data.csv_file import read_csv
from resight.errors import DataError

BOX_COLUMNS = ("left", "top", "width", "height")
COLUMNS = ("path", "pid", "camid", "timestamp", "tracklet", *BOX_COLUMNS, "split", "tests", "protocol")


@dataclass(frozen=True)
class Table:
    """The known columns of a manifest, "" where a cell is empty; a column that the file lacks is empty throughout.

    `numbers`: of each row, the line (CSV) or the row (Parquet) of the file, as `unit` says. `unknown`: the columns that
    are not used.
    """

    file: Path
    unit: str
    numbers: Sequence[int]
    columns: dict[str, list[str]]
    unknown: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, column: str) -> list[str]:
        cells = self.columns.get(column)
        return [""] * len(self) if cells is None else cells

    def place(self, row: int) -> str:
        """Name a row as an error does."""
        return f"{self.file} {self.unit} {self.numbers[row]}"


def read_table(file: Path) -> Table:
    """Read a manifest's cells.

    Raises:
        DataError: the file cannot be read, has no column `path`, names a column twice, or a row has too many cells.
    """
    return _read_parquet(file) if file.suffix.lower() == ".parquet" else _read_csv(file)


def _read_csv(file: Path) -> Table:
    names, numbers, rows = read_csv(file)
    _check_names(file, names)
    wanted = [(place, name) for place, name in enumerate(names) if name in COLUMNS]
    columns = {name: [cells[place] for cells in rows] for place, name in wanted}
    return Table(file, "line", numbers, _without_blanks(columns), _unknown(names))


def _read_parquet(file: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as source:
            names = source.schema_arrow.names
            _check_names(file, names)
            table = source.read([name for name in names if name in COLUMNS])
        columns = {name: _as_text(table.column(name)) for name in table.column_names}
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} cannot be read as a Parquet file: {reason}") from error
    return Table(file, "row", range(1, table.num_rows + 1), _without_blanks(columns), _unknown(names))


def _as_text(column: Any) -> list[str]:
    import pyarrow
    from pyarrow import compute

    if pyarrow.types.is_floating(column.type):
        # A column of integers with gaps is often stored as fractions, its gaps as "not a number".
        column = compute.if_else(compute.is_nan(column), None, column)
    texts = compute.fill_null(column.cast(pyarrow.string()), "")
    return texts.to_numpy(zero_copy_only=False).tolist()


def _without_blanks(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """Cut blanks off all cells but paths: a file's name may begin or end with one."""
    return {name: cells if name == "path" else [cell.strip() for cell in cells] for name, cells in columns.items()}


def _check_names(file: Path, names: Sequence[str]) -> None:
    if "path" not in names:
        raise DataError(f"{file} must have a column 'path', got {', '.join(names) or 'none'}")
    repeated = [name for name, count in Counter(names).items() if count > 1 and name in COLUMNS]
    if repeated:
        raise DataError(f"{file} must name each column once, but '{repeated[0]}' stands there twice")


def _unknown(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in COLUMNS)
