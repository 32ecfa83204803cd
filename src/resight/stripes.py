"""Stripe features: what the middle layers of a backbone see at each height of the image.

A trunk's last feature says what kind of thing an image shows; middle layers say of what colour and pattern it is, and
where: the coat above, the trousers below. Standardised per camera they find the same one in another camera far more
often than the last feature of a network that never saw the task, and they do not change while the network trains, so
that they hold labels to what can be seen.

Source: horizontal stripes as in PCB (Sun, Zheng, Yang, Tian, Wang, ECCV 2018), here of the start weights and middle
layers.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resight.backbones import ReidModel
from resight.data.pixels import PixelSource
from resight.data.transforms import to_float
from resight.embed import in_eval_mode
from resight.errors import ConfigError

REDUCTIONS = (8, 16)
"""Middle layers: those whose maps are so many times smaller than the image."""


def stripe_count(size: tuple[int, int]) -> int:
    """How many stripes an image of `size` (height, width) is cut in: each a quarter as high as the image is wide."""
    return min(8, max(1, round(4 * size[0] / size[1])))


def embed_stripes(
    model: ReidModel, pixels: PixelSource, *, size: tuple[int, int], precision: str, batch_size: int = 256
) -> Iterator[list[Float[Tensor, "b _"]]]:
    """Give every image's stripe features in eval mode, batch by batch in order, one float32 tensor for each layer.

    Each layer's map is averaged over each stripe; stripes have unit length each, then what a layer gives has.

    Raises:
        ConfigError: the backbone does not give its middle layers.
    """
    layers = middle_layers(model.trunk)
    place = next(model.parameters()).device
    with in_eval_mode(model):
        for index in torch.arange(len(pixels)).split(batch_size):
            with torch.no_grad(), torch.autocast(place.type, torch.bfloat16, enabled=precision == "bfloat16"):
                images = to_float(pixels.batch(index).to(place, non_blocking=True), model.normalisation)
                trunk: Any = model.trunk
                maps = trunk.forward_intermediates(images, indices=layers, intermediates_only=True)
            yield [F.normalize(stripe_means(m.float(), stripe_count(size)), dim=1) for m in maps]


def middle_layers(trunk: Any) -> list[int]:
    """Say which of a trunk's layers are its middle ones; where all have one size (transformers), at ½ and ¾ of it.

    Raises:
        ConfigError: it does not tell.
    """
    info = getattr(trunk, "feature_info", None)
    if not info or not hasattr(trunk, "forward_intermediates"):
        raise ConfigError(
            "miner.stripes needs a backbone that gives its middle layers (timm's forward_intermediates), and "
            f"{type(trunk).__name__} does not; set miner.stripes=[0, 0]"
        )
    reductions = [layer["reduction"] for layer in info]
    if len(set(reductions)) == 1:
        return sorted({len(reductions) // 2, 3 * len(reductions) // 4})
    return [max(at for at, r in enumerate(reductions) if r == wanted) for wanted in REDUCTIONS if wanted in reductions]


def stripe_dim(trunk: Any, size: tuple[int, int]) -> int:
    """How many numbers the stripes of an image of `size` (height, width) have, all layers together."""
    layers = [trunk.feature_info[at] for at in middle_layers(trunk)]
    heights = [-(-size[0] // layer["reduction"]) for layer in layers]
    return sum(
        layer["num_chs"] * min(stripe_count(size), height) for layer, height in zip(layers, heights, strict=True)
    )


def stripe_means(maps: Float[Tensor, "b c h w"], count: int) -> Float[Tensor, "b d"]:
    """Average each stripe of a feature map and join the stripes' unit vectors; no more stripes than rows."""
    stripes = maps.tensor_split(min(count, maps.shape[2]), dim=2)
    return torch.cat([F.normalize(stripe.mean((2, 3)), dim=1) for stripe in stripes], dim=1)
