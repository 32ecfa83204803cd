"""Augmentation of whole batches on the device they are on, and the plain test transform.

All random numbers are drawn first, on the CPU (`draw_augmentation`), and applied afterwards (`augment`), so that every
device sees the same augmentation. Crop, flip and rotation are one bilinear resampling.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from resight.errors import ConfigError, ShapeError

Range = Sequence[float | int]  # (low, high)
TRIES = 10  # rectangles drawn per image; the first that fits is used
LUMA = (0.2989, 0.587, 0.114)  # grey value of a colour, ITU-R BT.601, as torchvision rounds it
OUTSIDE = 3.0  # a normalised coordinate, [-1, 1] being the image, so far out that sampling there gives black


@dataclass(frozen=True)
class Normalisation:
    """What a backbone's weights want: (x − mean) / std for each colour, x on the 0–255 scale."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly to augment; the defaults are the published settings.

    `crop_area`: share of the image; `crop_aspect`: the crop's height/width over the image's own height/width.
    `rotation_degrees`, `brightness`, `contrast`, `saturation`: largest change to either side. `erase_area`: share of
    the image; `erase_aspect`: height/width in pixels. Probabilities are per image.
    A range may be given as a list; it is kept as a tuple.
    """

    crop_area: Range = (0.64, 1.0)
    crop_aspect: Range = (1.0, 1.5)
    flip_probability: float = 0.5
    rotation_degrees: float = 10.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    grayscale_probability: float = 0.0
    erase_probability: float = 0.5
    erase_area: Range = (0.02, 0.2)
    erase_aspect: Range = (0.3, 3.33)

    def __post_init__(self) -> None:
        for name in ("crop_area", "erase_area"):
            self._check_pair(name, most=1.0)
        for name in ("crop_aspect", "erase_aspect"):
            self._check_pair(name, most=math.inf)
        for name in ("flip_probability", "grayscale_probability", "erase_probability"):
            self._check_number(name, most=1.0)
        for name in ("brightness", "contrast", "saturation"):
            self._check_number(name, most=1.0)
        self._check_number("rotation_degrees", most=180.0)

    def _check_pair(self, name: str, *, most: float) -> None:
        value = getattr(self, name)
        pair = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
        if len(pair) != 2 or not all(_is_number(x) for x in pair) or not 0 < pair[0] <= pair[1] <= most:
            limit = f" ≤ {most:g}" if most < math.inf else ""
            raise ConfigError(f"augment.{name} must be two numbers with 0 < low ≤ high{limit}, got {value!r}")
        object.__setattr__(self, name, (float(pair[0]), float(pair[1])))

    def _check_number(self, name: str, *, most: float) -> None:
        value = getattr(self, name)
        if not _is_number(value) or not 0 <= value <= most:
            raise ConfigError(f"augment.{name} must be a number from 0 to {most:g}, got {value!r}")
        object.__setattr__(self, name, float(value))


@dataclass(frozen=True)
class AugmentParams:
    """What was drawn for one batch of images of one `size` (height, width).

    `crop` and `erase`: rectangles (top, left, height, width) in pixels; nothing is erased where the height is 0.
    `angle`: degrees, counter-clockwise. The three factors are as torchvision's ColorJitter: 1 changes nothing.
    `jitter_order`: the order of brightness (0), contrast (1) and saturation (2), one for the batch.
    """

    size: tuple[int, int]
    crop: Int[Tensor, "b 4"]
    flip: Bool[Tensor, " b"]
    angle: Float[Tensor, " b"]
    brightness: Float[Tensor, " b"]
    contrast: Float[Tensor, " b"]
    saturation: Float[Tensor, " b"]
    jitter_order: Int[Tensor, " 3"]
    grayscale: Bool[Tensor, " b"]
    erase: Int[Tensor, "b 4"]

    def __len__(self) -> int:
        return len(self.crop)

    def to(self, device: torch.device) -> "AugmentParams":
        """Give the same parameters on `device`."""
        tensors = {f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self) if f.name != "size"}
        return AugmentParams(size=self.size, **tensors)


def draw_augmentation(
    config: AugmentConfig, batch: int, size: tuple[int, int], generator: torch.Generator
) -> AugmentParams:
    """Draw the augmentation of `batch` images of `size` (height, width) from a CPU `generator`.

    Each call takes the same number of random numbers, whatever the configuration. A crop that fits in none of its
    tries is the whole image; an erased rectangle that fits in none is left out.
    """
    height, width = size

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(batch, generator=generator) * (high - low) + low

    low, high = config.crop_aspect
    aspect = (low * height / width, high * height / width)
    crop, fits = _draw_rectangles(config.crop_area, aspect, batch, size, generator)
    crop = torch.where(fits[:, None], crop, torch.tensor([0, 0, height, width]))
    erase, fits = _draw_rectangles(config.erase_area, config.erase_aspect, batch, size, generator)
    fits &= uniform(0.0, 1.0) < config.erase_probability
    return AugmentParams(
        size=size,
        crop=crop,
        flip=uniform(0.0, 1.0) < config.flip_probability,
        angle=uniform(-config.rotation_degrees, config.rotation_degrees),
        brightness=uniform(1 - config.brightness, 1 + config.brightness),
        contrast=uniform(1 - config.contrast, 1 + config.contrast),
        saturation=uniform(1 - config.saturation, 1 + config.saturation),
        jitter_order=torch.randperm(3, generator=generator),
        grayscale=uniform(0.0, 1.0) < config.grayscale_probability,
        erase=erase * fits[:, None],
    )


def to_float(images: UInt8[Tensor, "b 3 h w"], normalisation: Normalisation) -> Float[Tensor, "b 3 h w"]:
    """Apply the test transform: normalise, nothing else. The result is float32 in channels-last memory."""
    return _normalise(images.contiguous().float(), normalisation).contiguous(memory_format=torch.channels_last)


def augment(
    images: UInt8[Tensor, "b 3 h w"], params: AugmentParams, normalisation: Normalisation
) -> Float[Tensor, "b 3 h w"]:
    """Apply what was drawn: crop, flip, rotate, change colours, normalise, erase.

    A pixel whose place lies outside the crop is black before the colours change; an erased pixel is 0 after the
    normalisation, the mean colour. The result is float32 in channels-last memory, on the device of `images`.

    Raises:
        ShapeError: `params` were drawn for another number or size of images.
    """
    if len(images) != len(params) or tuple(images.shape[2:]) != params.size:
        raise ShapeError(
            f"augmentation drawn for {len(params)} images of {params.size[0]}×{params.size[1]} must meet as many of "
            f"that size, got a batch of shape {tuple(images.shape)}"
        )
    there = params.to(images.device)
    # What to do is read from `params`, which lie on the CPU: no device is waited for. Work is done channel by channel
    # (contiguous), where a factor per image is cheap, and laid out channels-last at the end.
    work = images.contiguous().float()
    if _moves(params):
        work = F.grid_sample(work, _sampling_grid(there), padding_mode="zeros", align_corners=False)
    for operation in params.jitter_order.tolist():
        name, change = JITTER[operation]
        if bool((getattr(params, name) != 1).any()):
            change(work, getattr(there, name)[:, None, None, None])
            work.clamp_(0, 255)
    if bool(params.grayscale.any()):
        work = torch.where(there.grayscale[:, None, None, None], _grey(work), work)
    work = _normalise(work, normalisation)
    if bool(params.erase.any()):
        work.masked_fill_(_inside(there.erase, params.size), 0)
    return work.contiguous(memory_format=torch.channels_last)


def _draw_rectangles(
    area: Range, aspect: Range, batch: int, size: tuple[int, int], generator: torch.Generator
) -> tuple[Int[Tensor, "b 4"], Bool[Tensor, " b"]]:
    """Draw rectangles of a share of the image and a height/width; tell which of them fit into it."""
    height, width = size
    drawn = torch.rand(4, batch, TRIES, generator=generator)
    pixels = (drawn[0] * (area[1] - area[0]) + area[0]) * height * width
    ratio = drawn[1] * (aspect[1] - aspect[0]) + aspect[0]
    tall = (pixels * ratio).sqrt().round().clamp_(min=1)
    wide = (pixels / ratio).sqrt().round().clamp_(min=1)
    fit = (tall <= height) & (wide <= width)
    first = (fit * torch.arange(TRIES, 0, -1)).argmax(1, keepdim=True)
    tall, wide = tall.gather(1, first), wide.gather(1, first)
    # Positions are uniform over all whole pixels; the clamp is for a product rounded up to the next whole number.
    top = torch.minimum((drawn[2].gather(1, first) * (height - tall + 1)).floor(), height - tall)
    left = torch.minimum((drawn[3].gather(1, first) * (width - wide + 1)).floor(), width - wide)
    return torch.cat([top, left, tall, wide], dim=1).long(), fit.any(1)


def _moves(params: AugmentParams) -> bool:
    whole = torch.tensor([0, 0, *params.size])
    return bool((params.crop != whole).any() or params.flip.any() or (params.angle != 0).any())


def _sampling_grid(params: AugmentParams) -> Float[Tensor, "b h w 2"]:
    """Say, for each pixel of the result, where in the image it is sampled, in grid_sample's coordinates."""
    height, width = params.size
    top, left, tall, wide = params.crop.float().T
    angle = torch.deg2rad(params.angle)
    cos, sin = angle.cos(), angle.sin()
    mirror = 1 - 2 * params.flip.float()
    y, x = _pixel_centres(height, cos), _pixel_centres(width, cos)
    # Back through the rotation about the centre, in pixels, then through the flip: (u, v) in the crop, each −1 to 1.
    u = _outer_sum(mirror * cos, x, -mirror * sin * height / width, y)
    v = _outer_sum(sin * width / height, x, cos, y)
    return torch.stack([_from_crop(u, left, wide, width), _from_crop(v, top, tall, height)], dim=-1)


def _pixel_centres(count: int, like: Tensor) -> Float[Tensor, " n"]:
    return (torch.arange(count, device=like.device, dtype=like.dtype) * 2 + 1) / count - 1


def _outer_sum(
    a: Float[Tensor, " b"], x: Float[Tensor, " w"], b: Float[Tensor, " b"], y: Float[Tensor, " h"]
) -> Float[Tensor, "b h w"]:
    return (a[:, None] * x)[:, None, :] + (b[:, None] * y)[:, :, None]


def _from_crop(
    place: Float[Tensor, "b h w"], start: Float[Tensor, " b"], length: Float[Tensor, " b"], full: int
) -> Float[Tensor, "b h w"]:
    """Turn places in the crop into places in the image along one axis; a place beyond the crop becomes `OUTSIDE`."""
    beyond = place.abs() > 1
    # Kept half a pixel from the crop's rim, a sample never mixes in pixels that were cropped away.
    rim = (1 - 1 / length)[:, None, None]
    scale, shift = length / full, (2 * start + length) / full - 1
    place.clamp_(min=-rim, max=rim).mul_(scale[:, None, None]).add_(shift[:, None, None])
    return place.masked_fill_(beyond, OUTSIDE)


def _grey(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    red, green, blue = images.unbind(1)
    return red.mul(LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])[:, None]


def _change_brightness(images: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> None:
    images.mul_(factor)


def _change_contrast(images: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> None:
    mean = _grey(images).mean((1, 2, 3), keepdim=True)
    images.mul_(factor).add_(mean.mul_(1 - factor))


def _change_saturation(images: Float[Tensor, "b 3 h w"], factor: Float[Tensor, "b 1 1 1"]) -> None:
    grey = _grey(images)
    images.mul_(factor).add_(grey.mul_(1 - factor))


JITTER = (("brightness", _change_brightness), ("contrast", _change_contrast), ("saturation", _change_saturation))


def _normalise(images: Float[Tensor, "b 3 h w"], normalisation: Normalisation) -> Float[Tensor, "b 3 h w"]:
    mean = images.new_tensor(normalisation.mean)[:, None, None]
    std = images.new_tensor(normalisation.std)[:, None, None]
    return images.sub_(mean).div_(std)


def _inside(rectangles: Int[Tensor, "b 4"], size: tuple[int, int]) -> Bool[Tensor, "b 1 h w"]:
    top, left, tall, wide = rectangles[:, :, None].unbind(1)
    y = torch.arange(size[0], device=rectangles.device)
    x = torch.arange(size[1], device=rectangles.device)
    rows, columns = (y >= top) & (y < top + tall), (x >= left) & (x < left + wide)
    return (rows[:, None, :, None]) & columns[:, None, None, :]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
