"""Clusters made to agree with what is known of identities without labels: tracklets, and images of one moment."""

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from resight.clustering import OUTLIER, Graph, numbered
from resight.constraints import Constraints


def obey(pseudo_pid: Int[Tensor, " n"], graph: Graph, constraints: Constraints) -> Int[Tensor, " n"]:
    """Change clusters as little as makes them agree with what is known without labels.

    First the images of a tracklet go together: into the cluster that holds most of them (of equals the one numbered
    first), or into one of their own where all are outliers. Then of two tracklets, or images that are in none, that are
    kept apart and share a cluster, the one less tied to the rest of it leaves: an image alone becomes an outlier, a
    tracklet a cluster. How much one is tied is the sum of 1 − distance over its edges in the graph to the others of the
    cluster; of equals the first stays. Where nothing is known the clusters come back as they are.
    """
    if not constraints.binding:
        return pseudo_pid
    known = constraints.to("cpu")
    group, size = known.group.numpy(), known.members.lengths.numpy()
    cluster = together(pseudo_pid.numpy(), group, size)
    leaving = too_many(cluster, graph, known)
    alone = np.where(size > 1, len(group) + np.arange(len(size)), OUTLIER)  # numbers beyond those of all clusters
    return numbered(np.where(leaving, alone, cluster)[group])


def keep_tracklets(pseudo_pid: Int[Tensor, " n"], constraints: Constraints) -> Int[Tensor, " n"]:
    """Put tracklets together again of which some images have left their cluster, as `obey` does.

    Clusters that are parts of such as obey no more than tracklets can be at odds with.
    """
    if not constraints.binding:
        return pseudo_pid
    known = constraints.to("cpu")
    group, size = known.group.numpy(), known.members.lengths.numpy()
    return numbered(together(pseudo_pid.numpy(), group, size)[group])


def together(
    pseudo_pid: Int64[np.ndarray, " n"], group: Int64[np.ndarray, " n"], size: Int64[np.ndarray, " g"]
) -> Int64[np.ndarray, " g"]:
    """Give the cluster of each group: of most of its images, or a new one for several outliers."""
    inside = pseudo_pid != OUTLIER
    pairs, votes = np.unique(np.stack([group[inside], pseudo_pid[inside]]), axis=1, return_counts=True)
    first = np.lexsort((pairs[1], -votes, pairs[0]))
    voted, best = np.unique(pairs[0][first], return_index=True)
    cluster = np.where(size > 1, 2 * len(group) + np.arange(len(size)), OUTLIER)
    cluster[voted] = pairs[1][first[best]]
    return cluster


def too_many(cluster: Int64[np.ndarray, " g"], graph: Graph, constraints: Constraints) -> Bool[np.ndarray, " g"]:
    """Mark the groups that must leave their cluster, so that none is left in it with one it is kept apart from."""
    group = constraints.group.numpy()
    owner, other = (part.numpy() for part in constraints.apart.of(torch.arange(len(cluster))))
    at_odds = (cluster[owner] == cluster[other]) & (cluster[owner] != OUTLIER)
    leaving = np.zeros(len(cluster), dtype=bool)
    if not at_odds.any():
        return leaving
    row, column, distance = graph.edges(graph.reach)
    row, column = group[row], group[column]
    ties = (cluster[row] == cluster[column]) & (row != column)
    tied = np.bincount(row[ties], 1.0 - distance[ties], minlength=len(cluster))
    enemies: dict[int, list[int]] = {}
    for one, another in zip(owner[at_odds].tolist(), other[at_odds].tolist(), strict=True):
        enemies.setdefault(one, []).append(another)
    first_image = constraints.members.items[constraints.members.offsets[:-1]].tolist()
    staying: set[int] = set()
    for one in sorted(enemies, key=lambda g: (-tied[g], first_image[g])):
        if staying.isdisjoint(enemies[one]):
            staying.add(one)
        else:
            leaving[one] = True
    return leaving
