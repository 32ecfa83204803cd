"""The indicators of `trust` for a model and images: some of them embedded once more, under a drawn augmentation."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.backbones import ReidModel
from resight.data.pixels import Chosen, PixelSource
from resight.data.transforms import AugmentConfig
from resight.embed import embed, in_eval_mode
from resight.refill import embed_augmented
from resight.trust import Indicators, asked, indicators
from resight.trust_lists import Neighbours

VIEWS = AugmentConfig()
"""How views are drawn: one strength for every model, whatever it was trained with, so that all are asked the same."""

MOST_VIEWED = 1000
"""Images that are asked, where there are more: each costs one embedding beyond those of the plain images."""


@torch.no_grad()
def embed_views(
    model: ReidModel,
    pixels: PixelSource,
    index: Int[Tensor, " m"],
    *,
    augmentation: AugmentConfig = VIEWS,
    seed: int = 0,
    batch_size: int = 128,
    precision: str = "float32",
) -> Float[Tensor, "m d"]:
    """Embed the images at `index` in eval mode, each under an augmentation that follows from `seed` and its place.

    The test output, on the CPU, as `embed` gives the plain images. Every module's mode is as before afterwards.
    """
    if not len(index):
        return torch.empty(0, model.dim)
    generator = torch.Generator().manual_seed(seed)
    how: dict[str, Any] = {"batch_size": batch_size, "precision": precision, "which": "test"}
    with in_eval_mode(model):
        return torch.cat(
            [rows.cpu() for rows in embed_augmented(model, Chosen(pixels, index), augmentation, generator, **how)]
        )


def measure(
    model: ReidModel,
    pixels: PixelSource,
    camids: Int[Tensor, " n"],
    *,
    rows: Float[Tensor, "n d"] | None = None,
    earlier: Neighbours | None = None,
    seed: int = 0,
    precision: str = "float32",
) -> tuple[Indicators, Neighbours]:
    """Measure a model on images; `rows` are their plain test embeddings, where they are at hand.

    With one `seed` every model is asked about the same images under the same augmentation. The lists are the `earlier`
    of the next model.
    """
    index = asked(len(pixels), most=MOST_VIEWED, seed=seed)
    plain = embed(model, pixels, precision=precision) if rows is None else rows
    views = embed_views(model, pixels, index, seed=seed, precision=precision)
    return indicators(plain, camids, index, views=views, earlier=earlier)
