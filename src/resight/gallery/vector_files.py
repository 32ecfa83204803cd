"""Parquet files that hold embeddings, whoever wrote them, and whose model these are of, where the file says it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import DataError, ResightError, reason_of
from resight.gallery.header import MARK, Header, read_header

EMBEDDING = "embedding"
"""The column with the embeddings."""

WHOLE = (*BOX_COLUMNS, "camid", "tracklet")
"""Columns of whole numbers."""

ROWS = 2048
"""Rows read at a time."""

Columns = dict[str, list[Any]]


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn what reading a damaged file raises into one sentence.

    Raises:
        DataError: that.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        if isinstance(error, ResightError):
            raise
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise DataError(f"{path} cannot be read as Parquet ({reason}); give a whole file") from error


def column_names(path: Path) -> list[str]:
    """Name a file's columns.

    Raises:
        DataError: it cannot be read as Parquet.
    """
    import pyarrow.parquet as pq

    with told_plainly(path):
        return list(pq.read_schema(path).names)


def row_count(path: Path) -> int:
    """Count a file's rows.

    Raises:
        DataError: it cannot be read as Parquet.
    """
    import pyarrow.parquet as pq

    with told_plainly(path):
        return int(pq.read_metadata(path).num_rows)


def table_header(path: Path) -> Header | None:
    """Give what a gallery's export, or a table of `resight embed` or `resight group`, says of itself; None: nothing.

    Raises:
        DataError: it cannot be read as Parquet, or its header is damaged or of a newer format.
        GalleryError: it is an export of a newer format.
    """
    import pyarrow.parquet as pq

    from resight import tables
    from resight.groups.table import ABOUT

    with told_plainly(path):
        schema = pq.read_schema(path)
        metadata = schema.metadata or {}
        mark, grouped = metadata.get(tables.KEY, b""), metadata.get(ABOUT, b"")
        if mark and json.loads(mark).get("kind") == MARK:
            return read_header(mark.decode(), str(path))
    embedded = tables.read_header(path)
    if embedded is not None:
        return Header(embedded.fingerprint, embedded.dim, {"backend": embedded.backend})
    with told_plainly(path):
        if grouped and EMBEDDING in schema.names:
            return Header(str(json.loads(grouped)["fingerprint"]), schema.field(EMBEDDING).type.list_size)
    return None


def read_blocks(path: Path, names: Sequence[str]) -> Iterator[tuple[Columns, Float[Tensor, "n d"]]]:
    """Walk over some columns and the embeddings, `ROWS` at a time.

    Raises:
        DataError: the file is damaged, its embeddings are not all of one length, or a column is of another kind.
    """
    import pyarrow.parquet as pq

    with told_plainly(path), pq.ParquetFile(path) as file:
        for part in file.iter_batches(ROWS, columns=[*names, EMBEDDING]):
            columns = {name: _cells(path, name, part.column(name)) for name in names}
            yield columns, _vectors(part.column(EMBEDDING))


def read_columns(path: Path, names: Sequence[str]) -> tuple[Columns, Float[Tensor, "n d"]]:
    """Read some columns and the embeddings; see `read_blocks`."""
    blocks = list(read_blocks(path, names))
    whole = {name: [cell for columns, _ in blocks for cell in columns[name]] for name in names}
    return whole, torch.cat([rows for _, rows in blocks]) if blocks else torch.empty(0, 0)


def _cells(path: Path, name: str, column: Any) -> list[Any]:
    """Give a column's cells as the kind of value that its name promises, None where a cell is missing or NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = {name: (pa.int64(), "whole numbers") for name in WHOLE} | {"timestamp": (pa.float64(), "numbers")}
    kind, what = kinds.get(name, (pa.string(), "text"))
    try:
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        return list(column.cast(kind).to_pylist())
    except pa.ArrowException as error:
        raise DataError(
            f"the column {name} of {path} must hold {what}, got {column.type} ({reason_of(error)}); change it or leave "
            "it out"
        ) from error


def _vectors(column: Any) -> Float[Tensor, "n d"]:
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if column.null_count or (len(column) and len(flat) % len(column)):
        raise ValueError("its embeddings are not all of one length")
    return torch.from_numpy(flat.astype(np.float32)).reshape(len(column), -1 if len(column) else 0)
