"""A gallery as a Parquet file, and back."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gallery_cases import MODEL, entries, make, unit_rows
from resight.errors import GalleryError
from resight.gallery import Added, Gallery, Where
from resight.gallery import parquet as module

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
    assert module.parquet_header(file) == gallery.header
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
        ("other", "is no export of a gallery"),
    ):
        with pytest.raises(GalleryError, match=sentence):
            gallery.import_parquet(tmp_path / f"{name}.parquet")
    spoilt = bytearray(file.read_bytes())
    spoilt[4 : len(spoilt) // 2] = bytes(len(spoilt) // 2 - 4)
    cut.write_bytes(spoilt)
    with pytest.raises(GalleryError, match="is damaged"):
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

    monkeypatch.setattr(module, "sync", full)
    with pytest.raises(GalleryError, match="could not be written .*No space left"):
        exported[0].export_parquet(out)
    assert out.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["o.parquet"]
