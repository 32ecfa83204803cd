"""Embedding on a real Ray of two workers on this machine: the table of the one-machine engine, row for row."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from resight import bulk
from resight.bulk_parts import finished, parts_folder
from resight.bulk_ray import Share, imported, packed, root_cause, running, shared_out, unpacked
from resight.errors import ConfigError, DataError
from resight.tables import EmbedRequest, embed_to_parquet
from resight.types import Crop

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*push_based_shuffle:DeprecationWarning"),
    pytest.mark.filterwarnings(r"ignore::FutureWarning:ray\..*"),
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
"""Warnings that Ray itself raises: old settings, processes and sockets that it leaves to the interpreter to close."""

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk, "BLOCK", 2)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    """A Ray that all tests of the module share: starting one takes seconds."""
    if importlib.util.find_spec("ray") is None:  # not importorskip: what Ray prints is settled when it is imported
        pytest.skip("Ray is not installed")
    ray = imported()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(running(ray, None, 2, 2**20))
        except ConfigError as error:
            pytest.skip(str(error))  # Ray gives up after 15 seconds where other work keeps it from starting
        yield


def on_ray(run: Path, data: Path, out: Path, **more) -> EmbedRequest:
    return EmbedRequest(run, data, out, device="cpu", engine="ray", workers=2, **more)


@pytest.mark.parametrize(
    ("nodes", "workers", "gpu", "share"),
    [
        ([(2, 0)], None, True, (1, 2, 0)),  # less than four CPUs: one worker has them all
        ([(16, 0), (8, 0)], None, True, (6, 4, 0)),  # 4 + 2 workers of four CPUs
        ([(2, 0)], 2, True, (2, 1, 0)),
        ([(8, 0)] * 3, 2, True, (2, 8, 0)),  # not 12 CPUs each: no machine has them
        ([(8, 0)] * 3, 4, True, (4, 4, 0)),
        ([(0, 0), (8, 0)], 1, True, (1, 8, 0)),  # a head that takes no work
        ([(16, 4), (16, 0)], None, True, (4, 4, 1)),  # one to a GPU
        ([(16, 4), (16, 2)], 2, True, (2, 16, 1)),
        ([(16, 4)], 4, False, (4, 4, 0)),
    ],
)
def test_what_each_worker_gets_fits_on_the_machines(nodes: list, workers: int | None, gpu: bool, share: tuple):
    assert shared_out(nodes, workers, wants_gpu=gpu) == Share(*share)


def test_more_workers_than_fit_are_refused():
    with pytest.raises(ConfigError, match="9 workers need as many CPUs, but the Ray has 8; give fewer --workers"):
        shared_out([(4, 0), (4, 0)], 9, wants_gpu=True)
    with pytest.raises(ConfigError, match="3 workers need as many GPUs, each with a CPU, but the Ray has 2"):
        shared_out([(8, 2)], 3, wants_gpu=True)
    with pytest.raises(ConfigError, match="--device cuda needs a GPU"):
        shared_out([(8, 0)], 1, wants_gpu=True, needs_gpu=True)


def test_pictures_travel_as_text_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pictures = [Path("a.jpg"), Crop(Path("ä b.jpg"), (1, -2, 3, 4)), Path("not\udcffutf.jpg")]
    expected = [tmp_path / "a.jpg", Crop(tmp_path / "ä b.jpg", (1, -2, 3, 4)), tmp_path / "not\udcffutf.jpg"]
    assert unpacked(packed(pictures)) == expected


def test_the_last_line_of_a_trace_is_the_reason():
    assert root_cause(RuntimeError("Traceback\nThe actor died. Some causes are: (1) memory.")) == "The actor died"
    assert root_cause(RuntimeError("Traceback\n  File x\nMemoryError: all of it\n")) == "MemoryError: all of it"
    assert root_cause(RuntimeError()) == "RuntimeError"


@pytest.mark.slow
def test_the_table_is_that_of_one_machine_and_broken_images_are_left_out(
    two_workers: None, people: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(people)  # workers have another current folder
    broken = sorted((people / "bounding_box_train").iterdir())[3]
    whole = broken.read_bytes()
    broken.write_bytes(b"no image")
    try:
        one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
        embed_to_parquet(EmbedRequest(run, Path(), one, device="cpu", skip_broken=True))
        with pytest.raises(DataError, match=rf"1 of 12 images of the train split(?s:.)*{broken.name}"):
            embed_to_parquet(on_ray(run, Path(), two))
        said: list[str] = []
        embed_to_parquet(on_ray(run, Path(), two, skip_broken=True), said.append)
    finally:
        broken.write_bytes(whole)
    expected, found = pq.read_table(one), pq.read_table(two)
    assert not any("Ray workers" in line for line in said), "all parts were there"
    assert found.drop(["embedding"]).equals(expected.drop(["embedding"]))
    rows = [torch.tensor(table["embedding"].to_pylist()) for table in (found, expected)]
    torch.testing.assert_close(*rows, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_workers_error_is_one_sentence_and_nothing_is_printed(
    two_workers: None, people: Path, run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    # The folder is the worker's to write; the caller never touches it.
    request = on_ray(run, people, tmp_path / "e.parquet", cache_dir=Path("/proc/none"))
    with pytest.raises(DataError, match="cache.*cannot be written") as caught:
        embed_to_parquet(request)
    assert "Traceback" not in str(caught.value) and len(str(caught.value).splitlines()) == 1
    told = capfd.readouterr()
    assert told.out == "" and told.err == ""


KILLED = """
import os, signal, sys
from pathlib import Path
from resight import bulk
from resight.tables import EmbedRequest, embed_to_parquet

bulk.BLOCK, real, written = 2, bulk.write_part, []

def write_part(path, content):
    real(path, content)
    written.append(path)
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

bulk.write_part = write_part
run, data, out = map(Path, sys.argv[1:])
embed_to_parquet(EmbedRequest(run, data, out, device="cpu", engine="ray", workers=2), print)
"""


@pytest.mark.slow
def test_a_run_killed_in_the_middle_is_taken_up_with_the_parts_that_it_left(
    two_workers: None, people: Path, run: Path, tmp_path: Path
):
    out = tmp_path / "e.parquet"
    found = subprocess.run(
        [sys.executable, "-c", KILLED, run, people, out],
        capture_output=True, text=True, check=False, timeout=1800, env={**os.environ, "RAY_ADDRESS": ""},
    )  # fmt: skip
    if "no Ray could be started" in found.stderr:
        pytest.skip("no Ray could be started on this machine; it is too busy")
    assert found.returncode == -9, found.stderr
    assert not out.exists()
    kept = finished(parts_folder(out))
    assert len(kept) == 3
    said: list[str] = []
    embed_to_parquet(on_ray(run, people, out), said.append)
    assert any("6 of" in line and "embedded already" in line for line in said)
    embed_to_parquet(EmbedRequest(run, people, tmp_path / "one.parquet", device="cpu"))
    expected, again = pq.read_table(tmp_path / "one.parquet"), pq.read_table(out)
    assert again.drop(["embedding"]).equals(expected.drop(["embedding"]))
    rows = [torch.tensor(table["embedding"].to_pylist()) for table in (again, expected)]
    torch.testing.assert_close(*rows, rtol=0, atol=1e-6)
    assert not parts_folder(out).exists()
