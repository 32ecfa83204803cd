"""Whole runs with CamStyle images: shown in training, remembered by --resume, never part of memory or scores."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resight.checkpoint import checkpoints, read_tensors
from resight.errors import CheckpointError, ConfigError, DataError
from resight.run import TrainRequest, run_training
from resight.runlog import read_events
from small_runs import equal, weights, write_people

SMALL = (
    "backbone.name=resnet10t",
    "backbone.weights=random",
    "input.size=[64, 32]",
    "train.epochs=3",
    "train.batch_size=8",
    "train.precision=float32",
    "memory.refill_every=1",
)
CAMSTYLE = "bounding_box_train_camstyle"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """12 training images of 2 cameras, each with the other camera's style: its negative."""
    root = write_people(tmp_path / "people")
    (root / CAMSTYLE).mkdir()
    for file in sorted((root / "bounding_box_train").glob("*.jpg")):
        own = int(file.name.split("_c")[1][0])
        negative = 255 - np.asarray(Image.open(file).convert("RGB"))
        Image.fromarray(negative).save(root / CAMSTYLE / f"{file.stem}_fake_{own}to{3 - own}.jpg")
    return root


def train(data: Path, out: Path, *overrides: str, said: list[str] | None = None, **flags) -> dict:
    changes = () if flags.get("resume") else (*SMALL, *overrides)
    request = TrainRequest(data, "gsmlp", out, overrides=changes, device="cpu", **flags)
    return run_training(request, say=(said if said is not None else []).append)


def stop_after(run: Path, epoch: int) -> None:
    """Leave of a finished run what one killed after `epoch` leaves."""
    for path in checkpoints(run / "checkpoints"):
        if path.stem > f"epoch-{epoch:05d}":
            path.unlink()
    (run / "model.safetensors").unlink()


def test_styles_are_used_where_asked_for_and_only_mentioned_elsewhere(people: Path, tmp_path: Path):
    said: list[str] = []
    train(people, tmp_path / "plain", said=said)
    assert sum(CAMSTYLE in line and "are not used; to use them: --camstyle" in line for line in said) == 1
    shutil.move(people / CAMSTYLE, tmp_path / "styles")
    said.clear()
    train(people, tmp_path / "without", said=said)
    assert not any("CamStyle" in line for line in said)
    assert equal(weights(tmp_path / "plain"), weights(tmp_path / "without"))

    summary = train(people, tmp_path / "styled", camstyle=tmp_path / "styles", said=said)
    assert any("12 images of 2 cameras' styles for 12 of 12 training images" in line for line in said)
    assert not equal(weights(tmp_path / "plain"), weights(tmp_path / "styled"))
    start = read_events(tmp_path / "styled" / "log.jsonl")[0]
    assert start["camstyle"] == summary["camstyle"]
    assert (start["camstyle"]["folder"], start["camstyle"]["images"]) == (str(tmp_path / "styles"), 12)
    assert start["data"]["train"] == 12
    memory = read_tensors(checkpoints(tmp_path / "styled" / "checkpoints")[-1])[0]["memory"]
    assert len(memory) == 12
    assert json.loads((tmp_path / "styled" / "summary.json").read_text()) == summary
    assert "camstyle" not in read_events(tmp_path / "plain" / "log.jsonl")[0]


def test_a_resumed_run_finds_its_styles_and_equals_one_that_was_not_stopped(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(people)
    train(people, tmp_path / "whole", camstyle=Path(CAMSTYLE))
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    stop_after(tmp_path / "stopped", 2)
    monkeypatch.chdir(tmp_path)
    train(people, tmp_path / "stopped", resume=True)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))

    shutil.copytree(people / CAMSTYLE, tmp_path / "moved")
    stop_after(tmp_path / "stopped", 2)
    train(people, tmp_path / "stopped", resume=True, camstyle=tmp_path / "moved")
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_a_run_is_not_resumed_with_other_styles(people: Path, tmp_path: Path):
    train(people, tmp_path / "run", "train.epochs=1", camstyle=people / CAMSTYLE)
    train(people, tmp_path / "plain", "train.epochs=1")
    with pytest.raises(ConfigError, match="began without CamStyle images"):
        train(people, tmp_path / "plain", resume=True, camstyle=people / CAMSTYLE)
    first = min((people / CAMSTYLE).glob("*.jpg"))
    first.unlink()
    with pytest.raises(CheckpointError, match=r"trained with other CamStyle images .* --camstyle"):
        train(people, tmp_path / "run", resume=True)
    shutil.rmtree(people / CAMSTYLE)
    with pytest.raises(DataError, match="must be a folder of CamStyle images"):
        train(people, tmp_path / "run", resume=True)


def test_wrong_styles_are_found_before_the_run_folder_is_made(people: Path, tmp_path: Path):
    query = min((people / "query").glob("*.jpg"))
    style = min((people / CAMSTYLE).glob("*.jpg"))
    kept = style.read_bytes()
    shutil.copy(query, style)
    with pytest.raises(DataError, match="no CamStyle image may be in query or gallery too, but 1"):
        train(people, tmp_path / "run", camstyle=people / CAMSTYLE)
    style.write_bytes(kept[:100])
    with pytest.raises(DataError, match="1 of 12 CamStyle images cannot be decoded"):
        train(people, tmp_path / "run", camstyle=people / CAMSTYLE)
    assert not (tmp_path / "run").exists()
    train(people, tmp_path / "run", "train.epochs=1", camstyle=people / CAMSTYLE, skip_broken=True)
