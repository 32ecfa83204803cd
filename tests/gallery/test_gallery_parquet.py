"""A gallery as a Parquet file, and back."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gallery_cases import MODEL, entries, make, unit_rows
from resight import whole_files
from resight.errors import DataError, GalleryError, ResightError
from resight.gallery import Added, Entry, Gallery, Where
from resight.gallery import parquet as module
from resight.gallery.queries import read_vectors
from resight.groups.table import ABOUT
from resight.tables import TableHeader, as_vectors
from resight.types import Crop

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

COUNT = 300


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("exports")
    with make(folder / "g", COUNT) as gallery:
        assert gallery.export_parquet(folder / "g.parquet") == COUNT
        yield gallery, folder / "g.parquet"


def test_a_rebuilt_gallery_answers_as_before(exported: tuple[Gallery, Path], tmp_path: Path):
    gallery, file = exported
    queries = unit_rows(5, seed=3)
    with make(tmp_path / "g") as again:
        assert again.import_parquet(file) == Added(COUNT, 0) and again.import_parquet(file) == Added(0, COUNT)
        for where in (Where(), Where(camids=(1, 2), after=3), Where(types=("person",))):
            assert again.search(queries, 20, where) == gallery.search(queries, 20, where)
        ids = gallery.ids()
        assert again.ids() == ids and again.get(ids) == entries(COUNT)
        assert torch.equal(again.vectors(ids), gallery.vectors(ids)) and torch.equal(
            again.vectors(ids), unit_rows(COUNT)
        )
        assert again.export_parquet(tmp_path / "again.parquet") == COUNT
    assert pq.read_table(tmp_path / "again.parquet").equals(pq.read_table(file))


def test_what_the_file_says_of_itself(exported: tuple[Gallery, Path]):
    gallery, file = exported
    assert module.importable_header(file) == gallery.header
    schema = pq.read_schema(file)
    assert schema.names[:2] == ["id", "path"] and "pid" not in schema.names
    assert schema.field("embedding").type == pa.list_(pa.float32(), gallery.dim)


def test_an_empty_gallery(tmp_path: Path):
    with make(tmp_path / "g") as gallery:
        assert gallery.export_parquet(tmp_path / "e.parquet") == 0
        assert gallery.import_parquet(tmp_path / "e.parquet") == Added(0, 0)


def test_files_that_are_none(exported: tuple[Gallery, Path], tmp_path: Path):
    gallery, file = exported
    (tmp_path / "text.parquet").write_text("hello")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(file.read_bytes()[:-400])
    for name, sentence in (
        ("none", "cannot be read as Parquet"),
        ("text", "cannot be read as Parquet"),
        ("cut", "cannot be read as Parquet"),
        ("other", "lacks the column id; give a file that resight gallery export, resight embed or resight group"),
    ):
        with pytest.raises(DataError, match=sentence):
            gallery.import_parquet(tmp_path / f"{name}.parquet")
    spoilt = bytearray(file.read_bytes())
    spoilt[4 : len(spoilt) // 2] = bytes(len(spoilt) // 2 - 4)
    cut.write_bytes(spoilt)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        gallery.import_parquet(cut)
    assert len(gallery) == COUNT


def test_another_models_export_is_refused(exported: tuple[Gallery, Path], tmp_path: Path):
    with make(tmp_path / "g", model="b2" * 16) as other:
        with pytest.raises(GalleryError, match="holds embeddings of another model"):
            other.import_parquet(exported[1])
        assert len(other) == 0 and exported[0].fingerprint == MODEL


def test_an_export_that_fails_leaves_what_was_there(
    exported: tuple[Gallery, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "o.parquet"
    out.write_text("old")

    def full(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files.os, "fsync", full)
    with pytest.raises(GalleryError, match="could not be written .*No space left"):
        exported[0].export_parquet(out)
    assert out.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["o.parquet"]


def table(file: Path, rows: torch.Tensor, kind: str = "embed", model: str = MODEL, **columns: list[object]) -> Path:
    """A table as `resight embed` ("embed") or `resight group` ("group") writes it, or with no header ("none")."""
    metadata = {
        "embed": TableHeader(model, rows.shape[1], "torch float32").metadata(),
        "group": {ABOUT: json.dumps({"format": 1, "fingerprint": model}).encode()},
        "none": {},
    }[kind]
    content = {name: pa.array(cells) for name, cells in columns.items()} | {"embedding": as_vectors(rows.numpy())}
    pq.write_table(pa.table(content).replace_schema_metadata(metadata), file)
    return file


@pytest.mark.parametrize("kind", ["embed", "group"])
def test_tables_of_other_commands_are_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.chdir(tmp_path)
    facts = {"path": ["a/../b.jpg", "/c.jpg", "b.jpg"], "camid": [3, None, 4], "timestamp": [math.nan, 2.5, 1.0]}
    boxes = dict(
        zip(("left", "top", "width", "height"), ([1, None, 1], [2, None, 2], [3, None, 3], [4, None, 4]), strict=True)
    )
    file = table(tmp_path / "yard.parquet", unit_rows(3), kind, id=["x", "y", "x"], pid=[7, 8, 7], **facts, **boxes)
    told: list[tuple[int, int]] = []
    with make(tmp_path / "g") as gallery:
        added = gallery.import_parquet(file, type="person", progress=lambda done, total: told.append((done, total)))
        assert added == Added(2, 1) and told == [(3, 3)]  # an image that stands twice is there once
        assert gallery.get(["x", "y"]) == [
            Entry("x", tmp_path / "b.jpg", (1, 2, 3, 4), 3, None, None, "person", "yard"),
            Entry("y", Path("/c.jpg"), None, None, 2.5, None, "person", "yard"),
        ]
        assert gallery.vectors(["y"]).equal(unit_rows(3)[1:2])


def test_tables_that_cannot_be_taken_in(tmp_path: Path):
    rows, good = unit_rows(2), {"id": ["x", "y"], "path": ["/x", "/y"]}
    cases = [
        (table(tmp_path / "1.parquet", rows, "none", **good), "lacks a header that says which model"),
        (table(tmp_path / "2.parquet", rows, path=["/x", "/y"]), "lacks the column id; .* embed again"),
        (table(tmp_path / "3.parquet", rows, id=["x", None], path=["/x", "/y"]), "must name the id and the path"),
        (table(tmp_path / "4.parquet", rows, model="b2" * 16, **good), "holds embeddings of another model"),
        (table(tmp_path / "5.parquet", unit_rows(2, dim=8), **good), "must have 16 columns as the gallery's"),
        (table(tmp_path / "6.parquet", 2 * rows, **good), "must be rows of length 1"),
    ]
    with make(tmp_path / "g") as gallery:
        for file, words in cases:
            with pytest.raises(ResightError, match=words):
                gallery.import_parquet(file)
        assert len(gallery) == 0


def test_embeddings_of_another_model_are_no_queries(tmp_path: Path):
    facts = {"id": ["x", "y"], "path": ["/x.jpg", "/y.jpg"], "camid": [1, None], "pid": [5, 6]}
    boxes = {name: [1, None] for name in ("left", "top", "width", "height")}
    for kind in ("embed", "group"):
        file = table(tmp_path / f"{kind}.parquet", 2 * unit_rows(2), kind, **facts, **boxes)
        found = read_vectors(file, MODEL)
        assert found is not None and found.vectors.allclose(unit_rows(2)) and found.notes == ()
        assert (found.ids, found.camids) == (("x", "y"), (1, None)) and found.source(0) is None
        assert found.pictures == (Crop(Path("/x.jpg"), (1, 1, 1, 1)), Path("/y.jpg"))
        with pytest.raises(GalleryError, match=f"{kind}.parquet holds embeddings of another model"):
            read_vectors(file, "b2" * 16)
    unknown = read_vectors(table(tmp_path / "n.parquet", unit_rows(2), "none"), MODEL)
    assert unknown is not None and unknown.names == ("n.parquet row 0", "n.parquet row 1")
    assert len(unknown.notes) == 1 and "does not say which model" in unknown.notes[0] and unknown.ids == (None, None)
    assert read_vectors(tmp_path / "picture.jpg", MODEL) is None
    pq.write_table(pa.table({"path": ["/x"]}), tmp_path / "manifest.parquet")
    assert read_vectors(tmp_path / "manifest.parquet", MODEL) is None


def test_queries_of_an_export_know_their_sources(exported: tuple[Gallery, Path]):
    found = read_vectors(exported[1], MODEL)
    assert found is not None and found.ids == tuple(entry.id for entry in entries(COUNT))
    assert [found.source(at) for at in range(COUNT)] == [entry.source for entry in entries(COUNT)]


NUMBERS = {"left": [1.0, math.nan], "top": ["2", None], "width": [3.0, None], "height": [4, None], "camid": ["7", None]}


def test_columns_of_another_program_are_taken_as_what_they_mean(tmp_path: Path):
    facts = {"path": [5, 6], "id": [8, 9], **NUMBERS}
    found = read_vectors(table(tmp_path / "t.parquet", unit_rows(2), "none", **facts), MODEL)
    assert found is not None and found.camids == (7, None) and found.ids == (None, None)
    assert found.pictures == (Crop(Path("5"), (1, 2, 3, 4)), Path("6"))
    assert all(isinstance(edge, int) for edge in found.pictures[0].box)
    file = table(tmp_path / "yard.parquet", unit_rows(2), **facts, timestamp=[1, 2])
    with make(tmp_path / "g") as gallery:
        assert gallery.import_parquet(file) == Added(2, 0)
        assert gallery.get(["8"])[0].box == (1, 2, 3, 4) and gallery.get(["9"])[0].timestamp == 2.0


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("camid", ["gate", "yard"], "the column camid of .* must hold whole numbers, got string"),
        ("left", [1.5, 2.0], "the column left of .* must hold whole numbers, got double"),
        ("path", [["a"], ["b"]], "the column path of .* must hold text, got list"),
        ("source", [["a"], ["b"]], "the column source of .* must hold text, got list"),
    ],
)
def test_columns_that_mean_nothing_are_one_sentence(tmp_path: Path, name: str, cells: list[object], words: str):
    file = table(tmp_path / "t.parquet", unit_rows(2), "none", **{name: cells})
    with pytest.raises(DataError, match=words):
        read_vectors(file, MODEL)
    facts = {"id": ["x", "y"], "path": ["/x", "/y"], name: cells}
    with make(tmp_path / "g") as gallery, pytest.raises(DataError, match=words):
        gallery.import_parquet(table(tmp_path / "i.parquet", unit_rows(2), **facts))


def test_only_digests_of_contents_are_taken_for_a_querys_own_picture(tmp_path: Path):
    digest = "0a" * 16
    for kind, ids, expected in (
        ("none", [digest, "cat-7"], (digest, None)),
        ("none", [digest.upper(), digest + "0"], (None, None)),
        ("embed", [digest, "cat-7"], (digest, "cat-7")),
    ):
        found = read_vectors(table(tmp_path / "t.parquet", unit_rows(2), kind, id=ids), MODEL)
        assert found is not None and found.ids == expected
