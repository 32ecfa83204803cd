"""The table of a grouping, CSV or Parquet, one image a row; a Parquet table can be gone on from."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from resight.artifacts import write_text
from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import CheckpointError, ConfigError, DataError
from resight.groups.grouping import Grouping
from resight.groups.links import NO_GROUP
from resight.groups.rows import Crops, Known, Row
from resight.types import Box, Sample

SUFFIXES = (".csv", ".parquet")

ABOUT = b"resight.groups"
"""Where a Parquet table says what it is of: JSON with `format` and the model's `fingerprint`."""

NEEDED = ("id", "path", "name", "camid", "timestamp", "group", *BOX_COLUMNS)


def check_out(out: Path, known: Path | None, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, or would be lost; an earlier result is not where it is gone on from.

    Raises:
        ConfigError: as said.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out must end in .csv or .parquet, got {out}")
    if out.is_dir():
        raise ConfigError(f"--out must be a file, and {out} is a folder; name a file in it")
    same = known is not None and out.exists() and out.resolve() == known.resolve()
    if out.exists() and not (overwrite or same):
        raise ConfigError(f"{out} exists already; replace it with --overwrite or give another --out")


def write_groups(
    out: Path, crops: Crops, grouping: Grouping, embeddings: Float[Tensor, "n d"], fingerprint: str
) -> None:
    """Write the table, whole or not at all: a CSV file, or Parquet with the embeddings.

    Columns: id (digest of the content), path, name (as answers name it), camid, timestamp, tracklet, left, top, width,
    height (empty for a whole file), group (empty for a crop that is alone), confidence, probability, matched.

    Raises:
        CheckpointError: it cannot be written.
    """
    columns = _columns(crops, grouping)
    if out.suffix.lower() == ".csv":
        write_text(out, _as_csv(columns))
        return
    flat = pa.array(embeddings.float().cpu()[torch.from_numpy(crops.crop)].numpy().reshape(-1), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])
    about = {ABOUT: json.dumps({"format": 1, "fingerprint": fingerprint}).encode()}
    table = pa.table({**columns, "embedding": vectors}).replace_schema_metadata(about)
    temporary = out.with_name(out.name + ".tmp")
    try:
        pq.write_table(table, temporary)
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(f"{out} could not be written ({error}); give another --out") from error


def _columns(crops: Crops, grouping: Grouping) -> dict[str, pa.Array]:
    samples = [row.sample for row in crops.rows]
    boxes = {
        name: pa.array([None if s.box is None else s.box[place] for s in samples], pa.int64())
        for place, name in enumerate(BOX_COLUMNS)
    }
    group = grouping.group[crops.crop]
    chance = grouping.probability[crops.crop]
    return {
        "id": pa.array([row.id for row in crops.rows], pa.string()),
        "path": pa.array([str(s.path) for s in samples], pa.string()),
        "name": pa.array([row.name for row in crops.rows], pa.string()),
        "camid": pa.array([s.camid for s in samples], pa.int64()),
        "timestamp": pa.array([s.timestamp for s in samples], pa.float64()),
        "tracklet": pa.array([s.tracklet for s in samples], pa.int64()),
        **boxes,
        "group": pa.array(group, pa.int64(), mask=group == NO_GROUP),
        "confidence": pa.array(grouping.confidence[crops.crop], pa.float64()),
        "probability": pa.array(chance, pa.float64(), mask=np.isnan(chance)),
        "matched": pa.array(grouping.matched[crops.crop], pa.bool_()),
    }


def _as_csv(columns: dict[str, pa.Array]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for cells in zip(*(column.to_pylist() for column in columns.values()), strict=True):
        writer.writerow(_cell(value) for value in cells)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value


def read_known(path: Path) -> Known:
    """Read the Parquet table of an earlier grouping.

    Raises:
        DataError: it cannot be read, or is none that `resight group` wrote.
    """
    if path.suffix.lower() != ".parquet":
        raise DataError(
            f"--known must be a Parquet file, as resight group writes with --out groups.parquet, got {path}"
        )
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {}).get(ABOUT, b"null"))
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as a Parquet file: {reason}") from error
    missing = [name for name in NEEDED if name not in table.column_names]
    if not isinstance(about, dict) or about.get("format") != 1 or missing:
        raise DataError(
            f"--known must be a file that resight group wrote, and {path} is none; give one, or leave it out"
        )
    cells = {name: table.column(name).to_pylist() for name in NEEDED}
    rows = tuple(_row({name: cells[name][at] for name in NEEDED}) for at in range(table.num_rows))
    group = tuple(NO_GROUP if number is None else int(number) for number in cells["group"])
    return Known(rows, group, _embeddings(table), str(about.get("fingerprint", "")))


def _row(cells: dict[str, Any]) -> Row:
    edges = tuple(cells[name] for name in BOX_COLUMNS)
    box: Box | None = None if None in edges else (edges[0], edges[1], edges[2], edges[3])
    timestamp = cells["timestamp"]
    timestamp = None if timestamp is None or math.isnan(timestamp) else timestamp
    sample = Sample(Path(cells["path"]), camid=cells["camid"], timestamp=timestamp, box=box)
    return Row(cells["id"], cells["name"], sample)


def _embeddings(table: pa.Table) -> Float[Tensor, "n d"] | None:
    if "embedding" not in table.column_names or not table.num_rows:
        return None
    column = table.column("embedding").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(flat.reshape(table.num_rows, -1).copy())
