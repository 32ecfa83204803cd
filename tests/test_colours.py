"""Colour stripes: L*a*b* of known colours, histograms by hand and by a slow loop, and rows beside the features."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from resight.colours import (
    HISTOGRAMS,
    LIMITS,
    STRIPE_DIM,
    colour_dim,
    colour_stripes,
    embed_colours,
    overlapping,
    soft_histogram,
    to_lab,
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((255, 255, 255), (100, 0, 0)),
        ((119, 119, 119), (50.03, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),  # as in tables of the sRGB primaries
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, ...], lab: tuple[float, ...]):
    image = torch.tensor(rgb, dtype=torch.uint8).view(1, 3, 1, 1)
    assert to_lab(image).flatten().tolist() == pytest.approx(lab, abs=0.05)


def test_a_colour_between_two_bins_counts_to_both():
    # 4 bins of L* 0..100 have their middles at 12.5, 37.5, 62.5, 87.5; 43.75 lies a quarter of the way to the third.
    lab = torch.tensor([43.75, 0.0, 99.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    at, weight = torch.tensor([[[0, 0, 1]]]), torch.tensor([[[1.0, 0.5, 1.0]]])
    counted = soft_histogram(lab, (4, 0, 0), at, weight, 2) / 1024
    assert counted.tolist() == [[0.5, 0.75, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]


def slow_histogram(lab: Tensor, bins: tuple[int, ...], weight: Tensor) -> Tensor:
    """One group's counts, pixel by pixel and bin by bin: a product of triangles about the bins' middles."""
    taking = [channel for channel in range(3) if bins[channel]]
    counted = torch.zeros([bins[channel] for channel in taking], dtype=torch.float64)
    for y, x in itertools.product(range(lab.shape[1]), range(lab.shape[2])):
        shares = []
        for channel in taking:
            low, high = LIMITS[channel]
            width = (high - low) / bins[channel]
            middles = low + width * (torch.arange(bins[channel], dtype=torch.float64) + 0.5)
            value = lab[channel, y, x].double().clamp(middles[0], middles[-1])
            shares.append((1 - (value - middles).abs() / width).clamp_min(0))
        crossed = shares[0]
        for share in shares[1:]:
            crossed = crossed.unsqueeze(-1) * share
        counted += weight[y, x] * crossed
    return counted.flatten()


def test_stripes_are_what_a_slow_loop_counts():
    images = noise(2, 3, 24, 12)
    rows = colour_stripes(images, 3).view(2, 3, STRIPE_DIM)  # 4 parts of 6 rows; stripes of rows 0-11, 6-17, 12-23
    weight = torch.exp(-torch.linspace(-1, 1, 12).square() / 0.5).expand(12, 12)
    for image, row in zip(to_lab(images), rows, strict=True):
        wanted = []
        for first in (0, 6, 12):
            kinds = [slow_histogram(image[:, first : first + 12], bins, weight) for bins in HISTOGRAMS]
            wanted.append(torch.cat([(kind / kind.sum()).sqrt() for kind in kinds]))
        assert torch.allclose(row.double(), normalize(torch.stack(wanted).flatten(), dim=0).view(3, -1), atol=2e-3)


def test_what_changes_above_leaves_the_stripes_below_alone():
    images = noise(1, 3, 64, 32)
    other = images.clone()
    other[:, :, :8] = 255 - other[:, :, :8]
    first, second = (colour_stripes(image, 7).view(7, -1) for image in (images, other))
    assert not torch.allclose(first[0], second[0], atol=1e-2)
    assert torch.allclose(first[1:], second[1:], atol=1e-6)


def test_a_larger_image_gives_the_same_row():
    images = noise(2, 3, 64, 32)
    larger = images.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    assert torch.equal(colour_stripes(images, 7), colour_stripes(larger, 7))


@pytest.mark.parametrize("size", [(128, 64), (64, 64), (32, 64), (16, 100), (1, 1)])
def test_rows_are_unit_whatever_the_batch_and_as_long_as_said(size: tuple[int, int]):
    class Pixels:
        def __len__(self) -> int:
            return 5

        def batch(self, index: Tensor) -> Tensor:
            return noise(5, 3, *size)[index]

    one, whole = (
        torch.cat(list(embed_colours(Pixels(), size=size, device=torch.device("cpu"), batch_size=b))) for b in (2, 5)
    )
    assert torch.equal(one, whole)
    assert one.shape == (5, colour_dim(size))
    assert torch.allclose(one.norm(dim=1), torch.ones(5))


def test_stripes_overlap():
    assert [overlapping(size) for size in ((128, 64), (128, 128), (64, 128), (32, 128))] == [7, 3, 1, 1]
