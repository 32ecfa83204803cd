"""The table that `resight embed` writes, column by column."""

from pathlib import Path

import pyarrow as pa
import torch

from resight.tables import as_table
from resight.types import Sample, Split

KNOWN = Sample(Path("a.jpg"), 3, 1, 2.5, 7, (4, 5, 60, 70))
UNKNOWN = Sample(Path("b.jpg"))


def test_what_is_known_of_an_image_stands_beside_its_embedding():
    found = as_table(Split("train", (KNOWN, UNKNOWN)), torch.tensor([[1.0, 0.0], [0.0, 1.0]]).numpy(), boxes=False)
    assert found.to_pylist() == [
        {"path": "a.jpg", "split": "train", "pid": 3, "camid": 1, "timestamp": 2.5, "tracklet": 7, "embedding": [1, 0]},
        {
            "path": "b.jpg", "split": "train", "pid": None, "camid": None, "timestamp": None, "tracklet": None,
            "embedding": [0, 1],
        },
    ]  # fmt: skip


def test_boxes_are_told_where_there_are_any_and_splits_without_fit_to_those_with():
    rows = torch.ones(1, 2).numpy()
    pieces = [as_table(Split(name, (sample,)), rows, boxes=True) for name, sample in (("a", KNOWN), ("b", UNKNOWN))]
    found = pa.concat_tables(pieces)
    assert found.column_names[6:] == ["left", "top", "width", "height", "embedding"]
    boxes = [[row[name] for name in ("left", "top", "width", "height")] for row in found.to_pylist()]
    assert boxes == [[4, 5, 60, 70], [None] * 4]
