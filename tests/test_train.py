"""One whole small run, and the promises around it: labels never leak, a killed run resumes bit for bit."""

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resight.artifacts import load_model
from resight.checkpoint import checkpoints, read_tensors
from resight.data.synthetic import SyntheticConfig, write_synthetic
from resight.errors import CheckpointError, ConfigError, DataError
from resight.run import TrainRequest, run_training
from resight.runlog import read_events
from resight.train import drop_dead_weights

SMALL = (
    "backbone.name=resnet10t",
    "backbone.weights=random",
    "input.size=[64, 32]",
    "train.epochs=3",
    "train.batch_size=16",
    "train.precision=float32",
    "evaluate.every=1",
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training images of 4 people, 2 cameras; 2 people to test on."""
    root = tmp_path_factory.mktemp("people")
    config = SyntheticConfig(train_identities=4, test_identities=3, cameras=2, images_per_camera=3, height=64, width=32)
    write_synthetic(root, config)
    return root


def request(data: Path, out: Path, *overrides: str, **flags: object) -> TrainRequest:
    return TrainRequest(data=data, recipe="gsmlp", out=out, overrides=(*SMALL, *overrides), device="cpu", **flags)


def quiet(text: str) -> None:
    del text


def train(data: Path, out: Path, *overrides: str, **flags: object) -> dict:
    return run_training(request(data, out, *overrides, **flags), say=quiet)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "model.safetensors")[0]


def test_a_run_leaves_what_it_promises(people: Path, tmp_path: Path):
    summary = train(people, tmp_path / "run")
    figures = {"mAP", "mAP_trapezoid", "mINP", "cmc", "intervals_95", "queries", "left_out", "protocol"}
    assert set(summary["untrained"]) == figures
    assert set(summary["trained"]["cmc"]) == {"1", "5", "10", "20"}
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    events = read_events(tmp_path / "run" / "log.jsonl")
    assert [e["epoch"] for e in events if e["event"] == "evaluation"] == [0, 1, 2, 3]
    epochs = [e for e in events if e["event"] == "epoch"]
    assert next(e["precision"] for e in epochs) is None  # the warm-up mines nothing
    assert all(0 <= e["recall"] <= 1 for e in epochs)
    assert (tmp_path / "run" / "tensorboard").is_dir()
    model, recipe = load_model(tmp_path / "run")
    assert recipe.input.size == (64, 32)
    assert not model.training


@pytest.mark.parametrize("schedule", ["batch", "epoch"])
def test_identities_cannot_reach_the_training(people: Path, tmp_path: Path, schedule: str):
    changes = ("miner.by_camera=false", f"miner.schedule={schedule}", "miner.tau=0.3")
    train(people, tmp_path / "true", *changes)
    shuffled = tmp_path / "shuffled"
    shutil.copytree(people, shuffled)
    files = sorted((shuffled / "bounding_box_train").glob("*.jpg"))
    pids = [f.name[:4] for f in files]
    random.Random(3).shuffle(pids)
    # Position in the sorted list must stay, so the whole data set is described by a manifest with other identities.
    lines = [f"{f},{pid},{f.name.split('_c')[1][0]},train" for f, pid in zip(files, pids, strict=True)]
    (shuffled / "manifest.csv").write_text("path,pid,camid,split\n" + "\n".join(lines) + "\n")
    train(shuffled / "manifest.csv", tmp_path / "false", *changes)
    true, false = weights(tmp_path / "true"), weights(tmp_path / "false")
    assert all(torch.equal(true[name], false[name]) for name in true)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(people: Path, tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(people, tmp_path / name, f"train.seed={seed}", "train.epochs=1")
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


@pytest.mark.parametrize("recipe", ["mmcl", "ssml"])
@pytest.mark.parametrize("schedule", ["batch", "epoch"])
def test_every_recipe_runs_with_both_schedules(people: Path, tmp_path: Path, recipe: str, schedule: str):
    by_camera = "miner.by_camera=" + str(schedule == "epoch").lower()
    wanted = request(people, tmp_path / "run", "miner.tau=0.3", f"miner.schedule={schedule}", by_camera)
    run_training(dataclasses.replace(wanted, recipe=recipe), say=quiet)
    mined = [e["positives_per_image"] for e in read_events(tmp_path / "run/log.jsonl") if e["event"] == "epoch"]
    assert mined[0] == 1 and mined[-1] > 1


@pytest.mark.parametrize("schedule", ["batch", "epoch"])
def test_a_memory_on_disk_trains_to_the_same_weights(people: Path, tmp_path: Path, schedule: str):
    by_camera = "miner.by_camera=" + str(schedule == "epoch").lower()
    for place in ("ram", "disk"):
        train(people, tmp_path / place, f"miner.schedule={schedule}", by_camera, memory=place)
    one, other = weights(tmp_path / "ram"), weights(tmp_path / "disk")
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one if one[name].is_floating_point())


def test_where_the_memory_goes_is_said_before_the_start(people: Path, tmp_path: Path):
    said: list[str] = []
    run_training(request(people, tmp_path / "run", "train.epochs=1", memory="disk"), say=said.append)
    assert any(text.startswith("feature memory: 24 x 512 on disk") and "to work on it; free:" in text for text in said)


def test_long_mining_is_heard_of(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("resight.mining.MINING_EVERY", -1)
    monkeypatch.setattr("resight.memory.PRODUCT_BYTES", 10 * 24 * 4)  # ten rows at a time
    train(people, tmp_path / "run", "train.epochs=2", "miner.name=mplp")
    told = [
        (e["epoch"], e["done"], e["total"]) for e in read_events(tmp_path / "run/log.jsonl") if e["event"] == "mining"
    ]
    # the first epoch is the warm-up; in the second 24 rows are listed, then mined
    assert told == [(2, done, 48) for done in (10, 20, 24, 34, 44, 48)]


def test_frozen_stages_keep_their_weights_and_statistics(people: Path, tmp_path: Path):
    train(people, tmp_path / "one", "train.epochs=1", "backbone.frozen_stages=2", "train.freeze_batchnorm=false")
    train(people, tmp_path / "two", "train.epochs=2", "backbone.frozen_stages=2", "train.freeze_batchnorm=false")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    same = {name for name in one if name.startswith("trunk.") and torch.equal(one[name], two[name])}
    assert {"trunk.layer1.0.conv1.weight", "trunk.layer2.0.conv1.weight", "trunk.layer2.0.bn1.running_mean"} <= same
    assert not any(name.startswith(("trunk.layer3", "trunk.layer4")) and name.endswith("conv1.weight") for name in same)


SIGNALLED = """
import os, signal, sys
from resight import cli, train

name, at, *sys.argv = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started with Ctrl-C ignored
shown, prefetched = [], train.prefetched

def signalled(*given, **more):
    for batch in prefetched(*given, **more):
        shown.append(batch)
        if len(shown) == int(at):
            os.kill(os.getpid(), signal.Signals[name])
        yield batch

train.prefetched = signalled
cli.main()
"""
"""The command, to which a signal comes with the batch that is the given one of the whole run."""


def signalled(name: str, at: int, *words: object) -> subprocess.CompletedProcess[str]:
    return command(sys.executable, "-c", SIGNALLED, name, at, "resight", *words)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True, check=False)


def words_for(data: Path, out: Path, *settings: str) -> list[object]:
    changes = [word for change in (*SMALL, *settings) for word in ("--set", change)]
    return ["train", data, "--recipe", "gsmlp", "--device", "cpu", "--out", out, *changes]


def test_a_run_killed_in_the_middle_of_an_epoch_resumes_bit_for_bit(people: Path, tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = ("train.epochs=6", "train.batch_size=4", "miner.tau=0.3")
    resight = (sys.executable, "-m", "resight.cli")
    done = command(*resight, *words_for(people, whole, *settings))
    assert done.returncode == 0, done.stderr
    # 24 images are 6 batches an epoch: the 21st is the third of the fourth epoch.
    done = signalled("SIGKILL", 21, *words_for(people, killed, *settings))
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = [path.stem for path in checkpoints(killed / "checkpoints")]
    assert left == ["epoch-00002", "epoch-00003"]
    done = command(*resight, "train", people, "--device", "cpu", "--out", killed, "--resume")
    assert done.returncode == 0, done.stderr
    one, two = weights(whole), weights(killed)
    assert all(torch.equal(one[name], two[name]) for name in one)
    one, _ = read_tensors(whole / "checkpoints" / "epoch-00006.safetensors")
    two, _ = read_tensors(killed / "checkpoints" / "epoch-00006.safetensors")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_ctrl_c_says_how_to_go_on(people: Path, tmp_path: Path):
    done = signalled("SIGINT", 9, *words_for(people, tmp_path / "run", "train.batch_size=4"))
    assert done.returncode == 130, done.stderr
    assert "--resume" in done.stderr and "Traceback" not in done.stderr
    assert [e["event"] for e in read_events(tmp_path / "run" / "log.jsonl")][-1] == "interrupted"


def test_an_existing_run_is_neither_lost_nor_mixed_up(people: Path, tmp_path: Path):
    out = tmp_path / "run"
    train(people, out, "train.epochs=1")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match="exists already; go on with it by --resume, replace it by --overwrite"):
        train(people, out)
    with pytest.raises(ConfigError, match="so it takes no --set"):
        train(people, out, resume=True)
    with pytest.raises(ConfigError, match="exclude each other"):
        train(people, out, resume=True, overwrite=True)
    with pytest.raises(ConfigError, match="miner.tau"):
        train(people, out, "miner.tau=60", overwrite=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    (out / "my-notes.txt").write_text("keep me")
    train(people, out, "train.epochs=2", overwrite=True)
    assert (out / "my-notes.txt").read_text() == "keep me"
    assert json.loads((out / "summary.json").read_text())["epochs"] == 2


def test_resuming_with_other_images_is_refused(people: Path, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(people, data)
    train(data, tmp_path / "run", "train.epochs=1")
    next(iter(sorted((data / "bounding_box_train").glob("*.jpg")))).unlink()
    again = TrainRequest(data=data, recipe="gsmlp", out=tmp_path / "run", device="cpu", resume=True)
    with pytest.raises(CheckpointError, match="was trained on other images"):
        run_training(again, say=quiet)


def test_resuming_with_other_cameras_is_refused(people: Path, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(people, data)
    train(data, tmp_path / "run", "train.epochs=1")
    last = max((data / "bounding_box_train").glob("*.jpg"))  # stays the last one under its new camera
    last.rename(last.with_name(re.sub(r"_c\d", "_c9", last.name)))
    again = TrainRequest(data=data, recipe="gsmlp", out=tmp_path / "run", device="cpu", resume=True)
    with pytest.raises(CheckpointError, match="was trained with other cameras than the data now give their images"):
        run_training(again, say=quiet)


def test_a_truncated_checkpoint_stops_a_resume_and_names_the_one_before(people: Path, tmp_path: Path):
    train(people, tmp_path / "run")
    path = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    path.write_bytes(path.read_bytes()[:-100])
    again = TrainRequest(data=people, recipe="gsmlp", out=tmp_path / "run", device="cpu", resume=True)
    with pytest.raises(CheckpointError, match="goes on from epoch-00002"):
        run_training(again, say=quiet)
    path.unlink()
    run_training(again, say=quiet)


def test_a_run_killed_before_its_last_score_is_scored_when_resumed(people: Path, tmp_path: Path):
    out = tmp_path / "run"
    summary = train(people, out, "train.epochs=2")
    log = (out / "log.jsonl").read_text().splitlines(keepends=True)
    after_last_checkpoint = next(i for i, line in enumerate(log) if '"evaluation"' in line and '"epoch": 2' in line)
    (out / "log.jsonl").write_text("".join(log[:after_last_checkpoint]))
    (out / "summary.json").unlink()
    again = TrainRequest(data=people, recipe="gsmlp", out=out, device="cpu", resume=True)
    assert run_training(again, say=quiet)["trained"] == summary["trained"]


def test_a_leak_is_refused_unless_asked_for(people: Path, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(people, data)
    query = sorted((data / "query").glob("*.jpg"))[0]
    shutil.copy(query, data / "bounding_box_train" / "9000_c1s1_000001_00.jpg")
    with pytest.raises(DataError, match="--allow-leak"):
        train(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(data, tmp_path / "run", "train.epochs=1", allow_leak=True)


def test_broken_images_stop_the_run_unless_they_may_be_left_out(people: Path, tmp_path: Path):
    folder = tmp_path / "crops"
    shutil.copytree(people / "bounding_box_train", folder)
    for i in range(3):
        (folder / f"broken{i}.jpg").write_bytes(b"\xff\xd8 not an image")
    with pytest.raises(DataError, match=r"3 of 27 images .*--skip-broken"):
        train(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    summary = train(folder, tmp_path / "run", "train.epochs=1", skip_broken=True)
    assert summary["data"]["train"] == 24
    assert "trained" not in summary  # a plain folder has no identities to evaluate with


def test_weights_next_to_zero_become_zero():
    layer = torch.nn.Linear(3, 2)
    frozen = torch.nn.Parameter(torch.tensor([1e-40, 1.0]), requires_grad=False)
    layer.register_parameter("frozen", frozen)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1e-40, -1e-13, 1e-11], [0.5, -1e-39, 0.0]]))
    drop_dead_weights(layer)
    assert layer.weight.tolist() == [[0.0, 0.0, pytest.approx(1e-11)], [0.5, 0.0, 0.0]]
    assert frozen[0] > 0


def test_a_run_leaves_no_denormal_weight_behind(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Weights are driven to where they decay: at a threshold of 1e-3 each epoch clears what is below."""
    monkeypatch.setattr("resight.train.DEAD", 1e-3)
    train(people, tmp_path / "run", "train.epochs=1")
    convolutions = [tensor for name, tensor in weights(tmp_path / "run").items() if name.endswith("conv1.weight")]
    assert convolutions
    assert all(((tensor == 0) | (tensor.abs() >= 1e-3)).all() for tensor in convolutions)
    assert any((tensor == 0).any() for tensor in convolutions)
