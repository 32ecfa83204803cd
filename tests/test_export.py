"""`resight export`: what is written gives the model's own embeddings, or is not written."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resight.artifacts import load_model
from resight.backbones import ReidModel
from resight.calibrate import fingerprint
from resight.data.decode import decode, resized
from resight.data.transforms import IMAGENET, Normalisation, to_float
from resight.errors import CheckpointError, ConfigError
from resight.export import exporting, files, samples
from resight.export.containers import CONTAINERS, Container, MissingPackageError
from resight.export.exporting import ExportRequest, export_run
from resight.export.graph import EmbeddingGraph, lowest_cosine, rescaling

HALVES = Normalisation((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
NEEDS = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino"), "torchscript": (), "boxmot": ("onnx",)}


@pytest.fixture(scope="module")
def model(run: Path) -> ReidModel:
    found = load_model(run)[0]
    found.normalisation = HALVES
    return found


def silent(text: str) -> None:
    del text


def images(count: int) -> torch.Tensor:
    return samples.drawn_images((64, 32), count)


def test_rescaling_is_what_normalising_pixels_anew_would_be():
    # p = 200 in red: ImageNet's x = (200 − 123.675) / 58.395 = 1.30705; the model wants (200 − 127) / 128 = 0.570313.
    scale, shift = rescaling(HALVES, "imagenet")
    assert float(((1.30705 - shift) / scale)[0, 0, 0, 0]) == pytest.approx(0.570313, abs=1e-5)
    same_scale, same_shift = rescaling(IMAGENET, "imagenet")
    assert same_scale.flatten().tolist() == [1, 1, 1] and same_shift.flatten().tolist() == [0, 0, 0]


def test_the_lowest_cosine_is_that_of_the_worst_row_and_nothing_broken_passes():
    rows, others = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[2.0, 0.0], [1.0, 0.0]])
    assert lowest_cosine(rows, others) == pytest.approx(0.6)
    assert lowest_cosine(np.array([[np.nan, 1.0]]), others[:1]) == -1
    assert lowest_cosine(rows[:1], others) == -1


@pytest.mark.parametrize("takes", ["raw", "normalised", "imagenet"])
def test_a_graph_gives_the_models_test_embedding_from_whatever_it_takes(model: ReidModel, takes: str):
    pictures = images(3)
    expected = model(to_float(pictures, HALVES)).test
    graph = EmbeddingGraph(model, (64, 32), takes)
    torch.testing.assert_close(graph(graph.fed(pictures)), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("takes", ["raw", "normalised", "imagenet"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_every_kind_of_file_takes_batches_of_any_number_and_gives_unit_rows(
    model: ReidModel, tmp_path: Path, name: str, takes: str
):
    for package in NEEDS[name]:
        pytest.importorskip(package)
    graph, path = EmbeddingGraph(model, (64, 32), takes), tmp_path / f"m{CONTAINERS[name].suffixes[0]}"
    cosine = files.write_checked(graph, name, path, graph.facts(), images(4))
    run, pictures = CONTAINERS[name].open(path, "float32"), images(7)
    rows = run(graph.fed(pictures).contiguous().numpy())
    assert cosine >= files.COSINE
    assert lowest_cosine(rows, graph.expected(pictures)) >= files.COSINE
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert CONTAINERS[name].facts(path) == graph.facts()
    assert {p.suffix for p in tmp_path.iterdir()} <= {path.suffix, ".bin"}  # nothing else is left there


def test_the_facts_name_the_model_and_the_input(run: Path):
    model, recipe = load_model(run)
    facts = EmbeddingGraph(model, recipe.input.height_width, "normalised").facts()
    assert facts["fingerprint"] == fingerprint(run)
    assert json.loads(facts["mean"]) == list(model.normalisation.mean)
    assert facts["input"] == "images: batch x 3 x 64 x 32, float32" and facts["output_dim"] == str(model.dim)


def test_a_boxmot_file_passes_the_steps_of_its_loader(run: Path, people: Path, tmp_path: Path):
    """BGR crop → resized as declared → RGB → / 255 → ImageNet's scale → float32 NCHW → first output → unit length."""
    onnxruntime = pytest.importorskip("onnxruntime")
    out = tmp_path / "people.onnx"
    export_run(ExportRequest(run, "boxmot", out), silent)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (given,), result = session.get_inputs(), session.get_outputs()[0]
    assert given.name == "images" and given.type == "tensor(float)"
    assert isinstance(given.shape[0], str) and given.shape[1:] == [3, 64, 32]
    paths = sorted(people.rglob("*.jpg"))[:3]
    crops = [np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1] for path in paths]
    fed = np.stack([Image.fromarray(np.ascontiguousarray(c[:, :, ::-1])).resize((32, 64)) for c in crops])
    fed = (fed.transpose(0, 3, 1, 2).astype(np.float32) / 255 - np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)) / (
        np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    )
    rows = session.run([result.name], {given.name: fed.astype(np.float32)})[0]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    model, _ = load_model(run)
    ours = torch.stack([torch.from_numpy(resized(decode(path), 64, 32).copy()).permute(2, 0, 1) for path in paths])
    with torch.no_grad():
        assert lowest_cosine(rows, model(to_float(ours, model.normalisation)).test.numpy()) >= files.COSINE


def test_a_file_that_gives_other_embeddings_is_refused_and_the_old_one_stays(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def turned(path: Path, precision: str):  # type: ignore[no-untyped-def]
        real = CONTAINERS_BEFORE.open(path, precision)
        return lambda batch: -real(batch)

    CONTAINERS_BEFORE = CONTAINERS["torchscript"]
    out = tmp_path / "m.torchscript"
    out.write_text("old")
    broken = Container((".torchscript",), (), CONTAINERS_BEFORE.write, turned, CONTAINERS_BEFORE.facts)
    monkeypatch.setitem(CONTAINERS, "torchscript", broken)
    with pytest.raises(ConfigError, match="was not written: its embeddings must have a cosine of at least 0.9999"):
        export_run(ExportRequest(run, "torchscript", out, overwrite=True), silent)
    assert out.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_failing_exporter_and_a_full_disk_leave_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = CONTAINERS["torchscript"]
    out = tmp_path / "m.torchscript"
    for error, met, words in (
        (
            RuntimeError("no such operation\nmore"),
            ConfigError,
            r"cannot be written as torchscript \(no such operation\)",
        ),
        (OSError(28, "No space left on device"), CheckpointError, "could not be written .*No space left"),
    ):

        def fails(*_: object, error: Exception = error) -> None:
            out.with_name("half").write_text("")
            out.with_name("half").unlink()
            raise error

        monkeypatch.setitem(
            CONTAINERS, "torchscript", Container((".torchscript",), (), fails, before.open, before.facts)
        )
        with pytest.raises(met, match=words):
            export_run(ExportRequest(run, "torchscript", out), silent)
        assert list(tmp_path.iterdir()) == []


def test_an_engine_that_fails_while_it_computes_is_one_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(batch: np.ndarray) -> np.ndarray:
        raise RuntimeError("Exception from src/core.cpp:74:\nCheck 'x' failed\nmore")

    before = CONTAINERS["torchscript"]
    broken = dataclasses.replace(before, open=lambda path, precision: fails)
    monkeypatch.setitem(CONTAINERS, "torchscript", broken)
    with pytest.raises(
        ConfigError, match=r"resnet10t cannot be written as torchscript \(Check 'x' failed\); use another"
    ):
        export_run(ExportRequest(run, "torchscript", tmp_path / "m.pt"), silent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.xml", "m.bin"])
def test_neither_of_two_files_is_replaced_unasked(run: Path, tmp_path: Path, name: str):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{name} exists already; replace it with --overwrite"):
        export_run(ExportRequest(run, "openvino", tmp_path / "m.xml"), silent)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("before", [("m.xml", "m.bin"), ("m.bin",), ()])
@pytest.mark.parametrize("failing", ["m.bin", "m.xml"])
def test_of_two_files_both_are_new_or_both_are_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: tuple, failing: str
):
    target, real = tmp_path / "m.xml", Path.replace

    def write() -> None:
        with files.placed(target) as part:
            part.write_text("new")
            part.with_suffix(".bin").write_text("new")

    def replace(self: Path, other: Path) -> Path:
        if other == tmp_path / failing and self.read_text() == "new":
            raise OSError(28, "No space left on device")
        return real(self, other)

    for name in before:
        (tmp_path / name).write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(CheckpointError, match="m.xml could not be written .*No space left"):
            write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.name in before} == dict.fromkeys(
        before, "old"
    )
    assert "m.xml" in before or not target.exists(), "an .xml without its weights is no file"
    write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"m.xml": "new", "m.bin": "new"}


def test_a_missing_package_is_named_with_its_extra(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingPackageError, match=r"needs the package .*pip install 'resight\[export\]'"):
        export_run(ExportRequest(run, "openvino", tmp_path / "m.xml"), silent)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to": "onx"}, "no kind of file named 'onx'; did you mean 'onnx'"),
        ({"to": "boxmot", "preprocessing": "inside"}, "--preprocessing does not fit --to boxmot"),
        ({"to": "onnx", "preprocessing": "both"}, "--preprocessing must be one of inside, outside, got 'both'"),
        ({"to": "onnx", "out": Path("model.pt")}, "--out must end in .onnx for --to onnx, got model.pt"),
    ],
)
def test_flags_that_cannot_be_used_are_refused_before_anything_is_loaded(changes: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        export_run(ExportRequest(**{"run": Path("nowhere"), **changes}), silent)


def test_an_existing_file_is_kept_unless_overwrite_is_given(run: Path, tmp_path: Path):
    out = tmp_path / "m.torchscript"
    out.write_text("old")
    with pytest.raises(ConfigError, match="exists already; replace it with --overwrite"):
        export_run(ExportRequest(run, "torchscript", out), silent)
    export_run(ExportRequest(run, "torchscript", out, overwrite=True), silent)
    assert out.stat().st_size > 1000


def test_the_comparison_is_on_the_runs_own_images_or_on_drawn_ones(run: Path, people: Path, tmp_path: Path):
    found, which = samples.images_of(run, (64, 32), 5)
    assert len(found) == 5 and str(people) in which
    (tmp_path / "log.jsonl").write_text("")
    found, which = samples.images_of(tmp_path, (64, 32), 4)
    assert found.shape == (4, 3, 64, 32) and which == "4 drawn images"
    assert exporting.TARGETS == ("onnx", "openvino", "torchscript", "boxmot")
