"""A few images to compare a model with its copies on: of the run's own data, or drawn."""

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from resight.audit_plan import data_of
from resight.data.decode import resized
from resight.data.decoded import DecodedOnce, as_batch
from resight.data.formats import read_dataset
from resight.data.synthetic import SyntheticConfig, draw_crop
from resight.errors import DataError

COUNT = 16


def images_of(run: Path, size: tuple[int, int], count: int = COUNT) -> tuple[UInt8[Tensor, "b 3 h w"], str]:
    """Give images of the data that a run was trained on, and what they are in words; drawn ones where they are gone."""
    try:
        root, format = data_of(run)
        splits = [split for split in read_dataset(root, format).splits if len(split)]
        pictures = [picture for split in splits for picture in split.pictures]
        spread = pictures[:: max(1, len(pictures) // count)][:count]
        pixels, index = DecodedOnce(spread, size), torch.arange(len(spread))
        images = pixels.batch(index)
        whole = images[pixels.whole(index)]
    except DataError:
        return drawn_images(size, count), f"{count} drawn images"
    if len(whole) < 2:
        return drawn_images(size, count), f"{count} drawn images"
    return whole, f"{len(whole)} images of {root}"


def drawn_images(size: tuple[int, int], count: int = COUNT) -> UInt8[Tensor, "b 3 h w"]:
    """Draw people and vehicles by turns, each once, always the same ones."""
    people, vehicles = SyntheticConfig("people"), SyntheticConfig("vehicles", width=128)
    files = [draw_crop(vehicles if i % 2 else people, pid=1 + i, camera=i % 3, view=0) for i in range(count)]
    images = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    return as_batch([resized(image, *size) for image in images])
