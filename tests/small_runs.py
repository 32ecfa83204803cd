"""Drawn data and runs that are small enough for tests."""

from pathlib import Path

import torch

from resight.checkpoint import read_tensors
from resight.data.synthetic import SyntheticConfig, write_synthetic

TINY = (
    "backbone.name=resnet10t",
    "backbone.weights=random",
    "input.size=[64, 32]",
    "train.epochs=1",
    "train.precision=float32",  # "auto" is what is faster at the moment
)

SIZE = {"cameras": 2, "images_per_camera": 2, "height": 64, "width": 32}


def write_people(root: Path) -> Path:
    """Draw 3 people to train on and 2 to test with, each twice in each of 2 cameras."""
    write_synthetic(root, SyntheticConfig(train_identities=3, test_identities=2, **SIZE))
    return root


def train_run(people: Path, out: Path) -> Path:
    """Train for one epoch."""
    from resight.run import TrainRequest, run_training

    run_training(TrainRequest(people, "gsmlp", out, overrides=TINY, device="cpu"), say=lambda text: None)
    return out


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Read a run's model."""
    return read_tensors(run / "model.safetensors")[0]


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Whether every tensor is the same, bit for bit."""
    return all(torch.equal(one[name], two[name]) for name in one)
