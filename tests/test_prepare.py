"""The network's input size from the images' shapes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from resight.config import InputConfig
from resight.prepare import input_size
from resight.types import Sample


def samples(folder: Path, shapes: Sequence[tuple[int, int]]) -> list[Sample]:
    """Write an image of each (height, width)."""
    found = []
    for number, (height, width) in enumerate(shapes):
        path = folder / f"{number}.png"
        Image.new("RGB", (width, height)).save(path)
        found.append(Sample(path))
    return found


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ([(40, 20)] * 8, (64, 32)),
        ([(20, 40)] * 8, (32, 64)),
        ([(20, 20)] * 8, (64, 64)),
        ([(40, 20)] * 5 + [(20, 22)] * 3, (64, 64)),  # tall ones lead, but it is a mixture
        ([(40, 20)] * 7 + [(20, 22)], (64, 32)),
        ([(40, 20)], (64, 32)),
        ([], (64, 64)),
    ],
)
def test_size_follows_the_shape_of_nearly_all(tmp_path: Path, shapes: list[tuple[int, int]], size: tuple[int, int]):
    assert input_size(InputConfig(long_side=64), samples(tmp_path, shapes)) == size


def test_unreadable_images_do_not_count(tmp_path: Path):
    found = samples(tmp_path, [(40, 20)] * 3)
    found[0].path.write_bytes(b"no image")
    assert input_size(InputConfig(long_side=64), found) == (64, 32)
