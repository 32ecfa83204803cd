"""Shared by the data tests: images drawn on the spot."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resight.data import crops
from resight.data.decode import decode


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Write an image of noise drawn from `seed`, in the format of the path's ending, an hour old."""

    def write(path: Path, seed: int = 0, *, height: int = 12, width: int = 8) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        hour_ago = time.time() - 3600
        os.utime(path, (hour_ago, hour_ago))
        return path

    return write


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder for decoded images that is not there yet."""
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which files are really decoded."""
    names: list[str] = []

    def noted(path: Path) -> np.ndarray:
        names.append(path.name)
        return decode(path)

    monkeypatch.setattr(crops, "decode", noted)
    return names
