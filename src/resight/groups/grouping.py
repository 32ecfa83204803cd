"""Crops → groups, on arrays: what `resight group` and whoever holds embeddings can call."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from resight.calibrate import Calibration
from resight.errors import DataError, ShapeError
from resight.groups.linkage import linked
from resight.groups.links import NO_GROUP, Links, no_links
from resight.groups.places import cut_where_unmatched, placed, scored
from resight.groups.settings import Rules, compared
from resight.matching import Thresholds
from resight.score_counts import Progress


@dataclass(frozen=True)
class Grouping:
    """Groups of N crops.

    Attributes:
        group: number of each crop's group, 1 up; `NO_GROUP` for a crop that is alone.
        confidence: how sure each crop is of its place, 0..1: its mean similarity to the others of its group, as a share
            of this and of that to the next best place. ½ is a toss-up.
        rival: number of the group that is the next best place; `NO_GROUP` where there is none, or it is a crop alone.
        probability: mean calibrated probability of the crop's pairs with the others of its group; NaN where it is
            alone or nothing is calibrated.
        best: its largest cosine to another of its group; −1 where it is alone.
        matched: whether one of its cosines to these reaches the threshold; False where there is none.
        thresholds: what that means; None: nothing tells who matches.
    """

    group: Int64[np.ndarray, " n"]
    confidence: Float64[np.ndarray, " n"]
    rival: Int64[np.ndarray, " n"]
    probability: Float64[np.ndarray, " n"]
    best: Float64[np.ndarray, " n"]
    matched: Bool[np.ndarray, " n"]
    thresholds: Thresholds | None = None

    def __len__(self) -> int:
        return len(self.group)

    @property
    def groups(self) -> int:
        """How many groups of several crops there are."""
        return len(np.unique(self.group[self.group != NO_GROUP]))

    @property
    def alone(self) -> int:
        """How many crops are alone."""
        return int((self.group == NO_GROUP).sum())


def group_crops(
    embeddings: Float[Tensor, "n d"],
    camids: Int[Tensor, " n"],
    rules: Rules,
    *,
    links: Links | None = None,
    calibration: Calibration | None = None,
    thresholds: Thresholds | None = None,
    progress: Progress | None = None,
) -> Grouping:
    """Group crops without knowing how many identities there are.

    Args:
        embeddings: unit rows.
        camids: `UNKNOWN_CAMID` where a camera is not known.
        rules: see `settings.settled`. Strict ones cut groups into what pairs that reach the thresholds hold together,
            so that a crop that matches nobody is alone; without thresholds nothing is cut.
        links: what is known: answers, tracklets, an earlier result; None: nothing.
        calibration: gives `probability`.
        thresholds: give `matched`.
        progress: told rows searched and rows in all.

    Raises:
        DataError: there is no crop.
        ShapeError: cameras or links are of another number of crops.
    """
    if not len(embeddings):
        raise DataError("there is nothing to group: no image was given; see `resight data`")
    links = links or no_links(len(embeddings))
    if len(camids) != len(embeddings):
        raise ShapeError(f"camids must be {len(embeddings)}, one for each crop, got {len(camids)}")
    camids = camids.cpu()
    graph = compared(embeddings, camids, rules, progress=progress)
    cluster = linked(graph, rules.eps, links, camids if rules.camera_once else None)
    if thresholds is not None and rules.strict:
        cluster = cut_where_unmatched(embeddings, cluster, camids, thresholds, links)
    places = placed(graph, cluster, links, rules.eps)
    said = scored(embeddings, cluster, camids, calibration, thresholds)
    number = numbered(cluster, links.known)
    of_cluster = np.append(_of_clusters(cluster, number), NO_GROUP)
    return Grouping(
        number, places.confidence, of_cluster[places.rival], said.probability, said.best, said.matched, thresholds
    )


def numbered(cluster: Int64[np.ndarray, " n"], known: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Number clusters of several crops from 1, `NO_GROUP` for one crop alone; what had a number keeps it.

    A cluster takes the lowest number of the earlier groups most of whose crops it holds; others follow on the highest,
    by their first crop. A number that no cluster takes is not used again.
    """
    size = np.bincount(cluster)
    had = known != NO_GROUP
    pairs, votes = np.unique(np.stack([known[had], cluster[had]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -votes, pairs[0]))
    earlier, first = np.unique(pairs[0][order], return_index=True)
    number = np.full(len(size), NO_GROUP, dtype=np.int64)
    for old, holder in zip(earlier[::-1].tolist(), pairs[1][order][first][::-1].tolist(), strict=True):
        number[holder] = old
    number[size < 2] = NO_GROUP
    fresh = np.flatnonzero((number == NO_GROUP) & (size > 1))
    number[fresh] = max(int(known.max(initial=0)), 0) + 1 + np.arange(len(fresh))
    return number[cluster]


def _of_clusters(cluster: Int64[np.ndarray, " n"], number: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " m"]:
    result = np.full(int(cluster.max()) + 1, NO_GROUP, dtype=np.int64)
    result[cluster] = number
    return result
