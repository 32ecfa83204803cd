"""What a person should look at first: groups with their members, and the most doubtful crops and pairs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from resight.groups.grouping import Grouping
from resight.groups.links import NO_GROUP

CLOSEST = 4096
"""Crops of a group that a crop's closest one is looked for among, so that no huge group holds a page up."""


@dataclass(frozen=True)
class Group:
    """One identity as found.

    Attributes:
        number: of the group, 1 up.
        members: positions of its crops, the least sure of their place first.
        confidence: of each member, in that order.
        doubt: 1 − the least of these, 0..1.
    """

    number: int
    members: tuple[int, ...]
    confidence: tuple[float, ...]

    @property
    def doubt(self) -> float:
        """How much its weakest member could be elsewhere."""
        return 1.0 - self.confidence[0]

    @property
    def mean_confidence(self) -> float:
        """Mean over the members."""
        return sum(self.confidence) / len(self.confidence)


@dataclass(frozen=True)
class DoubtfulPair:
    """Two crops to ask a person about.

    Attributes:
        left, right: positions; `left` is the crop that is in doubt.
        together: whether they are in one group now.
        score: their cosine.
        doubt: 0..1; how likely an answer is to move `left`.
    """

    left: int
    right: int
    together: bool
    score: float
    doubt: float


def groups_to_review(grouping: Grouping) -> list[Group]:
    """Give all groups of several crops, the most doubtful first; of equally doubtful ones the lowest number."""
    order = np.lexsort((np.arange(len(grouping)), grouping.confidence, grouping.group))
    order = order[grouping.group[order] != NO_GROUP]
    cuts = np.flatnonzero(np.diff(grouping.group[order])) + 1
    groups = [
        Group(int(grouping.group[run[0]]), tuple(run.tolist()), tuple(grouping.confidence[run].tolist()))
        for run in (np.split(order, cuts) if len(order) else ())
    ]
    return sorted(groups, key=lambda group: (-group.doubt, group.number))


def crops_to_review(grouping: Grouping) -> list[int]:
    """Give all crops, the least sure of their place first."""
    return np.argsort(grouping.confidence, kind="stable").tolist()


def pairs_to_review(grouping: Grouping, embeddings: Float[Tensor, "n d"], count: int = 100) -> list[DoubtfulPair]:
    """Give pairs whose answers would tell most, the most doubtful first.

    For each doubtful crop two: with the closest crop of its own group ("does it belong here?"), and with the closest of
    the group that is its next best place ("or there?"). No pair is given twice.
    """
    places = {number: _crops(grouping, number) for number in np.unique(grouping.group).tolist() if number != NO_GROUP}
    found: list[DoubtfulPair] = []
    seen: set[tuple[int, int]] = set()
    for crop in crops_to_review(grouping):
        for pair in _asked(grouping, embeddings, places, crop):
            key = (min(pair.left, pair.right), max(pair.left, pair.right))
            if key not in seen:
                seen.add(key)
                found.append(pair)
        if len(found) >= count:
            break
    return found[:count]


def _crops(grouping: Grouping, number: int) -> np.ndarray:
    return np.flatnonzero(grouping.group == number)


def _asked(
    grouping: Grouping, embeddings: Float[Tensor, "n d"], places: dict[int, np.ndarray], crop: int
) -> Iterator[DoubtfulPair]:
    for number in (int(grouping.group[crop]), int(grouping.rival[crop])):
        others = places.get(number, np.zeros(0, dtype=np.int64))[:CLOSEST]
        others = others[others != crop]
        if len(others):
            scores = embeddings[others] @ embeddings[crop]
            best = int(scores.argmax())
            together = number == int(grouping.group[crop])
            yield DoubtfulPair(
                crop, int(others[best]), together, float(scores[best]), 1.0 - float(grouping.confidence[crop])
            )
