"""Average linkage on a sparse graph: clusters whose members are alike on average, so that no chain joins two groups.

A pair that the graph does not hold counts with similarity 0, so that nothing of the size N × N is needed: the mean
similarity of two clusters is the sum over the edges between them, divided by the product of their sizes.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64, UInt64
from torch import Tensor

from resight.clustering import OUTLIER, Graph, check_eps, check_samples, numbered
from resight.sparse_rows import starts

MEAN_REACH = 0.95
"""How far a graph should reach for average linkage: what is left out would change a mean by 0.05 at most."""

ROUNDING = 1e-7
"""By how much a mean of float32 distances may be off."""

Ints = Int64[np.ndarray, " e"]
Sums = Float64[np.ndarray, " e"]

Pairs = tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]

EdgeSums = tuple[Int64[np.ndarray, " u"], Int64[np.ndarray, " u"], Float64[np.ndarray, " u"]]


def average_linkage(
    graph: Graph, eps: float, min_samples: int = 2, *, camids: Int[Tensor, " n"] | None = None
) -> Int[Tensor, " n"]:
    """Merge the two most similar clusters until none are `eps` or less apart on average.

    The similarity of two images is 1 − their distance, and 0 where the graph does not hold the pair: the graph should
    reach about `MEAN_REACH`. Of equally similar pairs the one of the lowest images goes first.
    Clusters that are each other's nearest are merged at once in rounds, which for average linkage gives what one merge
    after the other gives.

    Args:
        min_samples: images of the smallest cluster; smaller ones are outliers.
        camids: each camera saw an identity once: no two images of one camera share a cluster; None: they may. Images of
            unknown camera count as one camera more.

    Paper: Sokal, Michener 1958 (UPGMA); rounds: Murtagh 1983 (reducibility).

    Raises:
        ConfigError: a parameter is outside its range.
    """
    check_eps(eps)
    check_samples(min_samples)
    row, column, distance = graph.edges(graph.reach)
    barriers = [] if camids is None else [SeenByCamera(camera_bits(camids))]
    cluster = merge_in_rounds(np.arange(len(graph)), (row, column, 1.0 - distance.astype(np.float64)), eps, barriers)
    size = np.bincount(cluster)
    return numbered(np.where(size[cluster] >= min_samples, cluster, OUTLIER))


class Merges(NamedTuple):
    """What a round merged: each of `other` into its `one`; cluster i has become `number[i]`.

    `kept`: the clusters of before that are left, by their new numbers.
    """

    one: Int64[np.ndarray, " p"]
    other: Int64[np.ndarray, " p"]
    kept: Int64[np.ndarray, " k"]
    number: Int64[np.ndarray, " m"]


@runtime_checkable
class Barrier(Protocol):
    """Keeps clusters from being merged. What it keeps apart it must keep apart after either has grown, too.

    Only then do rounds give what one merge after the other gives.
    """

    def refuses(self, row: Ints, column: Ints) -> Bool[np.ndarray, " e"]:
        """Mark the pairs of clusters that may not be merged."""
        ...

    def follow(self, merges: Merges) -> None:
        """Take note of what was merged."""
        ...


class SeenByCamera:
    """Keeps apart what one camera saw: `seen` marks the cameras of each cluster as bits."""

    def __init__(self, seen: UInt64[np.ndarray, "m w"]) -> None:
        self.seen = seen

    def refuses(self, row: Ints, column: Ints) -> Bool[np.ndarray, " e"]:
        """Mark the pairs with a camera in common."""
        return (self.seen[row] & self.seen[column]).any(axis=1)

    def follow(self, merges: Merges) -> None:
        """Join what merged clusters were seen by."""
        self.seen[merges.one] |= self.seen[merges.other]
        self.seen = self.seen[merges.kept]


def merge_in_rounds(
    cluster: Int64[np.ndarray, " n"], edges: EdgeSums, eps: float, barriers: Sequence[Barrier] = ()
) -> Int64[np.ndarray, " n"]:
    """Merge the clusters that are each other's most similar until none are `eps` or less apart on average.

    Args:
        cluster: of each image, to begin with, 0 up.
        edges: between clusters, by row and column, with the sum of similarities of their images.
        eps: mean distance.
        barriers: what keeps clusters apart.
    """
    row, column, total = edges
    size: Float64[np.ndarray, " m"] = np.bincount(cluster).astype(np.float64)
    least = 1.0 - float(np.float32(eps)) - ROUNDING
    while len(row):
        mean = total / (size[row] * size[column])
        refused = mean < least
        for barrier in barriers:
            refused |= barrier.refuses(row, column)
        one, other = mutual_nearest(row, column, np.where(refused, -np.inf, mean), len(size))
        if not len(one):
            break
        target = np.arange(len(size))
        target[other] = one
        kept, number = np.unique(target, return_inverse=True)
        for barrier in barriers:
            barrier.follow(Merges(one, other, kept, number))
        size = np.bincount(number, size)
        cluster = number[cluster]
        row, column, total = summed_edges(number[row], number[column], total, len(size))
    return cluster


def mutual_nearest(row: Ints, column: Ints, mean: Sums, count: int) -> Pairs:
    """Give the pairs (lower, higher) that are each other's most similar; `row` ascends, −inf is no pair at all."""
    offsets = starts(np.bincount(row, minlength=count))
    filled = np.flatnonzero(np.diff(offsets))
    best = np.full(count, -np.inf)
    best[filled] = np.maximum.reduceat(mean, offsets[filled])
    at_best = np.flatnonzero((mean == best[row]) & np.isfinite(mean))
    nearest = np.full(count, OUTLIER)
    owner, first = np.unique(row[at_best], return_index=True)
    nearest[owner] = column[at_best[first]]  # columns ascend within a row: of equals the lowest
    one = np.flatnonzero(nearest >= 0)
    one = one[(nearest[nearest[one]] == one) & (one < nearest[one])]
    return one, nearest[one]


def summed_edges(row: Ints, column: Ints, total: Sums, count: int) -> EdgeSums:
    """Add up the edges between the same two clusters, by row and column; those within one are dropped."""
    from scipy.sparse import coo_array

    between = row != column
    edges = coo_array((total[between], (row[between], column[between])), shape=(count, count)).tocsr()
    edges.sum_duplicates()  # columns of a row ascend after it
    return np.repeat(np.arange(count), np.diff(edges.indptr)), edges.indices.astype(np.int64), edges.data


def camera_bits(camids: Int[Tensor, " n"]) -> UInt64[np.ndarray, "n w"]:
    """Mark each image's camera as one bit of its row."""
    camera = camids.cpu().unique(return_inverse=True)[1].numpy()
    bits = np.zeros((len(camera), int(camera.max(initial=0)) // 64 + 1), dtype=np.uint64)
    bits[np.arange(len(camera)), camera // 64] = np.uint64(1) << (camera % 64).astype(np.uint64)
    return bits
