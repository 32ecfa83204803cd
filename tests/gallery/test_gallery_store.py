"""A gallery in a folder: what goes in comes out, by search, filter and id, now and after it was closed."""

import gc
import random
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from gallery_cases import DIM, MODEL, entries, make, meets, oracle, unit_rows
from resight.errors import GalleryError, ShapeError
from resight.gallery import Added, Gallery, Where

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

COUNT = 700
ALL, ROWS = entries(COUNT), unit_rows(COUNT)
CONDITIONS = [
    Where(),
    Where(camids=(1, 3)),
    Where(camids=(0,), after=0),
    Where(before=-5.5),
    Where(after=10.0, before=11.5),
    Where(types=("vehicle", "none such")),
    Where(sources=('yard, "north"',), types=("person",)),
    Where(paths=(str(ALL[8].path), str(ALL[13].path))),
    Where(camids=(99,)),
    Where(types=()),
]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory):
    with make(tmp_path_factory.mktemp("galleries") / "g.db", COUNT) as made:
        yield made


@pytest.mark.parametrize("where", CONDITIONS)
def test_search_is_exact(gallery: Gallery, where: Where):
    queries = unit_rows(3, seed=9)
    for query, hits in zip(queries, gallery.search(queries, 12, where), strict=True):
        expected = oracle(ALL, ROWS, query, 12, where)
        assert [hit.entry.id for hit in hits] == [id for id, _ in expected]
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-6)
        assert all(hit.entry == ALL[int(hit.entry.id, 16)] for hit in hits)


@pytest.mark.parametrize("where", CONDITIONS)
def test_ids_and_blocks_are_of_those_that_are_meant(gallery: Gallery, where: Where):
    expected = [entry.id for entry in ALL if meets(entry, where)]
    assert gallery.ids(where) == expected
    blocks = list(gallery.blocks(where, size=64))
    assert [e for part, _ in blocks for e in part] == [ALL[int(id, 16)] for id in expected]
    for part, rows in blocks:
        assert torch.equal(rows, ROWS[[int(entry.id, 16) for entry in part]])


def test_by_id(gallery: Gallery):
    ids = [ALL[place].id for place in (500, 3, 3, 699)]
    assert gallery.get(ids) == [ALL[place] for place in (500, 3, 3, 699)]
    assert torch.equal(gallery.vectors(ids), ROWS[[500, 3, 3, 699]])
    assert gallery.known([ids[0], "none"]) == {ids[0]}
    assert gallery.get([]) == [] and gallery.vectors([]).shape == (0, DIM)
    for ask in (gallery.get, gallery.vectors):
        with pytest.raises(GalleryError, match="has no entry with id none"):
            ask([ids[0], "none"])


def test_what_it_says_of_itself(gallery: Gallery):
    assert (gallery.fingerprint, gallery.dim, len(gallery)) == (MODEL, DIM, COUNT)
    assert gallery.about == {"backbone": "tiny"}
    stats = gallery.stats()
    assert stats["entries"] == COUNT and sum(stats["cameras"].values()) == COUNT == sum(stats["types"].values())
    assert stats["cameras"]["unknown"] == COUNT / 5 and list(stats["cameras"]) == ["0", "1", "2", "3", "unknown"]
    assert stats["first"] == min(e.timestamp for e in ALL if e.timestamp is not None) and stats["bytes"] > 0


def test_more_hits_than_entries_and_no_query(gallery: Gallery):
    assert len(gallery.search(ROWS[:1], COUNT + 50)[0]) == COUNT
    assert gallery.search(ROWS[:0], 5) == []


@pytest.mark.parametrize("k", [0, 16385])
def test_a_number_of_hits_that_milvus_does_not_give(gallery: Gallery, k: int):
    with pytest.raises(GalleryError, match="must ask for 1 to 16,384 hits"):
        gallery.search(ROWS[:1], k)


def test_rows_that_do_not_fit(gallery: Gallery):
    with pytest.raises(ShapeError, match="vectors must have 16 columns"):
        gallery.search(unit_rows(2, dim=8))
    with pytest.raises(ShapeError, match="rows of length 1, got one of 2"):
        gallery.search(2 * ROWS[:2])
    with pytest.raises(ShapeError, match="rows of length 1, got one of nan"):
        gallery.add(ALL[:1], ROWS[:1] * float("nan"))
    with pytest.raises(ShapeError, match="got 2 rows and 1 entries"):
        gallery.add(ALL[:1], ROWS[:2])


def test_adding_twice_changes_nothing(tmp_path: Path):
    with make(tmp_path / "g") as gallery:
        assert gallery.add(ALL[:50], ROWS[:50]) == Added(50, 0)
        other = unit_rows(60, seed=5)
        assert gallery.add([*ALL[40:60], *ALL[40:80]], other) == Added(30, 30)
        assert len(gallery) == 80 and len(gallery.ids()) == 80
        assert torch.equal(gallery.vectors([ALL[45].id]), ROWS[45:46])  # the first one stays
        assert torch.equal(gallery.vectors([ALL[55].id]), other[15:16])  # of two in one call, too
        assert gallery.add([], ROWS[:0]) == Added(0, 0)


def test_all_is_there_after_reopening(tmp_path: Path):
    with make(tmp_path / "deep" / "g", 300) as gallery:
        before = gallery.search(ROWS[:4], 20)
    with pytest.raises(GalleryError, match="is there already"):
        make(tmp_path / "deep" / "g")
    with Gallery.open(tmp_path / "deep" / "g", MODEL) as gallery:
        assert gallery.search(ROWS[:4], 20) == before and gallery.about == {"backbone": "tiny"}
        assert gallery.add(ALL[:300], ROWS[:300]) == Added(0, 300)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["g"]


def test_deleted_entries_are_gone_and_can_come_back(tmp_path: Path):
    draw = random.Random(1)
    with make(tmp_path / "g", 300) as gallery:
        there = dict.fromkeys(range(300))
        for where in (Where(camids=(2,)), Where(types=("person",), after=100), Where(paths=(str(ALL[0].path),))):
            gone = [n for n in there if meets(ALL[n], where)]
            assert gallery.delete(where) == len(gone) > 0
            there = {n: None for n in there if n not in gone}
        some = draw.sample(sorted(there), 10)
        assert gallery.delete([*(ALL[n].id for n in some), "none", ALL[some[0]].id]) == 10
        there = {n: None for n in there if n not in some}
        assert gallery.ids() == [ALL[n].id for n in there] and len(gallery) == len(there)
        assert {int(hit.entry.id, 16) for hit in gallery.search(ROWS[:1], 300)[0]} == set(there)
        assert gallery.add(ALL[:300], ROWS[:300]) == Added(300 - len(there), len(there))
        assert gallery.ids() == [e.id for e in ALL[:300]]


def test_a_delete_of_everything_must_be_meant(tmp_path: Path):
    with make(tmp_path / "g", 5) as gallery:
        with pytest.raises(GalleryError, match="a delete must say which entries go"):
            gallery.delete(Where())
        assert len(gallery) == 5


def test_compacting_gives_room_back_and_changes_no_answer(tmp_path: Path):
    with make(tmp_path / "g", COUNT) as gallery:
        gallery.delete(Where(types=("person", "vehicle")))
        before, room = gallery.search(ROWS[:5], 30), gallery.stats()["bytes"]
        gallery.compact()
        assert gallery.search(ROWS[:5], 30) == before and gallery.stats()["bytes"] < room
        assert gallery.add(ALL[:1], ROWS[:1]) == Added(1, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["g"]
    with Gallery.open(tmp_path / "g", MODEL) as gallery:
        assert len(gallery) == 1 + sum(e.type is None for e in ALL)


def test_a_compaction_cut_short_between_its_renames_is_undone(tmp_path: Path):
    make(tmp_path / "g", 20).close()
    (tmp_path / "g").rename(tmp_path / ".g.old")
    with Gallery.open(tmp_path / "g") as gallery:
        assert len(gallery) == 20


def test_another_models_gallery_is_refused(tmp_path: Path):
    make(tmp_path / "g").close()
    with pytest.raises(GalleryError, match=r"holds embeddings of another model \(a1a1a1a1…\) than the one given \(b2"):
        Gallery.open(tmp_path / "g", "b2" * 16)
    Gallery.open(tmp_path / "g", MODEL).close()  # the refusal left it free


def test_what_is_no_gallery(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder" / "collections").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GalleryError, match="there is no gallery at .*nothing; make one with resight index"):
        Gallery.open(tmp_path / "nothing")
    for name in ("file", "empty", "folder"):
        with pytest.raises(GalleryError, match=f"{name} is no gallery of resight"):
            Gallery.open(tmp_path / name)
    assert list((tmp_path / "empty").iterdir()) == []
    with pytest.raises(GalleryError, match="cannot be made"):
        make(tmp_path / "file" / "g")


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make(tmp_path / "g").close()
    monkeypatch.setattr("resight.gallery.header.FORMAT", 0)
    with pytest.raises(GalleryError, match="has format 1, which a newer version of resight made"):
        Gallery.open(tmp_path / "g")


def test_it_is_open_once(tmp_path: Path):
    with make(tmp_path / "g", 3), pytest.raises(GalleryError, match="is in use, by another process or by this one"):
        Gallery.open(tmp_path / "g")
    Gallery.open(tmp_path / "g").close()


def test_a_server_that_does_not_answer():
    with pytest.raises(GalleryError, match="no Milvus server answers at http://127.0.0.1:9#people within 5 s") as said:
        Gallery.open("http://user:secret@127.0.0.1:9#people")
    assert "secret" not in str(said.value) and "\n" not in str(said.value)


@pytest.mark.parametrize("name", ["pymilvus", "milvus_lite.adapter.grpc.server"])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(GalleryError, match=r"pip install 'resight\[gallery\]'"):
        make(tmp_path / "g")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_takes_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "free")
    with make(tmp_path / "g", 10) as gallery:
        monkeypatch.setattr("resight.gallery.engine.shutil.disk_usage", lambda path: usage(1000))
        with pytest.raises(GalleryError, match="free bytes on its disk for the next images, which has 1,000"):
            gallery.add(ALL[10:20], ROWS[10:20])
        monkeypatch.undo()
        assert gallery.add(ALL[10:20], ROWS[10:20]) == Added(10, 0)  # room was made


@pytest.mark.filterwarnings("ignore:Exception ignored in.*wal_data:pytest.PytestUnraisableExceptionWarning")
def test_after_a_write_that_failed_nothing_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from milvus_lite.storage.wal import WAL

    write = WAL.write_insert

    def torn(self: WAL, batch: object) -> None:
        write(self, batch)
        size = Path(str(self.data_path)).stat().st_size
        with Path(str(self.data_path)).open("r+b") as file:
            file.truncate(size - 100)
        raise OSError(28, "No space left on device")

    gallery = make(tmp_path / "g", 10)
    monkeypatch.setattr(WAL, "write_insert", torn)
    with pytest.raises(GalleryError, match="the disk is full"):
        gallery.add(ALL[10:20], ROWS[10:20])
    monkeypatch.undo()
    with pytest.raises(GalleryError, match="takes nothing more since a write failed"):
        gallery.add(ALL[20:30], ROWS[20:30])
    gallery.close()
    # What a process leaves behind that ends now; the lock goes with it.
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "g", copy)
    with Gallery.open(copy) as again:
        assert again.ids() == [e.id for e in ALL[:10]]
        assert again.add(ALL[:30], ROWS[:30]) == Added(20, 10)
    del gallery
    gc.collect()  # its log, which stayed open, goes here and not in another test
