"""Clusters as labels: the images of one's cluster are its positives, and an outlier is alone.

Papers: Ge, Zhu, Chen, Zhao, Li, NeurIPS 2020 (SpCL); Dai, Wang, Yuan, Zhu, Tan, ACCV 2022 (Cluster-Contrast). Theirs
are the settings; the losses may be any.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from resight.cluster_constraints import obey
from resight.clustering import (
    OUTLIER,
    Graph,
    check_eps,
    check_lists,
    check_samples,
    dbscan,
    infomap,
    jaccard_of,
    numbered,
    sizes,
)
from resight.constraints import Constraints, Lists
from resight.errors import ConfigError, ResightError, no_such_name
from resight.linkage import MEAN_REACH, average_linkage
from resight.memory import FeatureMemory
from resight.types import MOST_POSITIVES, Memory, SparsePositives

ALGORITHMS: dict[str, Callable[[Graph, float, int], Int[Tensor, " n"]]] = {
    "dbscan": dbscan,
    "infomap": infomap,
    "average": average_linkage,
}


@dataclass(frozen=True)
class Cluster:
    """P(i) = the cluster of i, by k-reciprocal Jaccard distance; {i} for an outlier.

    Attributes:
        eps: Jaccard distance up to which two images are linked, 0..1. Published: 0.6 for people, lower where identities
            look alike.
        min_samples: images within `eps`, itself counted, that make one dense (dbscan), or the smallest cluster
            (infomap).
        k1: images of a neighbour list, the image itself counted; once to twice as many as one identity has.
        k2: nearest images, itself counted, whose encodings are averaged; 1: none.
        algorithm: "dbscan" as published; "infomap", which a few false links do not join; or "average", average linkage,
            which no false link joins, and for which eps is the mean distance of two clusters that still merge.
        across_cameras: lists hold the k1 nearest of each camera in place of all images.
        once_per_camera: each camera saw an identity once, so no two images of one camera share a cluster ("average").
    """

    eps: float = 0.6
    min_samples: int = 4
    k1: int = 30
    k2: int = 6
    algorithm: str = "dbscan"
    across_cameras: bool = False
    once_per_camera: bool = False

    reads_ranks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_eps(self.eps)
        check_samples(self.min_samples)
        check_lists(self.k1, self.k2, across_cameras=self.across_cameras)
        if self.algorithm not in ALGORITHMS:
            raise no_such_name("clustering algorithm", self.algorithm, ALGORITHMS)
        if self.once_per_camera and self.algorithm != "average":
            raise ConfigError(
                f'miner.once_per_camera needs miner.algorithm = "average", got "{self.algorithm}"; set both'
            )

    @property
    def list_length(self) -> int:
        """How many neighbours of each image to list where labels of all images are mined at once."""
        return 0 if self.across_cameras else self.k1

    def graph(
        self, memory: FeatureMemory, camids: Int[Tensor, " n"] | None = None, *, reach: float | None = None
    ) -> Graph:
        """Compute the Jaccard distances up to `reach` (None: what is needed); `camids` matter across cameras only."""
        chosen = camids if self.across_cameras else None
        if reach is None:
            reach = max(self.eps, MEAN_REACH) if self.algorithm == "average" else self.eps
        return jaccard_of(memory, k1=self.k1, k2=self.k2, reach=reach, camids=chosen)

    def cluster(
        self,
        memory: FeatureMemory,
        camids: Int[Tensor, " n"] | None = None,
        constraints: Constraints | None = None,
        *,
        graph: Graph | None = None,
    ) -> Int[Tensor, " n"]:
        """Give the pseudo_pid of every image of the memory as it is; rows not yet written are outliers.

        Raises:
            ConfigError: infomap is asked for and not installed.
        """
        graph = self.graph(memory, camids) if graph is None else graph
        if self.once_per_camera and camids is not None:
            pseudo_pid = average_linkage(graph, self.eps, self.min_samples, camids=camids)
        else:
            pseudo_pid = ALGORITHMS[self.algorithm](graph, self.eps, self.min_samples)
        unwritten = torch.cat([torch.zeros(0, dtype=torch.bool), *zero_rows(memory)])
        pseudo_pid = numbered(pseudo_pid.masked_fill(unwritten, OUTLIER).numpy())
        return pseudo_pid if constraints is None else obey(pseudo_pid, graph, constraints)

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mine the images at `index`; the own index is always positive. Clusters anew when rows have changed."""
        pseudo_pid = self._labels(cast(FeatureMemory, memory)).to(index.device)  # lists of all rows only that one has
        own = pseudo_pid[index].unsqueeze(1)
        positives = (own == pseudo_pid) & (own != OUTLIER)
        return positives.scatter_(1, index.unsqueeze(1), True)

    def _labels(self, memory: FeatureMemory) -> Int[Tensor, " n"]:
        """Give the clusters of the memory; they hold for as long as its neighbour lists, which any change drops."""
        lists, labels = getattr(self, "_last", (lambda: None, None))
        if labels is None or memory.lists is None or lists() is not memory.lists:
            labels = self.cluster(memory)
            if memory.lists is not None:
                object.__setattr__(self, "_last", (weakref.ref(memory.lists), labels))
        return labels


def zero_rows(memory: FeatureMemory) -> list[Bool[Tensor, " b"]]:
    """Mark the rows that are not yet written, block by block."""
    blocks = torch.arange(len(memory)).split(memory.block_rows) if len(memory) else ()
    return [~memory.read(block).any(dim=1).cpu() for block in blocks]


def positives_of(pseudo_pid: Int[Tensor, " n"]) -> SparsePositives:
    """Give each image the images of its cluster as positives, an outlier itself.

    Raises:
        ResightError: they would be more than `MOST_POSITIVES`.
    """
    count, inside = sizes(pseudo_pid), pseudo_pid != OUTLIER
    total = int(count.square().sum()) + int((~inside).sum())
    if total > MOST_POSITIVES:
        raise ResightError(
            f"the largest cluster holds {int(count.max()):,} of {len(pseudo_pid):,} images, and all clusters more than "
            f"{MOST_POSITIVES:,} pairs; lower miner.eps or miner.k1"
        )
    cluster = pseudo_pid.clone()
    cluster[~inside] = len(count) + torch.arange(len(pseudo_pid) - int(inside.sum()))
    by_cluster = cluster.argsort(stable=True)
    members = Lists.from_sorted(cluster[by_cluster], by_cluster, int(cluster.max()) + 1 if len(cluster) else 0)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), members.lengths[cluster].cumsum(0)])
    return SparsePositives(offsets, members.of(cluster)[1].to(torch.int32))
