"""Small graphs, drawn constraints and a slow linkage for the tests of groups."""

import itertools

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resight.clustering import Graph
from resight.groups.links import Links
from resight.sparse_rows import SparseRows, starts


def graph_of(distance: np.ndarray, reach: float = 0.95) -> Graph:
    """A graph of all pairs at most `reach` apart."""
    row, column = (distance <= reach).nonzero()
    values = distance[row, column].astype(np.float32)
    offsets = starts(np.bincount(row, minlength=len(distance)))
    return Graph(SparseRows(offsets, column.astype(np.int32), values, len(distance)), reach)


def matrix(n: int, pairs: dict[tuple[int, int], float]) -> np.ndarray:
    """Distances of 1 but for some pairs."""
    distance = np.ones((n, n))
    for (one, other), value in pairs.items():
        distance[one, other] = distance[other, one] = value
    np.fill_diagonal(distance, 0)
    return distance


def drawn(seed: int, n: int) -> np.ndarray:
    """Symmetric distances without ties; many pairs at 1."""
    generator = np.random.default_rng(seed)
    distance = generator.uniform(0.05, 1.6, (n, n)).clip(max=1)
    distance = np.minimum(distance, distance.T)
    np.fill_diagonal(distance, 0)
    return distance


def slow_linkage(
    distance: np.ndarray, eps: float, links: Links, camids: list[int] | None = None, reach: float = 0.95
) -> list[set[int]]:
    """Merge the two most similar sets that may be merged, one pair after the other, straight from the definition."""
    similarity = np.where(distance <= reach, 1.0 - distance.astype(np.float32).astype(float), 0.0)
    sets = [set(np.flatnonzero(links.together == part).tolist()) for part in range(links.parts)]
    apart = {frozenset(pair) for pair in links.apart.tolist()}

    def may(one: set[int], other: set[int]) -> bool:
        a, b = ({int(links.together[crop]) for crop in crops} for crops in (one, other))
        if any(links.fixed[part] for part in a) and any(links.fixed[part] for part in b):
            return False
        if any(frozenset((x, y)) in apart for x in a for y in b):
            return False
        return camids is None or not {camids[crop] for crop in one} & {camids[crop] for crop in other}

    while True:
        best, found = 1.0 - float(np.float32(eps)) - 1e-7, None
        for one, other in itertools.combinations(sets, 2):
            if may(one, other):
                mean = np.mean([similarity[x, y] for x in one for y in other])
                if mean >= best:
                    best, found = mean, (one, other)
        if found is None:
            return sets
        sets = [part for part in sets if part not in found] + [found[0] | found[1]]


def as_sets(cluster: np.ndarray) -> list[set[int]]:
    """The clusters as sets of crops, in order."""
    found = [set(np.flatnonzero(cluster == number).tolist()) for number in np.unique(cluster)]
    return sorted(found, key=min)


def people(identities: int, images: int, dim: int = 32, *, spread: float = 0.25, seed: int = 0) -> Float[Tensor, "n d"]:
    """Unit rows: `images` of each identity one after the other, around a centre of its own."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(identities, dim, generator=generator), dim=1)
    rows = (
        centres.repeat_interleave(images, dim=0)
        + spread * torch.randn(identities * images, dim, generator=generator) / dim**0.5
    )
    return torch.nn.functional.normalize(rows, dim=1)
