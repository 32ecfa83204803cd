"""Backends: all give torch's embeddings; `auto` takes the fastest of those that do, and says so."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from resight import backends, backends_converted
from resight.artifacts import load_model
from resight.backbones import ReidModel
from resight.backends import (
    BACKENDS,
    ConvertedEmbedder,
    Embedder,
    TorchEmbedder,
    open_backend,
    spread,
    with_precision,
)
from resight.backends_trial import images_per_second
from resight.data.transforms import to_float
from resight.errors import ConfigError
from resight.export.containers import CONTAINERS
from resight.export.graph import lowest_cosine
from resight.export.samples import drawn_images

SIZE = (64, 32)


@pytest.fixture(scope="module")
def model(run: Path) -> ReidModel:
    return load_model(run)[0]


def expected(model: ReidModel, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(to_float(images, model.normalisation)).test.numpy()


def silent(text: str) -> None:
    del text


class Images:
    """A source of so many drawn images, of which no more than eight differ."""

    def __init__(self, count: int) -> None:
        self.count, self.drawn, self.asked = count, drawn_images(SIZE, 8), []

    def __len__(self) -> int:
        return self.count

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        self.asked += index.tolist()
        return self.drawn[index % 8]


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_gives_torchs_embeddings_in_batches_of_any_size(model: ReidModel, tmp_path: Path, name: str):
    if name != "torch":
        pytest.importorskip(name)
    embedder = open_backend(model, SIZE, name, say=silent, cache_dir=tmp_path)
    assert isinstance(embedder, Embedder) and embedder.name == f"{name} float32" and embedder.dim == model.dim
    for count in (1, 5, 3):
        images = drawn_images(SIZE, count)
        for given in (images, images.contiguous()):  # channels-last, as pixel caches give them, and plain
            rows = embedder(given)
            assert rows.dtype == torch.float32 and lowest_cosine(rows.numpy(), expected(model, images)) > 0.99999
    assert embedder(torch.empty(0, 3, *SIZE, dtype=torch.uint8)).shape == (0, model.dim)


def test_rows_are_new_each_time(model: ReidModel, tmp_path: Path):
    pytest.importorskip("openvino")
    embedder = open_backend(model, SIZE, "openvino", say=silent, cache_dir=tmp_path)
    first = embedder(drawn_images(SIZE, 2))
    kept = first.clone()
    embedder(drawn_images(SIZE, 6)[4:])
    assert torch.equal(first, kept)


class Fake(TorchEmbedder):
    """An embedder of which the time and the error are known: `seconds` a call on a clock of the test's own."""

    def __init__(self, name: str, model: ReidModel, now: list[float], seconds: float, turned: bool = False) -> None:
        self.name, self.dim, self.model, self.now = name, model.dim, model, now
        self.seconds, self.turned = seconds, turned

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.now[0] += self.seconds * len(images)
        rows = torch.from_numpy(expected(self.model, images))
        return rows.flip(1) if self.turned else rows


@pytest.fixture
def faked(model: ReidModel, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """OpenVINO float32 takes 1 s an image; int8 takes 0.1 s and is wrong; torch 3 s; bfloat16 4 s."""
    now = [0.0]
    known = {
        ("openvino", "float32"): Fake("openvino float32", model, now, 1),
        ("openvino", "int8"): Fake("openvino int8", model, now, 0.1, turned=True),
        ("torch", "bfloat16"): Fake("torch bfloat16", model, now, 4),
    }
    opened = []
    monkeypatch.setattr(backends, "variants", lambda device: list(known))
    monkeypatch.setattr(backends._Opener, "_open", lambda self, *variant: opened.append(variant) or known[variant])
    monkeypatch.setattr(
        backends, "TorchEmbedder", lambda model, device, precision="float32": torch_fake(model, device, now)
    )
    monkeypatch.setattr(backends, "images_per_second", lambda e, i: images_per_second(e, i, clock=lambda: now[0]))
    return opened


def torch_fake(model: ReidModel, device: torch.device, now: list[float]) -> Fake:
    fake = Fake("torch float32", model, now, 3)
    fake.device = device  # type: ignore[attr-defined]
    return fake


def test_auto_takes_the_fastest_that_is_right_and_says_so(model: ReidModel, tmp_path: Path, faked: list):
    said: list[str] = []
    assert open_backend(model, SIZE, say=said.append, cache_dir=tmp_path).name == "openvino float32"
    assert said[0].startswith("openvino int8 was left out: openvino int8 gives other embeddings than torch float32")
    assert (
        said[1] == "backend: openvino float32, 1 images/s in a short trial (torch float32 0.333, torch bfloat16 0.25)"
    )
    assert len(faked) == 3


def test_auto_remembers_its_choice_until_the_machine_or_the_model_changes(
    model: ReidModel, tmp_path: Path, faked: list, monkeypatch: pytest.MonkeyPatch
):
    open_backend(model, SIZE, say=silent, cache_dir=tmp_path)
    faked.clear()
    said: list[str] = []
    assert open_backend(model, SIZE, say=said.append, cache_dir=tmp_path).name == "openvino float32"
    assert faked == [("openvino", "float32")] and said == ["backend: openvino float32, the fastest in an earlier trial"]
    for file in (tmp_path / "converted").glob("*.json"):
        file.write_text("{")
    open_backend(model, SIZE, say=silent, cache_dir=tmp_path)
    assert len(faked) == 1 + 3  # damaged: tried anew
    monkeypatch.setattr(backends, "here", lambda device: {"cpu": "another"})
    open_backend(model, SIZE, say=silent, cache_dir=tmp_path)
    assert len(faked) == 1 + 3 + 3


def test_for_few_images_auto_is_torch_without_a_trial(model: ReidModel, tmp_path: Path, faked: list):
    ahead = Images(backends.FEW)
    assert open_backend(model, SIZE, say=silent, cache_dir=tmp_path, ahead=ahead).name == "torch float32"
    assert faked == []
    ahead = Images(backends.FEW + 1)
    assert open_backend(model, SIZE, say=silent, cache_dir=tmp_path, ahead=ahead).name == "openvino float32"
    assert len(ahead.asked) == backends.SAMPLE and max(ahead.asked) == backends.FEW and min(ahead.asked) == 0


def test_a_sample_comes_from_all_over():
    ahead = Images(320)
    assert spread(ahead).shape == (backends.SAMPLE, 3, *SIZE)
    assert ahead.asked == sorted(set(ahead.asked))


def test_without_the_packages_auto_is_torch_and_a_name_says_what_to_install(
    model: ReidModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for package in ("onnx", "openvino", "onnxruntime"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    said: list[str] = []
    assert open_backend(model, SIZE, say=said.append, cache_dir=tmp_path).name.startswith("torch")
    assert "pip install 'resight[export]'" in said[0] and len(said) <= 2
    with pytest.raises(ConfigError, match=r"--backend openvino needs the package .*resight\[export\]"):
        open_backend(model, SIZE, "openvino", say=silent, cache_dir=tmp_path)


def test_a_backend_by_name_that_is_not_right_is_refused(
    model: ReidModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wrong = ConvertedEmbedder("openvino float32", model.dim, lambda images: np.ones((len(images), model.dim)))
    monkeypatch.setattr(backends._Opener, "_open", lambda *_: wrong)
    with pytest.raises(ConfigError, match=r"other embeddings than torch float32: a cosine must be at least 0\.999"):
        open_backend(model, SIZE, "openvino", say=silent, cache_dir=tmp_path)


class EngineError(Exception):
    """What an engine raises, which knows nothing of Python's own errors."""


def test_an_engine_that_fails_is_one_sentence(model: ReidModel):
    def run(images: np.ndarray) -> np.ndarray:
        raise EngineError("Exception from src/inference.cpp:74:\nbad allocation\n")

    embedder = ConvertedEmbedder("openvino float32", model.dim, run)
    with pytest.raises(
        ConfigError, match=r"openvino float32 failed on 2 images \(bad allocation\); use --backend torch"
    ):
        embedder(drawn_images(SIZE, 2))


def test_an_engine_that_cannot_open_what_was_converted_is_one_sentence_and_auto_does_without(
    model: ReidModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def closed(path: Path, precision: str) -> None:
        raise EngineError("no such instruction")

    monkeypatch.setitem(CONTAINERS, "openvino", dataclasses.replace(CONTAINERS["openvino"], packages=(), open=closed))
    monkeypatch.setattr(backends_converted, "write_checked", lambda *given: given[2].write_text("converted"))
    with pytest.raises(
        ConfigError, match=r"resnet10t cannot be opened by openvino \(no such instruction\); use --back"
    ):
        open_backend(model, SIZE, "openvino", say=silent, cache_dir=tmp_path)
    monkeypatch.setattr(backends, "variants", lambda device: [("openvino", "float32")])
    said: list[str] = []
    assert open_backend(model, SIZE, say=said.append, cache_dir=tmp_path).name == "torch float32"
    assert said[0].startswith("openvino float32 was left out: resnet10t cannot be opened by openvino")


def test_a_full_gpu_is_one_sentence(model: ReidModel):
    embedder = TorchEmbedder(model, torch.device("cpu"))
    full = torch.cuda.OutOfMemoryError("CUDA out of memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "to_float", lambda *given: raised(full))
        with pytest.raises(ConfigError, match="no room for 2 images at a time; give a smaller --batch-size"):
            embedder(drawn_images(SIZE, 2))


def raised(error: Exception) -> None:
    raise error


def test_a_precision_can_be_asked_for_by_name(model: ReidModel):
    embedder = open_backend(model, SIZE, "torch bfloat16", say=silent)
    assert embedder.name == "torch bfloat16"
    assert with_precision("openvino") == "openvino float32" and with_precision("openvino int8") == "openvino int8"
    with pytest.raises(ConfigError, match="no backend named 'torch int8'; did you mean 'torch'"):
        open_backend(model, SIZE, "torch int8", say=silent)


def test_names_and_devices_that_cannot_be_used_are_refused(model: ReidModel):
    with pytest.raises(ConfigError, match="no backend named 'openvin'; did you mean 'openvino'"):
        open_backend(model, SIZE, "openvin", say=silent)
    with pytest.raises(ConfigError, match="--backend onnxruntime computes on the CPU, got the device cuda"):
        open_backend(model, SIZE, "onnxruntime", device="cuda", say=silent)


def test_the_trial_calls_by_turns_and_counts_the_best_call():
    now, calls = [0.0], []

    def caller(name: str, seconds: list[float]):  # type: ignore[no-untyped-def]
        def call(images: torch.Tensor) -> torch.Tensor:
            calls.append(name)
            now[0] += seconds.pop(0) if len(seconds) > 1 else seconds[0]
            return images

        return call

    # First two calls size the batch: 0.5 s for 4 images, so 2 images are timed for about 0.25 s.
    one, two = caller("a", [0.5, 0.5, 1.0, 1.0, 0.5, 1.0]), caller("b", [9.0, 2.0, 4.0])
    rates = images_per_second([one, two], torch.zeros(4, 3, 2, 2, dtype=torch.uint8), budget=5, clock=lambda: now[0])
    assert "".join(calls) == "aa" + "ab" + "abab"  # to size the batch, to warm up, and until 5 s are over
    assert rates == [2 / 0.5, 2 / 2.0]
