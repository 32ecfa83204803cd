"""Average linkage that starts from what is known and never merges what is kept apart."""

import numpy as np
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from resight.clustering import Graph, check_eps
from resight.errors import ShapeError
from resight.groups.links import Links
from resight.linkage import Barrier, Merges, SeenByCamera, camera_bits, merge_in_rounds, summed_edges
from resight.types import UNKNOWN_CAMID

Numbers = Int64[np.ndarray, " e"]


def linked(graph: Graph, eps: float, links: Links, camids: Int[Tensor, " n"] | None = None) -> Int64[np.ndarray, " n"]:
    """Merge the two most similar clusters, of those that may be one, until none are `eps` or less apart on average.

    The first clusters are the parts of `links.together`. Two are never merged where `links` keeps them apart, where
    both are of an earlier result, or where both hold images of one camera (`camids`; None: they may). Whatever may not
    be merged may not be after either has grown, so that merging each other's nearest in rounds still gives what one
    merge after the other gives. Similarities as in `resight.linkage`; without links this is `average_linkage`.

    Gives a number for each image, by the first image of its cluster; one that is alone has a number of its own.

    Raises:
        ConfigError: `eps` is outside 0..1.
        ShapeError: the links are of another number of images.
    """
    check_eps(eps)
    if len(links) != len(graph):
        raise ShapeError(f"links must be of the {len(graph)} images of the graph, got {len(links)}")
    cluster = links.together
    row, column, distance = graph.edges(graph.reach)
    edges = summed_edges(cluster[row], cluster[column], 1.0 - distance.astype(np.float64), links.parts)
    barriers: list[Barrier] = [KnownApart(links)]
    if camids is not None:
        barriers.append(SeenByCamera(_cameras(camids, cluster, links.parts)))
    return by_first(merge_in_rounds(cluster, edges, eps, barriers))


class KnownApart:
    """Keeps apart what links keep apart, and clusters that are both of an earlier result."""

    def __init__(self, links: Links) -> None:
        self.fixed, self.apart, self.count = links.fixed, links.apart, links.parts

    def refuses(self, row: Numbers, column: Numbers) -> Bool[np.ndarray, " e"]:
        """Mark the pairs that are kept apart."""
        return (self.fixed[row] & self.fixed[column]) | kept_apart(row, column, self.apart, self.count)

    def follow(self, merges: Merges) -> None:
        """Keep apart whatever a part of it was kept apart from."""
        self.fixed = np.bincount(merges.number, self.fixed) > 0
        self.apart = np.unique(np.sort(merges.number[self.apart], axis=1), axis=0)
        self.count = len(merges.kept)


def kept_apart(row: Numbers, column: Numbers, apart: Int64[np.ndarray, "p 2"], count: int) -> Bool[np.ndarray, " e"]:
    """Mark the edges whose two ends are kept apart."""
    if not len(apart):
        return np.zeros(len(row), dtype=bool)
    codes = apart[:, 0] * count + apart[:, 1]  # rising, as pairs are
    asked = np.minimum(row, column) * count + np.maximum(row, column)
    place = np.searchsorted(codes, asked).clip(max=len(codes) - 1)
    return codes[place] == asked


def by_first(cluster: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Number clusters 0, 1, 2 ... by their first member."""
    _, first, number = np.unique(cluster, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[first.argsort()] = np.arange(len(first))
    return rank[number].astype(np.int64)


def _cameras(camids: Int[Tensor, " n"], cluster: Numbers, count: int) -> np.ndarray:
    """Mark the cameras of each cluster as bits; one that is not known forbids nothing."""
    bits = camera_bits(camids)
    bits[(camids == UNKNOWN_CAMID).cpu().numpy()] = 0
    seen = np.zeros((count, bits.shape[1]), dtype=np.uint64)
    np.bitwise_or.at(seen, cluster, bits)
    return seen
