"""Tracklets and moments in whole runs: what they change, what they leave as it is, and that no identity is read."""

import csv
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from resight.checkpoint import read_tensors
from resight.data.formats import read_dataset
from resight.data.synthetic import SyntheticConfig, write_synthetic
from resight.errors import CheckpointError
from resight.run import TrainRequest, run_training
from resight.runlog import read_events

SETTINGS = (
    "backbone.name=resnet10t",
    "backbone.weights=random",
    "input.size=[64, 32]",
    "train.batch_size=16",
    "train.epochs=2",
    "train.precision=float32",
    "miner.by_camera=false",
    "miner.tau=0.3",
    "evaluate.every=0",
)
BATCH, EPOCH = "miner.schedule=batch", "miner.schedule=epoch"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training images: 4 people, each seen 3 times in a row by 2 cameras."""
    root = tmp_path_factory.mktemp("people") / "drawn"
    size = {"cameras": 2, "images_per_camera": 3, "height": 64, "width": 32}
    write_synthetic(root, SyntheticConfig(train_identities=4, test_identities=1, **size))
    return root


def table(people: Path, out: Path, *columns: str, other_pids: bool = False) -> Path:
    """Describe the training images, each passage of a person before a camera as a tracklet, all at the same time."""
    passages = random.Random(3)
    pids = {n: passages.randrange(4) for n in range(100)}
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "pid", "camid", *columns], extrasaction="ignore")
        writer.writeheader()
        for sample in read_dataset(people).train:
            passage = 10 * sample.camid + sample.pid
            pid = pids[passage] if other_pids else sample.pid
            known = {"camid": sample.camid, "tracklet": passage, "timestamp": sample.timestamp % 100}
            writer.writerow({"path": sample.path, "pid": pid, **known})
    return out


def train(data: Path, out: Path, *changes: str, **flags: object) -> tuple[list[dict[str, Any]], list[str]]:
    """Train; gives the log and what was said."""
    said: list[str] = []
    changes = () if flags.get("resume") else (*SETTINGS, *changes)
    run_training(
        TrainRequest(data=data, recipe="gsmlp", out=out, overrides=changes, device="cpu", **flags), say=said.append
    )
    return read_events(out / "log.jsonl"), said


def epochs(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "epoch"]


def same_weights(one: Path, other: Path) -> bool:
    a, b = (read_tensors(run / "model.safetensors")[0] for run in (one, other))
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("schedule", [BATCH, EPOCH])
def test_what_is_known_makes_the_positives_more_precise(people: Path, tmp_path: Path, schedule: str):
    data = table(people, tmp_path / "all.csv", "tracklet", "timestamp")
    plain, _ = train(data, tmp_path / "plain", schedule, "miner.tracklets=false")
    joined, _ = train(data, tmp_path / "joined", schedule)
    parted, said = train(data, tmp_path / "parted", schedule, "miner.same_time=true")
    # The warm-up learns from tracklets: 3 images each, all right, 2 of the 5 others that a person has.
    assert [epochs(log)[0]["positives_per_image"] for log in (plain, joined, parted)] == [1, 3, 3]
    assert (epochs(joined)[0]["precision"], epochs(joined)[0]["recall"]) == (1, 0.4)
    mined = [epochs(log)[1] for log in (plain, joined, parted)]
    assert mined[0]["precision"] < mined[1]["precision"] < mined[2]["precision"]
    assert mined[0]["recall"] < mined[1]["recall"]
    # 4 tracklets a camera, each apart from 3: 2 · 6 pairs of tracklets, 9 pairs of images each.
    assert "tracklets: 8 over 24 images; seen at the same time: 108 pairs kept apart" in said
    start = next(event for event in parted if event["event"] == "start")
    assert start["constraints"] == {"tracklets": 8, "in_tracklets": 24, "pairs_apart": 108}
    assert (start["recipe"]["miner"]["tracklets"], start["recipe"]["miner"]["same_time"]) == (True, True)


def test_data_without_tracklets_train_as_if_there_were_no_such_setting(people: Path, tmp_path: Path):
    data = table(people, tmp_path / "times.csv", "timestamp")  # times alone are not used unless asked for
    default, said = train(data, tmp_path / "default", BATCH)
    off, _ = train(data, tmp_path / "off", BATCH, "miner.tracklets=false")
    assert same_weights(tmp_path / "default", tmp_path / "off")
    assert [e["loss"] for e in epochs(default)] == [e["loss"] for e in epochs(off)]
    assert epochs(default)[0]["positives_per_image"] == 1 and epochs(default)[0]["precision"] is None
    assert not any(text.startswith(("tracklets:", "seen at")) for text in said)
    assert "constraints" not in next(event for event in default if event["event"] == "start")


def test_identities_cannot_reach_the_constraints(people: Path, tmp_path: Path):
    for name, other in (("true", False), ("other", True)):
        data = table(people, tmp_path / f"{name}.csv", "tracklet", "timestamp", other_pids=other)
        train(data, tmp_path / name, EPOCH, "miner.same_time=true")
    assert same_weights(tmp_path / "true", tmp_path / "other")


def test_a_run_is_not_resumed_with_other_tracklets(people: Path, tmp_path: Path):
    data = table(people, tmp_path / "data.csv", "tracklet")
    train(data, tmp_path / "run", EPOCH)
    train(data, tmp_path / "run", resume=True)
    table(people, data)
    with pytest.raises(CheckpointError, match="was trained with other tracklets"):
        train(data, tmp_path / "run", resume=True)
