"""What a run decides by the estimate without labels: which epoch's model it keeps, and when it has trained enough."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from resight import course, trust_watch
from resight.artifacts import BEST_BY_ESTIMATE
from resight.checkpoint import read_header, read_tensors, strip
from resight.errors import CheckpointError, ConfigError
from resight.report import write_report
from resight.run import TrainRequest, run_training
from resight.runlog import read_events
from small_runs import equal, weights, write_people

TINY = (
    "backbone.name=resnet10t",
    "backbone.weights=random",
    "input.size=[64, 32]",
    "train.batch_size=8",
    "train.precision=float32",
    "train.epochs=5",
    "evaluate.every=1",
    "trust.every=1",
)
BEST = "trust.keep=best"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture
def estimates(monkeypatch: pytest.MonkeyPatch):
    """Make a run's measurements come out as told, in place of what is measured."""

    measure = trust_watch.measure

    def tell(*values: float) -> None:
        left = iter(values)

        def told(*args: Any, **more: Any):
            found, lists = measure(*args, **more)
            same = dict.fromkeys(("view_rank", "view_near", "cycle", "mixing"), next(left))
            return dataclasses.replace(found, **same), lists

        monkeypatch.setattr(trust_watch, "measure", told)

    return tell


def train(data: Path, out: Path, *overrides: str, **flags: Any) -> dict[str, Any]:
    changes = () if flags.get("resume") else (*TINY, *overrides)
    return run_training(TrainRequest(data, "auto", out, overrides=changes, device="cpu", **flags), say=lambda _: None)


def events(out: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in read_events(out / "log.jsonl") if event["event"] == name]


def killed_after(monkeypatch: pytest.MonkeyPatch, at: int, *, before: bool = False) -> None:
    save = course.save_checkpoint

    def killed(folder: Path, epoch: int, *rest: Any, **more: Any) -> Path:
        if before and epoch == at:
            raise KeyboardInterrupt
        path = save(folder, epoch, *rest, **more)
        if epoch == at:
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(course, "save_checkpoint", killed)


def test_the_last_epoch_is_kept_unless_asked(people: Path, tmp_path: Path, estimates):
    estimates(0.9, 0.2, 0.8, 0.3, 0.1, 0.1)
    summary = train(people, tmp_path / "run")
    assert "kept_epoch" not in summary
    assert not (tmp_path / "run" / BEST_BY_ESTIMATE).exists()


def test_the_model_of_the_highest_estimate_is_kept_and_scored(people: Path, tmp_path: Path, estimates):
    out = tmp_path / "run"
    estimates(0.9, 0.2, 0.8, 0.3, 0.8, 0.1)  # the untrained backbone's 0.9 is no result of the run
    summary = train(people, out, BEST)
    assert summary["kept_epoch"] == 2
    assert summary["estimate_without_labels"]["estimate"] == pytest.approx(0.8)
    scored = {event["epoch"]: event["mAP"] for event in events(out, "evaluation")}
    assert summary["trained"]["mAP"] == scored[2]
    assert summary["last_epoch"]["mAP"] == scored[5]
    assert [event["epoch"] for event in events(out, "kept")] == [2]
    assert equal(weights(out), read_tensors(out / BEST_BY_ESTIMATE)[0])
    assert read_header(out / "model.safetensors")["kind"] == "model"
    write_report(out, tmp_path / "report.html")
    assert "that of epoch 2" in (tmp_path / "report.html").read_text()


def test_where_nothing_could_be_estimated_the_last_epoch_is_kept(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trust_watch, "estimate", lambda found: None)
    killed_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        train(people, tmp_path / "run", BEST)
    monkeypatch.undo()
    monkeypatch.setattr(trust_watch, "estimate", lambda found: None)
    summary = train(people, tmp_path / "run", resume=True)
    assert (summary["epochs"], "kept_epoch" in summary) == (5, False)
    last = read_tensors(tmp_path / "run" / "checkpoints" / "epoch-00005.safetensors")[0]
    assert equal(weights(tmp_path / "run"), strip(last, "model/"))


def test_what_is_kept_is_the_average_of_its_epoch(
    people: Path, tmp_path: Path, estimates, monkeypatch: pytest.MonkeyPatch
):
    estimates(0.5, 0.1, 0.2, 0.3, 0.2, 0.1)
    summary = train(people, tmp_path / "best", BEST, "train.average=0.5")
    assert summary["kept_epoch"] == 3
    estimates(0.5, 0.1, 0.2, 0.3)
    killed_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        train(people, tmp_path / "cut", "train.average=0.5")
    at_3 = read_tensors(tmp_path / "cut" / "checkpoints" / "epoch-00003.safetensors")[0]
    assert equal(weights(tmp_path / "best"), strip(at_3, "average/"))
    assert not equal(weights(tmp_path / "best"), strip(at_3, "model/"))


def test_training_ends_when_the_estimate_no_longer_rises(people: Path, tmp_path: Path, estimates):
    out = tmp_path / "run"
    estimates(0.9, 0.2, 0.4, 0.4, 0.3, 0.5)
    summary = train(people, out, "trust.patience=2")
    assert summary["epochs"] == 4
    assert summary["trained"] is not None
    (stopped,) = events(out, "stopped")
    assert (stopped["epoch"], stopped["epochs"], stopped["measurements"]) == (4, 5, 2)
    assert stopped["highest_estimate"] == pytest.approx(0.4)


def test_a_resumed_run_goes_on_waiting_and_choosing(
    people: Path, tmp_path: Path, estimates, monkeypatch: pytest.MonkeyPatch
):
    told = (0.9, 0.2, 0.4, 0.4, 0.3, 0.5)
    estimates(*told)
    whole = train(people, tmp_path / "whole", BEST, "trust.patience=2")
    for at, before in ((3, False), (3, True), (4, False)):
        out = tmp_path / f"cut-{at}-{before}"
        estimates(*told)
        with monkeypatch.context() as patched:
            killed_after(patched, at, before=before)
            with pytest.raises(KeyboardInterrupt):
                train(people, out, BEST, "trust.patience=2")
        estimates(*told[at + (not before) :])
        summary = train(people, out, resume=True)
        assert (summary["kept_epoch"], summary["epochs"]) == (whole["kept_epoch"], whole["epochs"]) == (2, 4)
        assert equal(
            *(read_tensors(run / "checkpoints" / "epoch-00004.safetensors")[0] for run in (out, tmp_path / "whole"))
        )
        ours, theirs = ({e["epoch"]: e for e in events(x, "trust")} for x in (out, tmp_path / "whole"))
        assert {k: e["labels_kept"] for k, e in ours.items() if "labels_kept" in e} == {
            k: e["labels_kept"] for k, e in theirs.items() if "labels_kept" in e
        }
        assert [e.get("steady") for e in ours.values()] == [e.get("steady") for e in theirs.values()]


def test_epochs_without_labels_decide_nothing(people: Path, tmp_path: Path, estimates):
    estimates(0.9, 0.8, 0.7, 0.3, 0.2, 0.4)
    summary = train(people, tmp_path / "run", BEST, "train.warmup_epochs=2", "trust.patience=2")
    assert (summary["kept_epoch"], summary["epochs"]) == (5, 5)


def test_the_kept_model_must_be_there_to_go_on(
    people: Path, tmp_path: Path, estimates, monkeypatch: pytest.MonkeyPatch
):
    estimates(0.9, 0.2, 0.4, 0.4)
    with monkeypatch.context() as patched:
        killed_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            train(people, tmp_path / "run", BEST)
    (tmp_path / "run" / BEST_BY_ESTIMATE).unlink()
    with pytest.raises(CheckpointError, match="is missing: it holds the best model of the epochs before 4"):
        train(people, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((BEST, "trust.every=0"), 'trust.keep = "best" goes by the estimate, so trust.every must be 1 or more, got 0'),
        (("trust.patience=3", "trust.every=0"), "trust.patience goes by the estimate"),
        (("trust.patience=5",), "trust.patience = 5 never ends a run of 5 epochs that is measured each 1"),
        (("trust.keep=first",), "trust.keep must be one of last, best, got 'first'"),
        ((BEST, "evaluate.keep_best_on_test_rank1=true"), "both choose the model; set one of them"),
    ],
)
def test_wrong_choices_are_refused(people: Path, tmp_path: Path, settings: tuple[str, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        train(people, tmp_path / "run", *settings)
    assert not (tmp_path / "run").exists()


def test_measuring_draws_nothing_from_the_training(people: Path, tmp_path: Path):
    train(people, tmp_path / "measured", "train.epochs=2")
    train(people, tmp_path / "not", "train.epochs=2", "trust.every=0")
    assert equal(weights(tmp_path / "measured"), weights(tmp_path / "not"))
