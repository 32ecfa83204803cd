"""How sure each crop is of its place, what its scores say, and groups cut where no pair reaches a threshold."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from resight.calibrate import Calibration
from resight.clustering import Graph
from resight.groups.linkage import by_first, kept_apart
from resight.groups.links import NO_GROUP, Links
from resight.matching import Thresholds, same_camera

SCORES_AT_ONCE = 2**22
"""Most scores inside a group that are held at a time."""

Block = tuple[Int[Tensor, " b"], Int[Tensor, " m"], Float[Tensor, "b m"]]
"""Some members of a group, all of its members, and the cosines between them."""


@dataclass(frozen=True)
class Places:
    """How each crop stands in a grouping.

    Attributes:
        confidence: 0..1; ½ where the crop would be as well placed elsewhere, below it where better.
        rival: cluster, of another, that the crop is most similar to; `NO_GROUP` where it is like none.
    """

    confidence: Float64[np.ndarray, " n"]
    rival: Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class Scored:
    """What the cosines inside groups say of each crop; all NaN, −1 or False for one that is alone.

    Attributes:
        probability: mean calibrated probability that the crop and another of its group show the same one, 0..1.
        best: the largest cosine to another of its group.
        matched: whether one of these cosines reaches the threshold.
    """

    probability: Float64[np.ndarray, " n"]
    best: Float64[np.ndarray, " n"]
    matched: Bool[np.ndarray, " n"]


def placed(graph: Graph, cluster: Int64[np.ndarray, " n"], links: Links, eps: float) -> Places:
    """Say how sure each crop is of its place: own / (own + next best), of its mean similarities to clusters.

    The similarity of two images is 1 − their Jaccard distance, and 1 for two that answers or tracklets say are the
    same. `own`: the mean over the others of the crop's cluster; for one that is alone 1 − eps, from which on it would
    have joined another. `next best`: the largest mean over another cluster it is not kept apart from, or 1 − eps
    where that is more, as it could be alone as well.
    """
    n, least = len(graph), 1.0 - eps
    row, column, distance = graph.edges(graph.reach)
    free = links.certain[row] != links.certain[column]
    row, column, similarity = row[free], column[free], 1.0 - distance[free].astype(np.float64)
    size = np.bincount(cluster, minlength=n)
    held = np.bincount(links.certain)[links.certain]
    inside = cluster[row] == cluster[column]
    total = np.bincount(row[inside], similarity[inside], minlength=n) + held - 1
    own = np.where(size[cluster] > 1, total / np.maximum(size[cluster] - 1, 1), least)
    rival, score = _rivals(row[~inside], cluster[column[~inside]], similarity[~inside], size, (cluster, links))
    other = np.where(size[cluster] > 1, np.maximum(score, least), score)
    return Places(own / np.maximum(own + other, np.finfo(float).tiny), rival)


def _rivals(
    row: Int64[np.ndarray, " e"],
    other: Int64[np.ndarray, " e"],
    similarity: Float64[np.ndarray, " e"],
    size: Int64[np.ndarray, " m"],
    grouped: tuple[Int64[np.ndarray, " n"], Links],
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Give each crop's most similar other cluster and its mean similarity to it, 0 where there is none."""
    cluster, links = grouped
    n, width = len(cluster), len(size)
    rival, score = np.full(n, NO_GROUP, dtype=np.int64), np.zeros(n)
    code, where = np.unique(row * width + other, return_inverse=True)
    if not len(code):
        return rival, score
    crop, target = np.divmod(code, width)
    mean = np.bincount(where, similarity) / size[target]
    mean[kept_apart(cluster[crop], target, apart_clusters(cluster, links), width)] = -1.0
    best = np.lexsort((target, -mean, crop))
    crops, first = np.unique(crop[best], return_index=True)
    first = best[first]
    crops, first = crops[mean[first] >= 0], first[mean[first] >= 0]
    rival[crops], score[crops] = target[first], mean[first]
    return rival, score


def apart_clusters(cluster: Int64[np.ndarray, " n"], links: Links) -> Int64[np.ndarray, "p 2"]:
    """Give the pairs of clusters that hold parts which are kept apart."""
    of_part = np.zeros(links.parts, dtype=np.int64)
    of_part[links.together] = cluster
    return np.unique(np.sort(of_part[links.apart], axis=1), axis=0)


def inside_groups(embeddings: Float[Tensor, "n d"], cluster: Int64[np.ndarray, " n"]) -> Iterator[Block]:
    """Give the cosines inside every cluster of several, by blocks of its members."""
    order = np.argsort(cluster, kind="stable")
    cuts = np.flatnonzero(np.diff(cluster[order])) + 1
    for members in np.split(order, cuts) if len(order) else ():
        if len(members) > 1:
            everyone = torch.from_numpy(members)
            rows = embeddings[everyone.to(embeddings.device)]
            step = max(1, SCORES_AT_ONCE // len(members))
            for first in range(0, len(members), step):
                scores = rows[first : first + step] @ rows.T
                yield everyone[first : first + step], everyone, scores.cpu()


def scored(
    embeddings: Float[Tensor, "n d"],
    cluster: Int64[np.ndarray, " n"],
    camids: Int[Tensor, " n"],
    calibration: Calibration | None,
    thresholds: Thresholds | None,
) -> Scored:
    """Score each crop against the others of its cluster; without a calibration no probability, without a threshold no
    match.
    """
    n = len(cluster)
    result = Scored(np.full(n, np.nan), np.full(n, -1.0), np.zeros(n, dtype=bool))
    for some, everyone, scores in inside_groups(embeddings, cluster):
        at, others = some.numpy(), some.unsqueeze(1) != everyone
        within = same_camera(camids[some].unsqueeze(1), camids[everyone])
        result.best[at] = scores.where(others, torch.tensor(-1.0)).amax(dim=1).double().numpy()
        if calibration is not None:
            chances = calibration.probability(scores.double(), within) * others
            result.probability[at] = (chances.sum(dim=1) / (len(everyone) - 1)).numpy()
        if thresholds is not None:
            result.matched[at] = (thresholds.reached(scores, within) & others).any(dim=1).numpy()
    return result


def cut_where_unmatched(
    embeddings: Float[Tensor, "n d"],
    cluster: Int64[np.ndarray, " n"],
    camids: Int[Tensor, " n"],
    thresholds: Thresholds,
    links: Links,
) -> Int64[np.ndarray, " n"]:
    """Cut clusters into what a chain of pairs that reach the threshold holds together; what is known holds, too."""
    first = np.unique(links.together, return_index=True)[1][links.together]  # each crop is tied to its part's first
    n, tie = len(cluster), np.arange(len(cluster))  # and to one that a chain of such pairs leads to
    for some, everyone, scores in inside_groups(embeddings, cluster):
        within = same_camera(camids[some].unsqueeze(1), camids[everyone])
        row, column = (at.numpy() for at in thresholds.reached(scores, within).nonzero(as_tuple=True))
        members = everyone.numpy()
        # Joined block by block, as the pairs of a large group would fill the memory.
        part = np.unique(tie[members], return_inverse=True)[1]
        joined = _joined(len(members), part[np.searchsorted(members, some.numpy())[row]], part[column])[part]
        tie[members] = members[np.unique(joined, return_index=True)[1][joined]]
    everything = np.arange(n)
    return by_first(_joined(n, np.concatenate([everything, everything]), np.concatenate([first, tie])))


def _joined(n: int, one: Int64[np.ndarray, " e"], other: Int64[np.ndarray, " e"]) -> Int64[np.ndarray, " n"]:
    """Number the parts that pairs join `n` things into, 0 up."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    marks = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(n, n))  # bool: many of one pair are one
    return connected_components(marks, directed=False)[1].astype(np.int64)
