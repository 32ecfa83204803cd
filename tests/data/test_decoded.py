"""Images that are decoded when they are asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from resight.data.decode import decode, resized
from resight.data.decoded import DecodedOnce, as_batch
from resight.errors import DataError
from resight.types import Crop

SIZE = (6, 4)


def test_a_batch_is_decoded_in_order_and_the_broken_are_zero(tmp_path: Path, picture):
    files = [picture(tmp_path / f"{i}.png", i) for i in range(4)]
    files[2].write_bytes(b"\xff\xd8\xff")
    part = Crop(files[3], (0, 0, 3, 2))
    pixels = DecodedOnce([*files, part], SIZE)
    index = torch.tensor([4, 2, 0, 0])
    images = pixels.batch(index)
    assert images.shape == (4, 3, *SIZE) and images[1].count_nonzero() == 0
    whole = decode(files[0])
    assert images.permute(0, 2, 3, 1)[2].equal(torch.from_numpy(resized(whole, *SIZE).copy()))
    assert images[2].equal(images[3]) and images[0].equal(as_batch([resized(decode(files[3])[:2, :3], *SIZE)])[0])
    assert [place for place, _ in pixels.broken] == [2] and pixels.whole(index).tolist() == [0, 2, 3]


def test_a_folder_that_is_not_there_is_no_folder_of_broken_images():
    with pytest.raises(DataError, match="cannot be read on .*readable under the same path on each machine"):
        DecodedOnce([Path("/nowhere/a.jpg")], SIZE).batch(torch.tensor([0]))


def test_images_lie_side_by_side():
    images = [np.full((6, 4, 3), value, dtype=np.uint8) for value in (1, 2)]
    assert as_batch(images).shape == (2, 3, 6, 4) and as_batch(images)[1].unique().tolist() == [2]
