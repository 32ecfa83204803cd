"""Embedding augmented images: for the memory's refill as published (docs/published_quirks.md), or as views."""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.backbones import ReidModel
from resight.data.pixels import PixelSource
from resight.data.transforms import AugmentConfig, augment, draw_augmentation


def embed_augmented(
    model: ReidModel,
    pixels: PixelSource,
    augmentation: AugmentConfig,
    generator: torch.Generator,
    *,
    batch_size: int,
    precision: str = "float32",
    which: Literal["train", "test"] = "train",
) -> Iterator[Float[Tensor, "b d"]]:
    """Embed every image, augmented, in the modes that the model's parts are in; float32 unit rows, batch by batch.

    `which`: the model's output. In train mode BatchNorm uses each batch's own statistics and changes its running ones.
    Images come in plain order.
    """
    device = next(model.parameters()).device
    for index in plain_batches(len(pixels), batch_size):
        raw = pixels.batch(index)
        height, width = raw.shape[2:]
        params = draw_augmentation(augmentation, len(index), (height, width), generator)
        images = augment(raw.to(device, non_blocking=True), params, model.normalisation)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            embeddings = getattr(model(images), which)
        yield embeddings.float()


def plain_batches(images: int, batch_size: int) -> list[Int[Tensor, " _"]]:
    """Give every index once, in order; a last batch of one image, which BatchNorm cannot take, joins the one before."""
    batches = list(torch.arange(images).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
