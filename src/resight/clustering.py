"""Clusters of a feature memory: a sparse graph of Jaccard distances, and what DBSCAN or Infomap make of it.

Papers: the distances are those of k-reciprocal encoding (Zhong, Zheng, Cao, Li, CVPR 2017; see `reciprocal`) as SpCL
(Ge, Zhu, Chen, Zhao, Li, NeurIPS 2020) and Cluster-Contrast (Dai, Wang, Yuan, Zhu, Tan, ACCV 2022) compute them for
clustering: a list counts the image itself among its k1, and distances are weighed as they are, not divided by the
largest. Everything grows with N·k, nothing with N² but the search for neighbours, whose products come by blocks.

A `pseudo_pid` is a number for each image: its cluster's, or `OUTLIER`. Clusters are numbered by their first member.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor

from resight.errors import ConfigError, ShapeError
from resight.memory import FeatureMemory
from resight.neighbours import NeighbourLists, largest
from resight.reciprocal import Stacked, encode, half, jaccard_graph
from resight.sparse_rows import SparseRows, starts
from resight.storage import product

OUTLIER = -1
"""`pseudo_pid` of an image that is in no cluster."""

Edges = tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"], Float32[np.ndarray, " e"]]
"""Row, column, distance."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Jaccard distances of N images, 0..1: all pairs that are `reach` or less apart, each in both of its rows.

    One graph serves clusterings at every eps up to `reach`.
    """

    distances: SparseRows
    reach: float

    def __len__(self) -> int:
        return len(self.distances)

    def edges(self, eps: float) -> Edges:
        """Give (row, column, distance) of all pairs of different images at most `eps` apart, by row.

        Raises:
            ConfigError: `eps` is outside 0..1 or beyond the reach of the graph.
        """
        check_eps(eps)
        if eps > self.reach:
            raise ConfigError(f"eps must be at most the {self.reach:g} that the graph was built to reach, got {eps:g}")
        row, column = self.distances.row_of_entries(), self.distances.columns.astype(np.int64)
        near = (self.distances.values <= np.float32(eps)) & (row != column)
        return row[near], column[near], self.distances.values[near]


class MemoryRows(Stacked):
    """The rows of a memory, read through it: they may lie on another device or on disk."""

    def __init__(self, memory: FeatureMemory) -> None:
        super().__init__(memory.features)
        self.memory = memory

    def read(self, index: Int[Tensor, " b"]) -> Tensor:
        """Copy the rows at `index`."""
        return self.memory.read(index)


def jaccard_of(
    memory: FeatureMemory,
    *,
    k1: int = 30,
    k2: int = 6,
    reach: float = 0.6,
    camids: Int[Tensor, " n"] | None = None,
) -> Graph:
    """Compute all Jaccard distances up to `reach` between the images of a memory, exactly.

    Args:
        memory: its `lists` are used where they are long enough, and made where they are not.
        k1: images of a neighbour list, the image itself counted; where there are fewer, all of them.
        k2: nearest images, itself counted, whose encodings are averaged (local query expansion); 1: none.
        reach: the largest eps that the graph is to serve; fewer pairs, less memory.
        camids: take the k1 of each camera instead (`lists_by_camera`); None: of all images together.

    Raises:
        ConfigError: a parameter is outside its range.
        ShapeError: there is not one camid for each image.
    """
    check_lists(k1, k2, across_cameras=camids is not None)
    check_eps(reach)
    if not len(memory):
        return Graph(SparseRows(starts(np.zeros(0, int)), np.zeros(0, np.int32), np.zeros(0, np.float32), 0), reach)
    expand_by = half(k1) + 1
    if camids is None:
        lists = nearest_of_all(memory, k1)
    else:
        lists, expand_by = lists_by_camera(memory, camids, k1), listed(camids, expand_by)
    vectors = encode(lists, MemoryRows(memory), expand_by=expand_by, k2=k2)
    beyond = np.nextafter(np.float32(reach), np.float32(2))  # a distance of exactly `reach` counts
    return Graph(jaccard_graph(vectors, most=float(beyond)), reach)


def nearest_of_all(memory: FeatureMemory, k1: int) -> NeighbourLists:
    """Give the k1 nearest of every image, itself first, from the memory's lists or by making them."""
    length = min(k1, len(memory))
    if memory.lists is None or len(memory.lists.index) < len(memory) or memory.lists.index.shape[1] < length:
        memory.list_neighbours(length)
    lists = memory.lists
    assert lists is not None
    return NeighbourLists(lists.scores[:, :length], lists.index[:, :length], lists.images)


def listed(camids: Int[Tensor, " n"], k: int) -> int:
    """Length of lists that hold the k best of each camera: Σ min(k, images of the camera), `MOST_LISTED` at most."""
    return min(MOST_LISTED, int(camids.unique(return_counts=True)[1].clamp(max=k).sum()))


MOST_LISTED = 100
"""Longest list across cameras: what is computed from lists grows with their length squared."""


def lists_by_camera(memory: FeatureMemory, camids: Int[Tensor, " n"], k: int) -> NeighbourLists:
    """List for every image its k nearest of each camera, so that a strong shift between cameras fills no list alone.

    First stand the image itself and the best of each other camera, by falling score, then the second best of each, and
    so on: the first `listed(camids, h)` places are the h best of each camera, or where that would be more than
    `MOST_LISTED`, the first so many. Images of unknown camera count as one camera more. One pass over the N×N products.

    Nothing is standardised: the encoding weighs by distance as ever, so that two cameras which differ strongly stay
    apart unless their features are standardised first (`by_camera`).

    Raises:
        ShapeError: there is not one camid for each image.
    """
    if len(camids) != len(memory):
        raise ShapeError(f"camids must be {len(memory)}, one for each image, got {len(camids)}")
    cameras = [(camids == camid).nonzero().squeeze(1).to(memory.device) for camid in camids.unique()]
    place = torch.cat([torch.arange(min(k, len(camera))) for camera in cameras]).to(memory.device)
    length = listed(camids, k)
    scores = torch.empty(len(memory), length, dtype=memory.features.dtype)
    index = torch.empty(len(memory), length, dtype=torch.int32)
    for block in torch.arange(len(memory), device=memory.device).split(memory.block_rows):
        similarity = product(memory.read(block), memory.rows)
        own = similarity.gather(1, block.unsqueeze(1))
        similarity.scatter_(1, block.unsqueeze(1), torch.inf)  # nothing comes before the image itself
        found = [(*largest(similarity[:, camera], k), camera) for camera in cameras]
        values = torch.cat([part for part, _, _ in found], dim=1)
        columns = torch.cat([camera[part] for _, part, camera in found], dim=1)
        values, order = values.sort(dim=1, descending=True, stable=True)
        by_place = place[order].sort(dim=1, stable=True).indices
        values, order = values.gather(1, by_place), order.gather(1, by_place)
        values[:, :1] = own
        at = block.cpu()
        scores[at] = values[:, :length].cpu()
        index[at] = columns.gather(1, order)[:, :length].cpu().int()
    return NeighbourLists(scores, index, len(memory))


def dbscan(graph: Graph, eps: float, min_samples: int = 4) -> Int[Tensor, " n"]:
    """Cluster what is dense: images with `min_samples` within `eps`, themselves counted, and what lies within `eps`.

    Dense images within `eps` of each other share a cluster; one that is not dense joins its nearest dense image's (of
    equally near ones the first), or is an outlier where it has none. With a larger eps clusters of dense images merge
    and never part.

    Paper: Ester, Kriegel, Sander, Xu, KDD 1996. The clusters are those of scikit-learn's DBSCAN, save that there an
    image between two clusters goes to the one found first.

    Raises:
        ConfigError: a parameter is outside its range, or the graph does not reach `eps`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    check_samples(min_samples)
    row, column, distance = graph.edges(eps)
    n = len(graph)
    if not n:
        return torch.empty(0, dtype=torch.long)
    dense = np.bincount(row, minlength=n) + 1 >= min_samples
    within = dense[row] & dense[column]
    links = coo_array((np.ones(within.sum(), dtype=np.int8), (row[within], column[within])), shape=(n, n))
    part = connected_components(links, directed=False)[1].astype(np.int64)
    pseudo_pid = np.where(dense, part, OUTLIER)
    edge = np.flatnonzero(~dense[row] & dense[column])
    edge = edge[np.lexsort((column[edge], distance[edge], row[edge]))]
    joining, nearest = np.unique(row[edge], return_index=True)
    pseudo_pid[joining] = part[column[edge[nearest]]]
    return numbered(pseudo_pid)


def infomap(graph: Graph, eps: float, min_samples: int = 2) -> Int[Tensor, " n"]:
    """Cluster so that a random walk along the edges up to `eps`, weighed by 1 − distance, is described shortest.

    Clusters of fewer than `min_samples` images are outliers. The seed is fixed, so the answer is. Unlike DBSCAN it cuts
    two groups apart that a few edges join.

    Paper: Rosvall, Bergstrom, PNAS 2008 (the map equation), by the package infomap.

    Raises:
        ConfigError: a parameter is outside its range, the graph does not reach `eps`, or the package is not installed.
    """
    try:
        from infomap import Infomap
    except ImportError as error:
        raise ConfigError(
            "clustering by infomap needs the package of that name; pip install 'resight[infomap]', or choose dbscan"
        ) from error
    check_samples(min_samples)
    row, column, distance = graph.edges(eps)
    once = row < column
    pseudo_pid = np.full(len(graph), OUTLIER, dtype=np.int64)
    if once.any():
        walk = Infomap(two_level=True, silent=True, seed=1, num_trials=TRIALS)
        walk.add_links(np.stack([row[once], column[once], 1.0 - distance[once]], axis=1, dtype=np.float64))
        modules = walk.run().modules()
        pseudo_pid[np.fromiter(modules, int)] = np.fromiter(modules.values(), int)
        size = np.bincount(pseudo_pid + 1)
        pseudo_pid[size[pseudo_pid + 1] < min_samples] = OUTLIER
    return numbered(pseudo_pid)


TRIALS = 5
"""How often Infomap starts anew; the shortest description counts."""


def numbered(labels: Int64[np.ndarray, " n"]) -> Int[Tensor, " n"]:
    """Number clusters 0, 1, 2 ... by their first member; `OUTLIER` stays."""
    inside = np.flatnonzero(labels != OUTLIER)
    _, first, cluster = np.unique(labels[inside], return_index=True, return_inverse=True)
    number = np.empty_like(first)
    number[first.argsort()] = np.arange(len(first))
    result = np.full(len(labels), OUTLIER, dtype=np.int64)
    result[inside] = number[cluster]
    return torch.from_numpy(result)


def sizes(pseudo_pid: Int[Tensor, " n"]) -> Int[Tensor, " c"]:
    """How many images each cluster holds."""
    return torch.bincount(pseudo_pid[pseudo_pid != OUTLIER])


def check_lists(k1: int, k2: int, *, across_cameras: bool = False) -> None:
    """Raise ConfigError unless neighbour lists can be encoded with these; lists of k1 a camera hold 2 k1 or more."""
    if k1 < 2:
        raise ConfigError(f"k1 of clustering must be 2 or more images, itself counted, got {k1}")
    most, said = (2 * k1, "1..2 k1") if across_cameras else (k1, "1..k1")
    if not 1 <= k2 <= most:
        raise ConfigError(f"k2 of clustering must lie in {said}, here 1..{most}, got {k2}")


def check_eps(eps: float) -> None:
    """Raise ConfigError unless `eps` is a distance that some pairs reach and some do not."""
    if not 0 < eps < 1:
        raise ConfigError(f"eps of clustering is a Jaccard distance and must lie between 0 and 1, got {eps:g}")


def check_samples(min_samples: int) -> None:
    """Raise ConfigError unless some image can be dense."""
    if min_samples < 1:
        raise ConfigError(f"min_samples of clustering must be 1 or more, got {min_samples}")
