"""Converted models: made once, kept by all that they depend on, and in 8-bit integers as far as that is right."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resight import backends_converted
from resight.artifacts import load_model
from resight.backbones import ReidModel
from resight.backends import open_backend
from resight.backends_converted import Converted
from resight.export.containers import CONTAINERS
from resight.export.graph import lowest_cosine
from resight.export.quantised import _before
from resight.export.samples import drawn_images
from test_backends import SIZE, expected, silent


@pytest.fixture(scope="module")
def model(run: Path) -> ReidModel:
    return load_model(run)[0]


def test_a_second_start_converts_nothing_and_a_damaged_file_is_made_again(
    model: ReidModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("onnxruntime")
    written = []
    real = backends_converted.write_checked
    monkeypatch.setattr(
        backends_converted, "write_checked", lambda *given: written.append(given[2].name) or real(*given)
    )
    for starts, files in ((1, 1), (2, 1)):
        open_backend(model, SIZE, "onnxruntime", say=silent, cache_dir=tmp_path)
        assert len(written) == files, starts
    path = next((tmp_path / "converted").glob("*.onnx"))
    path.write_bytes(path.read_bytes()[:1000])
    embedder = open_backend(model, SIZE, "onnxruntime", say=silent, cache_dir=tmp_path)
    assert len(written) == 2
    images = drawn_images(SIZE, 2)
    assert lowest_cosine(embedder(images).numpy(), expected(model, images)) > 0.99999


def test_other_weights_are_another_conversion(model: ReidModel, run: Path, tmp_path: Path):
    other = load_model(run)[0]
    images = drawn_images(SIZE, 2)
    one = Converted(model, SIZE, tmp_path, images).key
    assert Converted(other, SIZE, tmp_path, images).key == one
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    assert Converted(other, SIZE, tmp_path, images).key != one
    assert Converted(model, (32, 32), tmp_path, images).key != one


def test_int8_is_near_enough_to_be_compared_and_is_made_once(model: ReidModel, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    images = drawn_images(SIZE, 8)
    converted = Converted(model, SIZE, tmp_path, images)
    rows = converted.open("openvino", "int8")(images.contiguous().numpy())
    right = expected(model, images)
    assert 0.9 < lowest_cosine(rows, right) < 0.9999999  # it is another computation, of the same thing
    stamp = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.onnx")}
    converted.open("openvino", "int8")
    assert stamp == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.onnx")} and len(stamp) == 2


@pytest.mark.parametrize(
    ("share", "before"), [(1.0, []), (0.5, ["pad", "a", "clip", "b"]), (0.1, ["pad", "a", "clip", "b", "c"])]
)
def test_a_share_of_the_convolutions_is_the_last_of_them(share: float, before: list):
    kinds = {"pad": "Pad", "a": "Conv", "clip": "Clip", "b": "Conv", "c": "Conv", "d": "Gemm", "norm": "Div"}
    assert _before([SimpleNamespace(name=name, op_type=kind) for name, kind in kinds.items()], share) == before


@pytest.mark.parametrize(
    ("cosines", "shares"), [([0.9993], [1.0]), ([0.97, 0.9999], [1, 0.25]), ([0.9] * 3, [1, 0.25, 0.125])]
)
def test_the_largest_share_in_8_bits_that_is_right_is_kept_or_else_the_least(
    model: ReidModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cosines: list, shares: list
):
    tried: list[float] = []
    opened = dataclasses.replace(CONTAINERS["openvino"], packages=(), open=lambda path, precision: lambda batch: batch)
    monkeypatch.setitem(CONTAINERS, "openvino", opened)
    monkeypatch.setattr(Converted, "_float32", lambda self, container: tmp_path)
    monkeypatch.setattr(backends_converted, "lowest_cosine", lambda *rows: cosines[len(tried) - 1])
    monkeypatch.setattr(
        backends_converted,
        "quantise",
        lambda source, target, images, share: tried.append(share) or target.write_text(str(share)),
    )
    Converted(model, SIZE, tmp_path, drawn_images(SIZE, 2)).open("openvino", "int8")
    assert tried == shares
    assert [path.read_text() for path in tmp_path.glob("*.onnx")] == [str(tried[-1])]
