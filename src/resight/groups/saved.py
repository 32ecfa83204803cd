"""Groups that were written before: read back to show them, or to go on from."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import DataError
from resight.groups.grouping import Grouping
from resight.groups.links import NO_GROUP
from resight.groups.rows import Crops, Row
from resight.groups.table import ABOUT, COLUMNS
from resight.matching import Thresholds
from resight.types import Box, Sample

OPTIONAL = ("rival", "best_score")
"""Columns that the first tables of this format lack."""


@dataclass(frozen=True)
class SavedGroups:
    """A grouping as its table holds it: of crop i, `grouping` and `embeddings` row i.

    `embeddings`: unit rows of the model `fingerprint`; None where the table has none any more.
    """

    crops: Crops
    grouping: Grouping
    embeddings: Float[Tensor, "n d"] | None
    fingerprint: str


def read_groups(path: Path) -> SavedGroups:
    """Read the Parquet table of an earlier grouping; its tracklets are kept to be written again, see `with_earlier`.

    Raises:
        DataError: it cannot be read, or is none that `resight group` wrote.
    """
    if path.suffix.lower() != ".parquet":
        raise DataError(
            f"earlier groups must be a Parquet file, as resight group writes with --out groups.parquet, got {path}"
        )
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {}).get(ABOUT, b"null"))
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as a Parquet file: {reason}") from error
    missing = [name for name in COLUMNS if name not in (*OPTIONAL, *table.column_names)]
    if not isinstance(about, dict) or about.get("format") != 1 or missing:
        raise DataError(
            f"earlier groups must be a file that resight group wrote, and {path} is none; give one, or leave it out"
        )
    crops = Crops.of(map(_row, table.select([*COLUMNS[: COLUMNS.index("group")]]).to_pylist()))
    first = table.take(pa.array(crops.first))
    return SavedGroups(crops, _grouping(first, about), _embeddings(first), str(about.get("fingerprint", "")))


def _row(cells: dict[str, Any]) -> Row:
    edges = tuple(cells[name] for name in BOX_COLUMNS)
    box: Box | None = None if None in edges else (edges[0], edges[1], edges[2], edges[3])
    timestamp = cells["timestamp"]
    timestamp = None if timestamp is None or math.isnan(timestamp) else timestamp
    sample = Sample(Path(cells["path"]), None, cells["camid"], timestamp, cells["tracklet"], box)
    return Row(cells["id"], cells["name"], sample, carried=True)


def _grouping(table: pa.Table, about: dict[str, Any]) -> Grouping:
    said = about.get("thresholds")
    return Grouping(
        group=_cells(table, "group", NO_GROUP).astype(np.int64),
        confidence=_cells(table, "confidence", math.nan).astype(np.float64),
        rival=_cells(table, "rival", NO_GROUP).astype(np.int64),
        probability=_cells(table, "probability", math.nan).astype(np.float64),
        best=_cells(table, "best_score", -1.0).astype(np.float64),
        matched=_cells(table, "matched", False).astype(bool),
        thresholds=None if said is None else Thresholds(said["across"], said["within"], said["rate"]),
    )


def _cells(table: pa.Table, name: str, missing: float) -> np.ndarray:
    if name not in table.column_names:
        return np.full(table.num_rows, missing)
    return np.array([missing if cell is None else cell for cell in table.column(name).to_pylist()])


def _embeddings(table: pa.Table) -> Float[Tensor, "n d"] | None:
    if "embedding" not in table.column_names or not table.num_rows:
        return None
    flat = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(flat.reshape(table.num_rows, -1).copy())


def with_earlier(saved: SavedGroups | None, rows: Sequence[Row]) -> list[Row]:
    """Lay the rows of an earlier result, with what is said of them now, before those that are new; each stands once.

    What the earlier result said of tracklets is only written again where it is not said anew: numbers of tracklets
    mean something in their own data only.
    """
    before = () if saved is None else saved.crops.rows
    now: dict[Any, Row] = {}
    for row in rows:
        now.setdefault(row.key, row)
    kept = [now.pop(row.key, row) for row in before]
    return [*kept, *now.values()]


def earlier_of(crops: Crops, saved: SavedGroups | None) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Give each crop's number in an earlier result, and whether that result held it, wherever its file was then."""
    if saved is None:
        return np.full(len(crops), NO_GROUP, dtype=np.int64), np.zeros(len(crops), dtype=bool)
    number = dict(zip((row.id for row in saved.crops.firsts), saved.grouping.group.tolist(), strict=True))
    first = [row.id for row in crops.firsts]
    held = np.array([id in number for id in first], dtype=bool)
    return np.array([number.get(id, NO_GROUP) for id in first], dtype=np.int64), held
