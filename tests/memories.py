"""Seeded feature memories of every kind that a miner may meet.

Rows of `exact` kinds have entries 0, ±½ and ±1, so that all their products, sums of products and squared distances are
exact in float32 too: equal similarities are equal in every way of computing them, and the order of ties is tested.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize


def clustered(images: int, dim: int, clusters: int, spread: float, seed: int) -> Tensor:
    """Unit rows around random centres, float32."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(clusters, dim, generator=generator)
    of = torch.randint(clusters, (images,), generator=generator)
    rows = centres[of] + spread * torch.randn(images, dim, generator=generator)
    return normalize(rows, dim=1)


def on_circle(*degrees: float) -> Tensor:
    """Unit rows in the plane: the similarity of two is the cosine of the angle between them."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def drawn(generator: Generator, low: int, high: int) -> int:
    """A whole number from low to high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def exact_rows(images: int, dim: int, generator: Generator) -> Tensor:
    """Unit rows of four entries ±½ or one entry ±1; float32. `dim` is 4 or more."""
    rows = torch.zeros(images, dim)
    for row in rows:
        places = torch.randperm(dim, generator=generator)
        signs = torch.randint(2, (4,), generator=generator) * 2.0 - 1
        if drawn(generator, 0, 3):
            row[places[:4]] = signs / 2
        else:
            row[places[0]] = signs[0]
    return rows


def random_clusters(images: int, seed: int, generator: Generator) -> Tensor:
    """Clusters, some tight and some loose, no ties; float64."""
    dim = drawn(generator, 2, 24)
    return normalize(clustered(images, dim, 5, [0.2, 0.5, 1.0][seed % 3], seed).double(), dim=1)


def partly_written(images: int, seed: int, generator: Generator) -> Tensor:
    """Clusters in which every fifth row or so is zero: not written yet."""
    rows = random_clusters(images, seed, generator)
    rows[torch.rand(images, generator=generator) < 0.2] = 0
    return rows


def thinning(images: int, seed: int, generator: Generator) -> Tensor:
    """On a circle, crowded at one end and thin at the other: an image's neighbours have many nearer ones; float64."""
    return on_circle(*(150 * torch.rand(images, generator=generator, dtype=torch.float64) ** 3).tolist())


def tied(images: int, seed: int, generator: Generator) -> Tensor:
    """Exact rows, in few dimensions: almost all similarities are tied."""
    rows = exact_rows(images, drawn(generator, 4, 8), generator)
    return rows if seed % 2 else rows.double()


def duplicated(images: int, seed: int, generator: Generator) -> Tensor:
    """Few distinct exact rows, each there several times, some zero."""
    rows = exact_rows(max(1, images // 4), drawn(generator, 4, 16), generator)
    rows[torch.rand(len(rows), generator=generator) < 0.1] = 0
    return rows[torch.randint(len(rows), (images,), generator=generator)]


def antipodal(images: int, seed: int, generator: Generator) -> Tensor:
    """Exact rows and their opposites: as many similarities below zero as above."""
    rows = exact_rows((images + 1) // 2, drawn(generator, 4, 10), generator)
    return torch.cat([rows, -rows])[:images]


def identical(images: int, seed: int, generator: Generator) -> Tensor:
    """One exact row, again and again."""
    return exact_rows(1, drawn(generator, 4, 10), generator).repeat(images, 1)


def orthogonal(images: int, seed: int, generator: Generator) -> Tensor:
    """No image resembles any other: k_i is 1 for all."""
    return torch.eye(images)[torch.randperm(images, generator=generator)]


def unwritten(images: int, seed: int, generator: Generator) -> Tensor:
    """Zero rows only."""
    return torch.zeros(images, 4)


KINDS: dict[str, Callable[[int, int, Generator], Tensor]] = {
    kind.__name__: kind
    for kind in (
        random_clusters, partly_written, thinning, tied, duplicated, antipodal, identical, orthogonal, unwritten
    )
}  # fmt: skip
