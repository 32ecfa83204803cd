"""Colour stripes: which colours are seen at each height of an image, as histograms; nothing is learnt for them.

Start weights of another task know little of who somebody is; the colours of a coat above trousers, or of a car, say far
more, in another camera too once they are standardised per camera. They do not change while the network trains, so that
they hold labels to what can be seen.

Source: colour histograms of horizontal stripes as in LOMO (Liao, Hu, Zhu, Li, CVPR 2015), and square roots of them
compared as in Arandjelović and Zisserman (CVPR 2012); here stripes overlap, in CIE L*a*b* and with soft bins.
"""

from collections.abc import Iterator
from itertools import product
from math import prod

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from resight.data.pixels import PixelSource
from resight.stripes import stripe_count

LIMITS = ((0.0, 100.0), (-50.0, 50.0), (-50.0, 50.0))
"""Of L*, a* and b*: the range that is cut in bins; what lies beyond counts to the outermost bin."""

HISTOGRAMS = ((8, 0, 0), (0, 10, 10), (5, 5, 5))
"""Bins of L*, a* and b* in each histogram: lightness alone, colour alone, and both at once; 0: does not take part."""

STRIPE_DIM = sum(prod(filter(None, bins)) for bins in HISTOGRAMS)
"""Numbers of one stripe."""

MIDDLE = 0.5
"""Spread of the weight about the image's middle column, as a share of half its width: what is beside is background."""

LOOKED_AT = 32
"""Pixels across the shorter side that are looked at, at least; of a larger image every second, third, … is."""

UNIT = 1024
"""What a pixel of full weight counts: counts are whole, so that their sum does not hang on the order."""


def colour_dim(size: tuple[int, int]) -> int:
    """How many numbers the colour stripes of an image of `size` (height, width) have."""
    return overlapping(size) * STRIPE_DIM


def overlapping(size: tuple[int, int]) -> int:
    """How many stripes: each covers two of the image's `stripes.stripe_count` parts, and half of the next stripe."""
    return max(1, stripe_count(size) - 1)


def embed_colours(
    pixels: PixelSource, *, size: tuple[int, int], device: torch.device, batch_size: int = 64
) -> Iterator[Float[Tensor, "b d"]]:
    """Give every image's colour stripes, batch by batch in order, as rows of unit length."""
    for index in torch.arange(len(pixels)).split(batch_size):
        yield colour_stripes(pixels.batch(index).to(device, non_blocking=True), overlapping(size))


def colour_stripes(images: UInt8[Tensor, "b 3 h w"], stripes: int) -> Float[Tensor, "b d"]:
    """Give the square roots of colour histograms of `stripes` horizontal stripes, side by side, of unit length.

    Stripes overlap by half. Columns count less the farther from the middle one. A colour between two bins counts to
    both, in proportion. Each histogram sums to 1 before the root is taken.
    """
    step = max(1, min(images.shape[2:]) // LOOKED_AT)
    images = images[:, :, step // 2 :: step, step // 2 :: step]
    count, _, height, width = images.shape
    lab = to_lab(images)
    parts = stripes + 1 if stripes > 1 else 1
    row = torch.arange(height, device=images.device) * parts // height
    at = (torch.arange(count, device=images.device).view(-1, 1, 1) * parts + row.view(1, -1, 1)).expand(-1, -1, width)
    across = torch.linspace(-1, 1, width, device=images.device)
    weight = torch.exp(-across.square() / (2 * MIDDLE**2)).expand(count, height, -1)
    found = []
    for bins in HISTOGRAMS:
        counted = soft_histogram(lab, bins, at, weight, count * parts).view(count, parts, -1)
        both = counted[:, :-1] + counted[:, 1:] if stripes > 1 else counted
        found.append((both / both.sum(dim=2, keepdim=True).clamp_min(1)).sqrt())
    rows = torch.cat(found, dim=2).flatten(1)
    return torch.nn.functional.normalize(rows, dim=1)


def soft_histogram(
    lab: Float[Tensor, "b 3 h w"],
    bins: tuple[int, int, int],
    at: Int[Tensor, "b h w"],
    weight: Float[Tensor, "b h w"],
    groups: int,
) -> Float[Tensor, "g k"]:
    """Count pixels by group (`at`, 0..groups-1) and by bin; the bins of the channels that take part are crossed."""
    taking = [channel for channel in range(3) if bins[channel]]
    total = prod(bins[channel] for channel in taking)
    below, above = [], []
    for channel in taking:
        low, high = LIMITS[channel]
        place = ((lab[:, channel] - low) / (high - low) * bins[channel] - 0.5).clamp(0, bins[channel] - 1)
        below.append(place.floor().clamp_max(bins[channel] - 2))
        above.append(place - below[-1])
    counted = torch.zeros(groups * total, dtype=torch.int32, device=lab.device)
    for corner in product((0, 1), repeat=len(taking)):
        key, share = at, weight * UNIT
        for channel, start, part, side in zip(taking, below, above, corner, strict=True):
            key = key * bins[channel] + start.long() + side
            share = share * (part if side else 1 - part)
        counted.scatter_add_(0, key.flatten(), share.round().int().flatten())
    return counted.view(groups, total).float()


def to_lab(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Turn sRGB into CIE 1976 L*a*b* (L* 0..100), white point D65.

    Source: IEC 61966-2-1 (sRGB) and ISO/CIE 11664-4.
    """
    level = torch.arange(256, device=images.device) / 255
    linear = torch.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)[images.long()]
    to_xyz = torch.tensor(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], device=images.device
    )
    xyz = torch.einsum("ij,bjhw->bihw", to_xyz / to_xyz.sum(dim=1, keepdim=True), linear)
    root = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-6) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
