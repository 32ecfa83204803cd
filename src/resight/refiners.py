"""Doubt about members of clusters, each from its own view of the similarity graph, and what is done about it.

A doubt is a share, 0 (none) to 1, for each image; outliers have none. Three measures, all without N×N:

- `adjacency_doubt`: the member does not stand to all other images as its cluster-mates do (GSMLP, Yu & Oh 2021).
- `rank_doubt`: its cluster-mates do not rank it highly in turn (MPLP, Wang & Zhang, CVPR 2020; DPLM, Yu & Oh, IROS
  2021).
- `instability`: its cluster is another one when eps is a little smaller or larger (SpCL, Ge, Zhu, Chen, Zhao, Li,
  NeurIPS 2020, section 3.2).

The first two hold for a cluster that is mixed here and there; where two identities of equal size have become one
cluster, all of its members are doubtful, about as much as they have strangers in it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.clustering import OUTLIER, Graph, dbscan, numbered, sizes
from resight.constraints import Lists
from resight.errors import ConfigError, ShapeError
from resight.memory import FeatureMemory
from resight.neighbours import among_closest

PAIRS_AT_ONCE = 2**18
"""How many pairs of cluster-mates are looked at together."""


class Refined(NamedTuple):
    """Clusters after refinement, and how much each image's place in them is to count, 0..1."""

    pseudo_pid: Int[Tensor, " n"]
    weights: Float[Tensor, " n"]


class Mates:
    """Who shares a cluster. `images`: all that are in one, smallest clusters first; `size`: of each image's cluster."""

    def __init__(self, pseudo_pid: Int[Tensor, " n"]) -> None:
        self.pseudo_pid = pseudo_pid
        counts = sizes(pseudo_pid)
        inside = (pseudo_pid != OUTLIER).nonzero().squeeze(1)
        by_cluster = inside[pseudo_pid[inside].argsort(stable=True)]
        self.members = Lists.from_sorted(pseudo_pid[by_cluster], by_cluster, len(counts))
        self.size = torch.ones_like(pseudo_pid)
        self.size[inside] = counts[pseudo_pid[inside]]
        self.images = by_cluster[self.size[by_cluster].argsort(stable=True)]

    def blocks(self, most: int) -> tuple[Int[Tensor, " b"], ...]:
        """Cut the images into runs of at most `most`, and of few enough pairs; clusters of one have no pairs."""
        images = self.images[self.size[self.images] > 1]
        if not len(images):
            return ()
        return images.split(max(1, min(most, PAIRS_AT_ONCE // int(self.size.max()))))

    def of(self, images: Int[Tensor, " b"]) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
        """Give all pairs of an image, by its position among `images`, and another one of its cluster."""
        at, mate = self.members.of(self.pseudo_pid[images])
        other = images[at] != mate
        return at[other], mate[other]


def adjacency_doubt(memory: FeatureMemory, pseudo_pid: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Share of a member's cluster-mates that are not among its m nearest by adjacency distance, m its cluster's size.

    The adjacency distance is that of rows of the similarity matrix with zero diagonal, over all N images; the member
    itself counts among its m nearest. A cluster whose members are nearest to each other so has no doubt.

    Raises:
        ShapeError: there is not one pseudo_pid for each image.
    """
    check_length(memory, pseudo_pid)
    mates, doubt = Mates(pseudo_pid), torch.zeros(len(memory))
    for block in mates.blocks(memory.block_rows):
        at, mate = mates.of(block)
        size = mates.size[block]
        place = torch.arange(len(at)) - (size - 1).cumsum(0).sub(size - 1)[at]
        columns = block.unsqueeze(1).repeat(1, int(size.max()) - 1)
        columns[at, place] = mate
        index = block.to(memory.device)
        distance = memory.adjacency_distance(index)
        distance.scatter_(1, index.unsqueeze(1), -1.0)  # itself before any twin
        near = among_closest(distance, columns.to(memory.device), size.to(memory.device)).cpu()
        near &= torch.arange(columns.shape[1]) < (size - 1).unsqueeze(1)
        doubt[block] = 1 - near.sum(dim=1) / (size - 1)
    return doubt


def rank_doubt(memory: FeatureMemory, pseudo_pid: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Share of a member's cluster-mates that rank it beyond place m of all images, m their cluster's size.

    This is the papers' test rank_j(i) ≤ K with the cluster's size as K. Lists of `memory.list_neighbours` that are
    longer than the clusters spare the counting.

    Raises:
        ShapeError: there is not one pseudo_pid for each image.
    """
    check_length(memory, pseudo_pid)
    mates, doubt = Mates(pseudo_pid), torch.zeros(len(memory))
    for block in mates.blocks(memory.block_rows):
        at, image = mates.of(block)
        rows, limit = block[at], mates.size[image]
        low = memory.outranked(*(part.to(memory.device) for part in (rows, image, limit))).cpu()
        doubt.index_add_(0, image, low.float())
    return doubt / (mates.size - 1).clamp(min=1)


def agreement(pseudo_pid: Int[Tensor, " n"], other: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Give |I ∩ I'| / |I ∪ I'| for each image, I and I' its clusters in the two clusterings; an outlier's is {i}.

    With a clustering at a larger eps as the other this is SpCL's independence (equation 5), with one at a smaller eps
    its compactness (equation 6).
    """
    ours, theirs = alone_too(pseudo_pid), alone_too(other)
    _, both, shared = torch.stack([ours, theirs]).unique(dim=1, return_inverse=True, return_counts=True)
    common = shared[both]
    return common / (ours.bincount()[ours] + theirs.bincount()[theirs] - common)


def instability(
    graph: Graph,
    pseudo_pid: Int[Tensor, " n"],
    eps: float,
    *,
    delta: float = 0.02,
    min_samples: int = 4,
    algorithm: Callable[[Graph, float, int], Int[Tensor, " n"]] = dbscan,
) -> Float[Tensor, " n"]:
    """Doubt by how much a member's cluster changes with eps: 1 − the smaller of its independence and compactness.

    Args:
        graph: must reach eps + `delta`.
        pseudo_pid: the clustering at `eps`.
        eps: that it was made with.
        delta: by how much less and more to cluster again; the paper's 0.02.
        min_samples: that it was made with.
        algorithm: that it was made with.

    Raises:
        ConfigError: eps ± delta lies outside 0..1 or beyond the graph's reach.
    """
    tight, loose = (algorithm(graph, at, min_samples) for at in (eps - delta, eps + delta))
    doubt = 1 - torch.minimum(agreement(pseudo_pid, loose), agreement(pseudo_pid, tight))
    return doubt.masked_fill(pseudo_pid == OUTLIER, 0.0)


def reliable(
    pseudo_pid: Int[Tensor, " n"],
    independence: Float[Tensor, " n"],
    compactness: Float[Tensor, " n"],
    alpha: float,
) -> Bool[Tensor, " n"]:
    """Mark the members that SpCL keeps; it makes outliers of the others. Outliers are marked.

    A cluster is kept if the best independence among its members is `alpha` or more, and of it those members whose
    compactness is the best in it (as published; `alpha` by `independent_share` in the first epoch, then fixed).
    """
    best_independence, best_compactness = (best_of_cluster(pseudo_pid, value) for value in (independence, compactness))
    return (pseudo_pid == OUTLIER) | ((best_independence >= alpha) & (compactness >= best_compactness))


def independent_share(pseudo_pid: Int[Tensor, " n"], independence: Float[Tensor, " n"], share: float = 0.9) -> float:
    """Give the alpha that keeps about `share` of the clusters, 0..1; 0 where there are none."""
    count = int(pseudo_pid.max()) + 1 if len(pseudo_pid) else 0
    if not count:
        return 0.0
    inside = pseudo_pid != OUTLIER
    best = torch.zeros(count).scatter_reduce(0, pseudo_pid[inside], independence[inside], "amax")
    return float(best.sort(descending=True).values[min(count - 1, round(count * share))])


def refine(
    pseudo_pid: Int[Tensor, " n"],
    doubt: Float[Tensor, " n"],
    how: str = "drop",
    *,
    above: float = 0.5,
    finer: Int[Tensor, " n"] | None = None,
) -> Refined:
    """Do something about members with doubt.

    Args:
        pseudo_pid: the clusters.
        doubt: 0..1 for each image; of several measures take the mean or the larger.
        how: "drop": members with more doubt than `above` become outliers. "split": they leave their cluster together
            and are one of their own; where all are in doubt, nothing changes. "weigh": all stay and count 1 − doubt.
        above: the doubt from which on a member is doubtful; "weigh" does not use it.
        finer: for "split", a clustering at a smaller eps: those leave together that it has together.

    A cluster of one image that is left is an outlier. All weights are 1 but for "weigh".

    Raises:
        ConfigError: there is no such way.
        ShapeError: there is not one doubt for each image.
    """
    if how not in WAYS:
        raise ConfigError(f"clusters can be refined by {', '.join(WAYS)}, got '{how}'")
    if doubt.shape != pseudo_pid.shape:
        raise ShapeError(f"doubt must be ({len(pseudo_pid)},), one for each image, got {tuple(doubt.shape)}")
    if how == "weigh":
        weights = torch.where(pseudo_pid == OUTLIER, 1.0, 1 - doubt.float())
        return Refined(pseudo_pid, weights)
    new = left_together(pseudo_pid, finer) if how == "split" else torch.full_like(pseudo_pid, OUTLIER)
    doubtful = (doubt > above) & (pseudo_pid != OUTLIER)
    return Refined(without_singles(torch.where(doubtful, new, pseudo_pid)), torch.ones(len(pseudo_pid)))


WAYS = ("drop", "split", "weigh")


def left_together(pseudo_pid: Int[Tensor, " n"], finer: Int[Tensor, " n"] | None) -> Int[Tensor, " n"]:
    """Give new numbers, one for all who leave the same cluster, or the same cluster of both clusterings."""
    groups = torch.zeros_like(pseudo_pid) if finer is None else alone_too(finer)
    return torch.stack([pseudo_pid, groups]).unique(dim=1, return_inverse=True)[1] + len(pseudo_pid)


def without_singles(labels: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Number the clusters anew; those of one image are outliers."""
    _, cluster, count = labels.unique(return_inverse=True, return_counts=True)
    return numbered(labels.masked_fill(count[cluster] == 1, OUTLIER).numpy())


def alone_too(pseudo_pid: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Number outliers as clusters of their own."""
    outlier = pseudo_pid == OUTLIER
    first = int(pseudo_pid.max()) + 1 if len(pseudo_pid) else 0
    return torch.where(outlier, first + outlier.cumsum(0) - 1, pseudo_pid)


def best_of_cluster(pseudo_pid: Int[Tensor, " n"], value: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Give each image the largest value in its cluster; an outlier its own."""
    cluster = alone_too(pseudo_pid)
    return torch.zeros_like(value).scatter_reduce(0, cluster, value, "amax")[cluster]


def check_length(memory: FeatureMemory, pseudo_pid: Int[Tensor, " n"]) -> None:
    """Raise ShapeError unless there is one pseudo_pid for each image."""
    if len(pseudo_pid) != len(memory):
        raise ShapeError(f"pseudo_pid must be ({len(memory)},), one for each image, got ({len(pseudo_pid)},)")
