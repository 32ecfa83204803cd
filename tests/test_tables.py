"""The table that `resight embed` writes, column by column, and what it says of itself."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from resight import __version__
from resight.errors import DataError
from resight.tables import KEY, TableHeader, as_table, read_header
from resight.types import Sample, Split

KNOWN = Sample(Path("a.jpg"), 3, 1, 2.5, 7, (4, 5, 60, 70))
UNKNOWN = Sample(Path("b.jpg"))


def test_what_is_known_of_an_image_stands_beside_its_embedding():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).numpy()
    found = as_table(Split("train", (KNOWN, UNKNOWN)), ("1f", "2e"), rows, boxes=False)
    assert found.to_pylist() == [
        {
            "id": "1f", "path": "a.jpg", "split": "train", "pid": 3, "camid": 1, "timestamp": 2.5, "tracklet": 7,
            "embedding": [1, 0],
        },
        {
            "id": "2e", "path": "b.jpg", "split": "train", "pid": None, "camid": None, "timestamp": None,
            "tracklet": None, "embedding": [0, 1],
        },
    ]  # fmt: skip


def test_boxes_are_told_where_there_are_any_and_splits_without_fit_to_those_with():
    rows = torch.ones(1, 2).numpy()
    pieces = [
        as_table(Split(name, (sample,)), ("1f",), rows, boxes=True) for name, sample in (("a", KNOWN), ("b", UNKNOWN))
    ]
    found = pa.concat_tables(pieces)
    assert found.column_names[7:] == ["left", "top", "width", "height", "embedding"]
    boxes = [[row[name] for name in ("left", "top", "width", "height")] for row in found.to_pylist()]
    assert boxes == [[4, 5, 60, 70], [None] * 4]


def written(path: Path, metadata: dict | None) -> Path:
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), path)
    return path


def test_a_header_is_read_as_it_was_written(tmp_path: Path):
    header = TableHeader("ab" * 16, 512, "openvino int8")
    assert read_header(written(tmp_path / "e.parquet", header.metadata())) == header
    assert json.loads(header.metadata()[KEY]) == {
        "kind": "resight embeddings", "format": 1, "fingerprint": "ab" * 16, "dim": 512, "version": __version__,
        "backend": "openvino int8",
    }  # fmt: skip


@pytest.mark.parametrize("metadata", [None, {"pandas": "{}"}, {KEY: b'{"kind": "resight gallery", "format": 9}'}])
def test_a_table_of_another_kind_has_no_header(tmp_path: Path, metadata: dict | None):
    assert read_header(written(tmp_path / "e.parquet", metadata)) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "header of .*e.parquet is damaged; embed the images again"),
        (b"[]", "is damaged"),
        (b'{"kind": "resight embeddings", "format": 1}', "is damaged"),
        (b'{"kind": "resight embeddings", "format": 2}', "has format 2, of a newer version of resight; update resight"),
    ],
)
def test_a_header_that_cannot_be_used_is_told(tmp_path: Path, content: bytes, words: str):
    with pytest.raises(DataError, match=words):
        read_header(written(tmp_path / "e.parquet", {KEY: content}))
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(DataError, match="text.parquet cannot be read as Parquet"):
        read_header(tmp_path / "text.parquet")
