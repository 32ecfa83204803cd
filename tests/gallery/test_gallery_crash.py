"""What was acknowledged is there after SIGKILL, once; two processes never damage each other's work."""

import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

import gallery_cases
from gallery_cases import MODEL, entries, make, unit_rows
from resight.errors import GalleryError
from resight.gallery import Gallery, collection

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

TOTAL, BATCH = 3000, 100

Start = Callable[..., tuple[BaseProcess, Connection]]


@pytest.fixture(scope="module")
def start() -> Start:
    """Begin to add entries in another process; gives it and the end of a pipe that hears what is acknowledged."""
    # Each process is a copy of one that has imported everything: that takes far longer than what is tested.
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(gallery_cases.__file__).parent))
        context.set_forkserver_preload(["gallery_cases", "pymilvus", "milvus_lite.adapter.grpc.server"])

        def begin(path: Path, most_bytes: int | None = None) -> tuple[BaseProcess, Connection]:
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=gallery_cases.add_all, args=(path, TOTAL, BATCH, there, most_bytes))
            process.start()
            there.close()
            return process, here

        begin(Path("/nothing"))[0].join()
    return begin


def heard(pipe: Connection) -> list[int | str]:
    """All that the process said until it ended."""
    said = []
    while True:
        try:
            said.append(pipe.recv())
        except EOFError:
            return said


def test_killed_at_any_moment_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path, start: Start):
    draw = random.Random(11)
    path, rows = tmp_path / "g", unit_rows(TOTAL)
    make(path).close()
    expected = [entry.id for entry in entries(TOTAL)]
    most = 0
    for _ in range(4):
        process, pipe = start(path)
        assert pipe.recv() == 0
        time.sleep(draw.uniform(0.05, 0.8))
        process.kill()
        most = max([most, *(count for count in heard(pipe) if isinstance(count, int))])
        process.join()
        with Gallery.open(path, MODEL) as gallery:
            ids = gallery.ids()
            assert len(ids) == len(set(ids)) == len(gallery)
            assert ids[:most] == expected[:most] and ids == expected[: len(ids)]
            assert len(ids) % BATCH == 0  # a batch is there as a whole or not at all
    process, pipe = start(path)
    assert heard(pipe)[-1] == TOTAL
    process.join()
    with Gallery.open(path, MODEL) as gallery:
        assert gallery.ids() == expected and gallery.get(expected[::97]) == entries(TOTAL)[::97]
        assert torch.equal(gallery.vectors(expected), rows)


def test_of_two_that_add_at_once_one_gets_a_sentence_and_nothing_is_damaged(tmp_path: Path, start: Start):
    path = tmp_path / "g"
    make(path).close()
    both = [start(path) for _ in range(2)]
    ends = [heard(pipe)[-1] for _, pipe in both]
    for process, _ in both:
        process.join()
    assert TOTAL in ends
    assert all(end == TOTAL or "is in use, by another process" in str(end) for end in ends)
    with Gallery.open(path) as gallery:
        assert gallery.ids() == [entry.id for entry in entries(TOTAL)]


def test_a_disk_that_is_full_at_once_loses_nothing(tmp_path: Path, start: Start):
    path = tmp_path / "g"
    make(path).close()
    process, pipe = start(path, 60_000)  # the engine's log grows beyond it on the way
    *there, error = heard(pipe)
    process.join()
    assert 0 < there[-1] < TOTAL and "the disk is full" in str(error)
    with Gallery.open(path) as gallery:
        assert gallery.ids() == [entry.id for entry in entries(there[-1])]


def test_of_two_that_make_it_at_once_one_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def meanwhile(engine: collection.Engine, header: collection.Header) -> None:
        monkeypatch.undo()
        (tmp_path / "g").mkdir()
        (tmp_path / "g" / "theirs").touch()
        create(engine, header)

    create = collection.create_collection
    monkeypatch.setattr(collection, "create_collection", meanwhile)
    with pytest.raises(GalleryError, match="cannot be made"):
        make(tmp_path / "g")
    assert [path.name for path in tmp_path.rglob("*")] == ["g", "theirs"]
