"""The table of a grouping, CSV or Parquet, one image a row; a Parquet table can be gone on from, see `saved`."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from resight.data.manifest_table import BOX_COLUMNS
from resight.groups.grouping import Grouping
from resight.groups.links import NO_GROUP
from resight.groups.rows import Crops
from resight.whole_files import replacing

SUFFIXES = (".csv", ".parquet")
"""What a table's name may end in."""

ABOUT = b"resight.groups"
"""Where a Parquet table says what it is of: JSON with `format`, the model's `fingerprint`, and `thresholds`."""

COLUMNS = (
    *("id", "path", "name", "camid", "timestamp", "tracklet", *BOX_COLUMNS),
    *("group", "confidence", "rival", "probability", "best_score", "matched"),
)


def write_groups(
    out: Path, crops: Crops, grouping: Grouping, embeddings: Float[Tensor, "n d"], fingerprint: str
) -> None:
    """Write the table, whole or not at all: a CSV file, or Parquet with the embeddings.

    Columns: id (digest of the content), path, name (as answers name it), camid, timestamp, tracklet, left, top, width,
    height (empty for a whole file), group (empty for a crop that is alone), confidence, rival (the group that is its
    next best place, empty for none), probability, best_score (largest cosine to another of its group), matched (empty
    where nothing tells who matches).

    Raises:
        CheckpointError: it cannot be written.
    """
    columns = _columns(crops, grouping)
    with replacing(out) as temporary:
        if out.suffix.lower() == ".csv":
            temporary.write_text(_as_csv(columns), encoding="utf-8")
            return
        flat = pa.array(embeddings.float().cpu()[torch.from_numpy(crops.crop)].numpy().reshape(-1), pa.float32())
        vectors = pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])
        said = None if grouping.thresholds is None else dataclasses.asdict(grouping.thresholds)
        about = {ABOUT: json.dumps({"format": 1, "fingerprint": fingerprint, "thresholds": said}).encode()}
        pq.write_table(pa.table({**columns, "embedding": vectors}).replace_schema_metadata(about), temporary)


def _columns(crops: Crops, grouping: Grouping) -> dict[str, pa.Array]:
    samples = [row.sample for row in crops.rows]
    boxes = {
        name: pa.array([None if s.box is None else s.box[place] for s in samples], pa.int64())
        for place, name in enumerate(BOX_COLUMNS)
    }
    group, rival, chance, best, matched = (
        column[crops.crop]
        for column in (grouping.group, grouping.rival, grouping.probability, grouping.best, grouping.matched)
    )
    unknown = np.full(len(samples), grouping.thresholds is None)
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
        "rival": pa.array(rival, pa.int64(), mask=rival == NO_GROUP),
        "probability": pa.array(chance, pa.float64(), mask=np.isnan(chance)),
        "best_score": pa.array(best, pa.float64(), mask=group == NO_GROUP),
        "matched": pa.array(matched, pa.bool_(), mask=unknown),
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
