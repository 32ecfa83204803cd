"""Which backend embeds a collection: settled once, for all workers and for the calls that go on with the parts."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from resight import bulk, bulk_work
from resight.artifacts import load_model
from resight.backends import NAMES, SAMPLE, TorchEmbedder
from resight.bulk import chosen_backend, planned
from resight.bulk_parts import finished, parts_folder
from resight.bulk_work import Work, Worker
from resight.calibrate import fingerprint
from resight.data.digests import content_digests
from resight.data.formats import read_dataset
from resight.errors import ConfigError, DataError
from resight.tables import EmbedRequest, TableHeader, embed_to_parquet, read_header

JOBS = {name: f"job{place}" for place, name in enumerate(NAMES)}


class Opened:
    """Stands for `open_backend`: what was asked for; "auto" is OpenVINO in int8, which torch computes here."""

    def __init__(self, fails_at: int = 1000) -> None:
        self.asked: list[tuple] = []
        self.left = fails_at

    def __call__(self, model, size, name, **more):  # type: ignore[no-untyped-def]
        self.asked.append((name, more))
        embedder = Counted(model, torch.device("cpu"))
        embedder.name, embedder.opened = "openvino int8" if name == "auto" else name, self
        return embedder


class Counted(TorchEmbedder):
    """One that is interrupted at the batch where what opened it has none left."""

    opened: Opened

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.opened.left -= 1
        if self.opened.left < 0:
            raise KeyboardInterrupt
        return super().__call__(images)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk, "BLOCK", 5)


def request(run: Path, data: Path, out: Path, **more) -> EmbedRequest:
    return EmbedRequest(run, data, out, **{"device": "cpu", "split": "train", **more})


def opened(monkeypatch: pytest.MonkeyPatch, fails_at: int = 1000) -> Opened:
    found = Opened(fails_at)
    monkeypatch.setattr(bulk, "open_backend", found)
    return found


def test_a_table_names_its_model_and_its_images(people: Path, run: Path, tmp_path: Path):
    out = tmp_path / "e.parquet"
    embed_to_parquet(request(run, people, out, backend="torch"))
    split, dim = read_dataset(people).train, load_model(run)[0].dim
    assert read_header(out) == TableHeader(fingerprint(run), dim, "torch float32")
    assert pq.read_table(out)["id"].to_pylist() == content_digests(split.pictures, tmp_path)
    lines = [f"{split.samples[0].path},{left},0,20,40" for left in (0, 1)]
    (tmp_path / "boxes.csv").write_text("\n".join(["path,left,top,width,height", *lines]))
    embed_to_parquet(request(run, tmp_path / "boxes.csv", tmp_path / "b.parquet", backend="torch"))
    boxes = read_dataset(tmp_path / "boxes.csv").train.pictures
    assert pq.read_table(tmp_path / "b.parquet")["id"].to_pylist() == content_digests(boxes, tmp_path)


def test_auto_is_settled_once_and_the_next_call_goes_on_with_what_the_parts_were_made_with(
    people: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, first = tmp_path / "e.parquet", opened(monkeypatch, fails_at=2)
    with pytest.raises(KeyboardInterrupt):
        embed_to_parquet(request(run, people, out))
    assert [name for name, _ in first.asked] == ["auto"] and len(finished(parts_folder(out))) == 2
    ahead = first.asked[0][1]["ahead"]
    assert len(ahead) == 12 and ahead.size == (64, 32)  # a sample of all images can be had from it

    again, said = opened(monkeypatch), []
    embed_to_parquet(request(run, people, out), said.append)
    assert [name for name, _ in again.asked] == ["openvino int8"], "no second trial, which might end otherwise"
    assert any("with openvino int8: 10 of 12 images" in line for line in said)
    header = read_header(out)
    assert header is not None and header.backend == "openvino int8"


def test_parts_of_two_backends_are_never_joined(
    people: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "e.parquet"
    opened(monkeypatch, fails_at=1)
    with pytest.raises(KeyboardInterrupt):
        embed_to_parquet(request(run, people, out))
    with pytest.raises(ConfigError, match="1 parts that another model, backend or input size made"):
        embed_to_parquet(request(run, people, out, backend="torch"))
    made = opened(monkeypatch)
    embed_to_parquet(request(run, people, out, backend="torch", overwrite=True))
    assert [name for name, _ in made.asked] == ["torch float32"] and pq.read_table(out).num_rows == 12


def test_conversions_are_kept_where_the_decoded_images_are(
    people: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = opened(monkeypatch)
    embed_to_parquet(request(run, people, tmp_path / "e.parquet", cache_dir=tmp_path / "kept"))
    assert made.asked[0][1]["cache_dir"] == tmp_path / "kept"


def never(name: str):
    raise AssertionError(f"{name} was opened")


@pytest.mark.parametrize(
    ("asked", "parts", "backend"),
    [
        ({"backend": "torch"}, [], "torch float32"),
        ({"backend": "openvino"}, ["job0-a.parquet"], "openvino float32"),
        ({"backend": "openvino int8"}, [], "openvino int8"),
        ({}, ["other-a.parquet", f"{JOBS['torch bfloat16']}-a.parquet"], "torch bfloat16"),
        ({"engine": "ray", "device": "auto"}, [], "torch float32"),  # workers may have GPUs that this machine has not
        ({"engine": "ray", "device": "cuda"}, [], "torch float32"),
    ],
)
def test_what_is_known_without_a_trial_is_not_tried(asked: dict, parts: list, backend: str):
    class Closed:
        open = staticmethod(never)

    assert chosen_backend(request(Path(), Path(), Path(), **asked), JOBS, parts, Closed()) == backend


def test_ray_workers_on_cpus_take_what_the_caller_chose_and_its_sample(
    people: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened(monkeypatch)
    monkeypatch.chdir(people.parent)
    asked = request(run, Path(people.name), tmp_path / "e.parquet", engine="ray", cache_dir=tmp_path)
    work = planned(asked, (), lambda text: None).work
    assert work.backend == "openvino int8" and 0 < len(work.sample) <= SAMPLE
    monkeypatch.chdir(tmp_path)
    made = Opened()
    monkeypatch.setattr(bulk_work, "open_backend", made)
    worker = Worker.opened(run, work)
    name, more = made.asked[0]
    assert name == worker.embedder.name == "openvino int8" and more["cache_dir"] == tmp_path
    assert more["ahead"].batch(torch.arange(2)).shape == (2, 3, 64, 32), "readable from another folder"


def test_a_worker_that_cannot_open_the_backend_says_so(run: Path, monkeypatch: pytest.MonkeyPatch):
    from resight.bulk_ray import RayWorker

    def closed(self) -> Worker:
        return Worker.opened(run, Work((64, 32), "openvino float32", "cpu", 8, None))

    monkeypatch.setattr(RayWorker, "opened", closed)
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    found = RayWorker(None, Work((64, 32), "openvino float32", "cpu", 8, None))({"name": "a", "pictures": "[]"})
    assert found["error"].startswith("on ") and "--backend openvino needs the package openvino" in found["error"]


def test_a_name_that_is_no_text_is_told_before_any_work(
    people: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = opened(monkeypatch)
    folder = tmp_path / "images"
    folder.mkdir()
    image = sorted((people / "bounding_box_train").iterdir())[0]
    try:
        shutil.copy(image, folder / "a\udcff.jpg")
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes no such name")
    with pytest.raises(DataError, match=r"must be text that UTF-8 can hold, got '.*a\\udcff.jpg'; rename it"):
        embed_to_parquet(request(run, folder, tmp_path / "e.parquet"))
    assert not made.asked and [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_part_of_an_older_form_is_another_job(run: Path, monkeypatch: pytest.MonkeyPatch):
    model = load_model(run)[0]
    names = {bulk.job_digest("ab", model, (64, 32), name) for name in NAMES}
    assert len(names) == len(NAMES)
    monkeypatch.setattr(bulk, "FORMAT", bulk.FORMAT - 1)
    assert bulk.job_digest("ab", model, (64, 32), NAMES[0]) not in names
