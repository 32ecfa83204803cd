"""The same gallery behind an address: a server of this machine that speaks Milvus' protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gallery_cases import MODEL, entries, make, oracle, unit_rows
from resight.errors import GalleryError
from resight.gallery import Added, Gallery, Where

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

ALL, ROWS = entries(300), unit_rows(300)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    server, database, port = start_server_in_thread(str(tmp_path_factory.mktemp("server")))
    yield f"http://127.0.0.1:{port}"
    server.stop(grace=1).wait()
    database.close()


@pytest.fixture(autouse=True)
def time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resight.gallery.engine.CONNECT_SECONDS", 120.0)


@pytest.fixture
def gallery(address: str, request: pytest.FixtureRequest) -> Iterator[Gallery]:
    uri = f"{address}#g{abs(hash(request.node.name))}"
    with Gallery.create(uri, fingerprint=MODEL, dim=ROWS.shape[1], about={"a": 1}) as made:
        made.add(ALL, ROWS)
        yield made


def test_it_answers_as_one_in_a_folder(gallery: Gallery, tmp_path: Path):
    with make(tmp_path / "g", 300) as local:
        for where in (Where(), Where(camids=(1, 2), after=3), Where(sources=('yard, "north"',))):
            for query, hits, same in zip(
                ROWS[:3], gallery.search(ROWS[:3], 9, where), local.search(ROWS[:3], 9, where), strict=True
            ):
                assert [hit.entry for hit in hits] == [hit.entry for hit in same]
                assert [hit.entry.id for hit in hits] == [id for id, _ in oracle(ALL, ROWS, query, 9, where)]
        assert gallery.ids() == local.ids() and torch.equal(gallery.vectors(local.ids()), ROWS)
        local.export_parquet(tmp_path / "g.parquet")
    assert gallery.import_parquet(tmp_path / "g.parquet") == Added(0, 300)
    assert gallery.delete(Where(camids=(1,))) == sum(e.camid == 1 for e in ALL)
    gallery.compact()
    assert len(gallery) == sum(e.camid != 1 for e in ALL) and gallery.stats()["bytes"] is None


def test_it_takes_several_at_a_time(gallery: Gallery):
    with Gallery.open(gallery.where, MODEL) as other:
        assert other.about == {"a": 1} and len(other) == 300
        more, rows = entries(10, 300), unit_rows(10, seed=4)
        assert other.add(more, rows) == Added(10, 0) and gallery.add(more, rows) == Added(0, 10)
        assert len(gallery) == 310


def test_galleries_of_several_names(address: str, gallery: Gallery):
    with pytest.raises(GalleryError, match="is there already"):
        Gallery.create(gallery.where, fingerprint=MODEL, dim=16)
    with pytest.raises(GalleryError, match="there is no gallery named nothing at"):
        Gallery.open(f"{address}#nothing")
    with pytest.raises(GalleryError, match="there is no gallery at"):
        Gallery.open(address)
    with pytest.raises(GalleryError, match="holds embeddings of another model"):
        Gallery.open(gallery.where, "b2" * 16)


def test_a_collection_of_someone_else_is_no_gallery(address: str):
    from pymilvus import MilvusClient

    client = MilvusClient(address, timeout=120.0, dedicated=True)
    client.create_collection("theirs", dimension=4)
    client.close()
    with pytest.raises(GalleryError, match="#theirs is no gallery of resight"):
        Gallery.open(f"{address}#theirs")
