"""Changes to run folders that the tests of the gallery's commands make."""

from pathlib import Path

import torch

from resight.artifacts import load_model, save_model
from resight.calibrate import Calibration, fingerprint, save_calibration


def calibrated(model: Path, threshold: float) -> Path:
    """Give the run a calibration with this threshold."""
    digest = fingerprint(model)
    save_calibration(model, Calibration(threshold, 1e-3, -2.0, 3.0, 0.1, "answers", 60, digest, trust="somewhat"))
    return model


def other_model(model: Path) -> None:
    """Put another model into a run folder."""
    network, recipe = load_model(model)
    with torch.no_grad():
        next(network.parameters()).add_(0.1)
    save_model(model / "model.safetensors", network, recipe, "float32")


def one_of(folder: Path) -> Path:
    return sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))[0]
