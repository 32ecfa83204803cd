"""`resight calibrate` as a user meets it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resight.calibrate import load_calibration
from resight.calibration_run import CalibrateRequest, chosen_source, run_calibration
from resight.data.synthetic import SyntheticConfig, write_synthetic
from resight.types import Sample, Split

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """144 training images of 36 people, drawn: enough for a calibration without answers."""
    root = tmp_path_factory.mktemp("crowd")
    size = {"cameras": 2, "images_per_camera": 2, "height": 64, "width": 32}
    write_synthetic(root, SyntheticConfig(train_identities=36, test_identities=2, **size))
    return root


@pytest.fixture
def model(run: Path, tmp_path: Path) -> Path:
    """A run folder of its own."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def answers(crowd: Path, path: Path, *, yes: int = 30, no: int = 30) -> Path:
    """Answers to pairs of the first image of a person with the second, or with another person's."""
    folder = crowd / "bounding_box_train"
    images = sorted(p.relative_to(crowd).as_posix() for p in folder.iterdir() if p.suffix in (".jpg", ".png"))
    lines = ["left,right,same,weight,score"]
    lines += [f"{images[4 * k]},{images[4 * k + 1]},yes,1.0," for k in range(yes)]
    lines += [f"{images[4 * k]},{images[4 * k + 6]},no,1.0," for k in range(no)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_images_alone(resight: Command, model: Path, crowd: Path, tmp_path: Path):
    code, said, wrong = resight(
        "calibrate", model, crowd, "--false-match-rate", "0.01", "--json", tmp_path / "figures.json"
    )
    assert (code, wrong) == (0, "")
    assert (
        "learnt from the images alone: all 10,296 pairs" in said
        and "how far to trust it: the threshold is safe on" in said
    )
    assert "for checking, not used in the fit" in said and "smallest rate" in said
    found = load_calibration(model)
    assert found is not None and found.source == "cameras" and found.false_match_rate == 0.01 and found.camera_aware
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["threshold"] == found.threshold
    check = figures["for checking, not used in the fit"]
    assert check["false_match_rate"] <= 0.01 and 0 <= check["reliability"]["error"] <= 1
    assert (model / "reliability.svg").read_text().startswith("<?xml")


def test_the_runs_own_images_by_default(resight: Command, model: Path):
    code, _, wrong = resight("calibrate", model)
    assert code == 2 and "at least 128 images" in wrong and "got 12;" in wrong


def test_answers_replace_what_was_learnt_before(resight: Command, model: Path, crowd: Path, tmp_path: Path):
    assert resight("calibrate", model, crowd, "--false-match-rate", "0.01")[0] == 0
    code, said, _ = resight("calibrate", model, crowd, "--answers", answers(crowd, tmp_path / "a.csv"),
                            "--false-match-rate", "0.01")  # fmt: skip
    found = load_calibration(model)
    assert code == 0 and "learnt from the answers to 60 pairs" in said
    assert found is not None and found.source == "answers" and not found.camera_aware


def test_what_an_audit_leaves_is_learnt_from_and_its_threshold_audited(
    resight: Command, model: Path, crowd: Path, tmp_path: Path
):
    first, second, figures = tmp_path / "first", tmp_path / "second", tmp_path / "figures.json"
    assert resight("audit", model, crowd, "--pairs", 200, "--from-identities", "--out", first)[0] == 0
    words = ("--answers", first / "pairs.csv", "--false-match-rate", "0.01")
    code, said, _ = resight("calibrate", model, crowd, *words, "--json", figures)
    found = load_calibration(model)
    assert code == 0 and "learnt from the answers to 200 pairs" in said and found is not None
    check = json.loads(figures.read_text())["for checking, not used in the fit"]
    assert 0.005 <= check["false_match_rate"] <= 0.02 and check["errors"]["0.01"] < 0.25
    assert check["same_share"] == pytest.approx(216 / 10_296)  # 36 people of 4 images: 36 · 6 of 144 · 143 / 2
    code, said, _ = resight("audit", model, crowd, "--pairs", 20, "--out", second, "--json", figures)
    assert code == 0 and "(the run's calibration)" in said
    assert json.loads(figures.read_text())["threshold"] == found.threshold
    code, _, wrong = resight("audit", model, crowd, "--threshold", found.threshold, "--out", first)
    assert code == 2 and "holds an audit with threshold" in wrong  # the first keeps its own


def test_a_model_that_tells_nothing_is_said_to_tell_nothing(resight: Command, model: Path):
    # one epoch from random weights: a stranger in the same camera looks closer than the same person in the other
    code, _, wrong = resight("calibrate", model, "--source", "identities", "--false-match-rate", "0.1")
    assert code == 2 and "this model cannot tell them apart" in wrong


def test_a_failed_one_leaves_what_was_there(resight: Command, model: Path, crowd: Path, tmp_path: Path):
    assert resight("calibrate", model, crowd, "--false-match-rate", "0.01")[0] == 0
    before = {name: (model / name).read_bytes() for name in ("calibration.json", "reliability.svg")}
    few = answers(crowd, tmp_path / "few.csv", yes=3)
    code, _, wrong = resight("calibrate", model, crowd, "--answers", few)
    assert code == 2 and "at least 5 answers of each kind, got 3 same and 30 different" in wrong
    assert before == {name: (model / name).read_bytes() for name in before}


def test_a_drawing_of_an_earlier_check_does_not_stay(resight: Command, model: Path, crowd: Path):
    (model / "reliability.svg").write_text("old")
    crops = crowd / "bounding_box_train"
    code, said, _ = resight("calibrate", model, crops, "--format", "folder", "--false-match-rate", "0.01")
    assert code == 0 and "checked" not in said and "across cameras" not in said
    assert not (model / "reliability.svg").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--source", "guess"], "--source must be one of auto, answers, tracklets, cameras, identities, got 'guess'"),
        (["--source", "answers"], "--source answers needs the file of them"),
        (["--false-match-rate", "0"], "--false-match-rate must lie between 0 and 1"),
        (["--false-match-rate", "1e-7"], "different pairs can tell: the smallest is "),
        (["--source", "tracklets"], "needs tracklets, but none of the 144 train images has one"),
        (["--split", "val"], "--split must be one of"),
        (["--answers", "none.csv"], "none.csv cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    resight: Command, model: Path, crowd: Path, words: list[str], sentence: str
):
    code, _, wrong = resight("calibrate", model, crowd, *words)
    assert code == 2 and sentence in wrong and len(wrong.strip().splitlines()) == 1
    assert not (model / "calibration.json").exists()


def test_answers_and_another_source_exclude_each_other(resight: Command, model: Path, crowd: Path, tmp_path: Path):
    file = answers(crowd, tmp_path / "a.csv")
    code, _, wrong = resight("calibrate", model, crowd, "--answers", file, "--source", "cameras")
    assert code == 2 and "exclude each other" in wrong


def test_bad_answers_name_the_line(resight: Command, model: Path, crowd: Path, tmp_path: Path):
    (tmp_path / "bad.csv").write_text("left,right,same\na.jpg,b.jpg,perhaps\n")
    code, _, wrong = resight("calibrate", model, crowd, "--answers", tmp_path / "bad.csv")
    assert code == 2 and "bad.csv line 2 must answer yes or no under 'same'" in wrong


def test_the_source_follows_what_there_is(tmp_path: Path):
    plain, tracked = (Split("train", (Sample(Path("a.jpg"), tracklet=t),)) for t in (None, 3))
    request = CalibrateRequest(tmp_path)
    assert chosen_source(request, plain) == "cameras" and chosen_source(request, tracked) == "tracklets"
    assert chosen_source(CalibrateRequest(tmp_path, answers=tmp_path), tracked) == "answers"
    assert chosen_source(CalibrateRequest(tmp_path, source="cameras"), tracked) == "cameras"


def test_a_model_file_beside_no_log_needs_data(model: Path):
    (model / "log.jsonl").unlink()
    from resight.errors import DataError

    with pytest.raises(DataError, match="does not say which data the run used; give DATA"):
        run_calibration(CalibrateRequest(model), lambda text: None, lambda title: lambda done, total: None)
