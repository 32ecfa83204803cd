"""Run a backbone over images → embeddings (n, d), unit length."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resight.backbones import ReidModel, is_frozen
from resight.data.pixels import PixelSource
from resight.data.transforms import to_float
from resight.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")
OUTPUTS = ("test", "train")


def embed(
    model: ReidModel,
    pixels: PixelSource,
    *,
    batch_size: int = 256,
    precision: str = "float32",
    device: torch.device | str | None = None,
    which: str = "test",
    progress: Callable[[int], object] | None = None,
) -> Float[Tensor, "n d"]:
    """Embed every image with the model in eval mode and the test transform; float32 unit rows on the CPU, in order.

    `which`: "test" is the output before the neck, "train" the one after it. `device`: where to compute; the model is
    moved there (None: where the model is). `precision`: "float32" or "bfloat16" (autocast). `progress` is told the
    number of images of each batch done. No images give no rows. Every module's mode is as before afterwards.

    Raises:
        ConfigError: a batch size below 1, or no such precision or output.
    """
    if device is not None:
        model.to(device)
    rows = torch.empty(len(pixels), model.dim)
    first = 0
    for block in embed_blocks(model, pixels, batch_size=batch_size, precision=precision, which=which):
        rows[first : first + len(block)] = block.cpu()
        first += len(block)
        if progress is not None:
            progress(len(block))
    return rows


def embed_blocks(
    model: ReidModel, pixels: PixelSource, *, batch_size: int = 256, precision: str = "float32", which: str = "test"
) -> Iterator[Float[Tensor, "b d"]]:
    """Embed as `embed` does and give the rows batch by batch, on the model's device, never all of them at once."""
    _check(batch_size, precision, which)
    place = next(model.parameters()).device
    with in_eval_mode(model):
        for index in torch.arange(len(pixels)).split(batch_size) if len(pixels) else ():
            with torch.no_grad(), torch.autocast(place.type, torch.bfloat16, enabled=precision == "bfloat16"):
                images = to_float(pixels.batch(index).to(place, non_blocking=True), model.normalisation)
                block = getattr(model(images), which).float()
            yield block


SETTLE_IMAGES = 2048


@torch.no_grad()
def settle_batchnorm(
    model: ReidModel,
    pixels: PixelSource,
    *,
    batch_size: int = 64,
    precision: str = "float32",
    neck_only: bool = False,
) -> None:
    """Measure BatchNorm's means and variances anew, on the images as the test transform shows them.

    Training leaves those of augmented images (erased, rotated, zoomed), which are not what a test image looks like.
    Up to `SETTLE_IMAGES`, evenly spread, are used, each batch counting alike; weights and modes stay as they are.
    `neck_only`: leave the trunk's statistics as they are.
    """
    part = model.neck if neck_only else model
    norms = [
        m
        for m in part.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)
        and m.track_running_stats
        and not is_frozen(m)  # a frozen stage keeps its statistics too
    ]
    momenta, modes = [m.momentum for m in norms], [m.training for m in norms]
    place = next(model.parameters()).device
    index = torch.arange(len(pixels))[:: max(1, len(pixels) // SETTLE_IMAGES)]
    with in_eval_mode(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
            norm.training = True
        for rows in index.tensor_split(max(1, len(index) // batch_size)):
            images = to_float(pixels.batch(rows).to(place), model.normalisation)
            with torch.autocast(place.type, torch.bfloat16, enabled=precision == "bfloat16"):
                model(images)
    for norm, momentum, mode in zip(norms, momenta, modes, strict=True):
        norm.momentum, norm.training = momentum, mode


def _check(batch_size: int, precision: str, which: str) -> None:
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1 image, got {batch_size}")
    for name, value, choices in (("precision", precision, PRECISIONS), ("which", which, OUTPUTS)):
        if value not in choices:
            raise ConfigError(f"{name} must be one of {', '.join(choices)}, got '{value}'")


@contextlib.contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode for a while; every module's own mode is as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
