"""What is known of who is the same before any score is looked at: answers, tracklets, moments, an earlier grouping.

A person's answers come first: "same" is carried on (a = b and b = c make a = c), "different" holds for all that is the
same as either. A tracklet, or a group of an earlier result, that would bring together what answers keep apart is not
used as a whole, and is counted. Images of one moment are kept apart unless something above says that they are the same.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64

from resight.constraints import Constraints
from resight.errors import DataError

NO_GROUP = -1
"""Number of a crop that no earlier result put into a group."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class Links:
    """Crops that are together whatever they score, and those of them that are kept apart.

    Attributes:
        certain: part of each crop by answers and tracklets, 0 up.
        together: part of each crop by these and by the groups of an earlier result, 0 up.
        apart: pairs (lower, higher) of parts of `together` that are different ones, each once, rising.
        fixed: of each part of `together` whether it is of an earlier result; no two such are merged.
        known: number of each crop in an earlier result, `NO_GROUP` where it has none.
        broken_tracklets, broken_groups: how many answers contradict.
    """

    certain: Int64[np.ndarray, " n"]
    together: Int64[np.ndarray, " n"]
    apart: Int64[np.ndarray, "p 2"]
    fixed: Bool[np.ndarray, " m"]
    known: Int64[np.ndarray, " n"]
    broken_tracklets: int = 0
    broken_groups: int = 0

    def __len__(self) -> int:
        return len(self.together)

    @property
    def parts(self) -> int:
        """How many parts of `together` there are."""
        return len(self.fixed)


def no_links(n: int) -> Links:
    """Give the links of `n` crops of which nothing is known."""
    return find_links(n)


def find_links(
    n: int,
    *,
    same: Sequence[Pair] = (),
    different: Sequence[Pair] = (),
    seen: Constraints | None = None,
    known: Int[np.ndarray, " n"] | None = None,
    earlier: Bool[np.ndarray, " n"] | None = None,
    names: Sequence[str] = (),
) -> Links:
    """Work out what is together and what is apart.

    Args:
        n: how many crops there are.
        same, different: a person's answers, as pairs of crops.
        seen: tracklets and moments.
        known: number of each crop in an earlier result, `NO_GROUP` for one that is new or was alone.
        earlier: which crops an earlier result holds, in a group or alone.
        names: of the crops, for errors.

    Raises:
        DataError: answers contradict each other.
    """
    parts = Parts(n)
    for one, other in same:
        parts.unite(one, other)
    for one, other in different:
        if not parts.separate(one, other):
            raise contradiction(one, other, same, names)
    tracklets = [] if seen is None else _of_several(seen.group.numpy())
    broken_tracklets = sum(not parts.unite_all(members) for members in tracklets)
    certain = parts.numbered()
    known = np.full(n, NO_GROUP) if known is None else np.asarray(known, dtype=np.int64)
    earlier = known != NO_GROUP if earlier is None else earlier
    groups = _of_several(known, without=NO_GROUP)
    opened = [members for members in groups if not parts.unite_all(members)]
    earlier = earlier.copy()
    for members in opened:
        earlier[members] = False  # where answers take a group apart, its crops look for their place anew
    together = parts.numbered()
    fixed = np.zeros(int(together.max(initial=-1)) + 1, dtype=bool)
    fixed[together[earlier]] = True
    apart = _pairs(together, different, seen)
    return Links(certain, together, apart, fixed, known, broken_tracklets, len(opened))


class Parts:
    """Sets of crops that are the same one, and which of these sets are different ones."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))
        self.enemies: dict[int, set[int]] = {}

    def find(self, crop: int) -> int:
        """Give the crop that stands for all of its set."""
        while self.parent[crop] != crop:
            self.parent[crop] = self.parent[self.parent[crop]]
            crop = self.parent[crop]
        return crop

    def unite(self, one: int, other: int) -> bool:
        """Make two sets one; False, and nothing done, where they are kept apart."""
        low, high = sorted((self.find(one), self.find(other)))
        if high in self.enemies.get(low, ()):
            return False
        if low != high:
            self.parent[high] = low
            for enemy in self.enemies.pop(high, ()):
                self.enemies[enemy].discard(high)
                self.enemies[enemy].add(low)
                self.enemies.setdefault(low, set()).add(enemy)
        return True

    def unite_all(self, crops: Sequence[int]) -> bool:
        """Make the sets of all these crops one; False, and nothing done, where any two are kept apart."""
        roots = {self.find(crop) for crop in crops}
        if any(not roots.isdisjoint(self.enemies.get(root, ())) for root in roots):
            return False
        for crop in crops:
            self.unite(crops[0], crop)
        return True

    def separate(self, one: int, other: int) -> bool:
        """Keep two sets apart; False, and nothing done, where they are one."""
        first, second = self.find(one), self.find(other)
        if first == second:
            return False
        self.enemies.setdefault(first, set()).add(second)
        self.enemies.setdefault(second, set()).add(first)
        return True

    def numbered(self) -> Int64[np.ndarray, " n"]:
        """Number the sets 0, 1, 2 ... by their first crop."""
        roots = np.array([self.find(crop) for crop in range(len(self.parent))], dtype=np.int64)
        return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def contradiction(one: int, other: int, same: Sequence[Pair], names: Sequence[str]) -> DataError:
    """Build the error for two crops that are said to be different and, directly or through others, the same."""
    left, right, *between = (
        names[crop] if names else f"crop {crop}" for crop in [one, other, *_between(one, other, same)]
    )
    through = f" through {', '.join(between)}" if between else ""
    return DataError(
        f"the answers contradict each other: {left} and {right} are said to be different, and to be the same"
        f"{through}; correct one of these answers"
    )


def _between(one: int, other: int, same: Sequence[Pair]) -> list[int]:
    """Give the crops on a shortest chain of "same" from one to the other, without these two."""
    friends: dict[int, list[int]] = {}
    for left, right in same:
        friends.setdefault(left, []).append(right)
        friends.setdefault(right, []).append(left)
    before, queue = {one: one}, deque([one])
    while queue and other not in before:
        crop = queue.popleft()
        for friend in friends.get(crop, ()):
            if friend not in before:
                before[friend] = crop
                queue.append(friend)
    chain, crop = [], before[other]
    while crop != one:
        chain.append(crop)
        crop = before[crop]
    return chain[::-1]


def _of_several(labels: Int[np.ndarray, " n"], without: int | None = None) -> list[list[int]]:
    """Give the crops of each label that several share, by label."""
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    runs: Iterable[np.ndarray] = np.split(order, cuts) if len(order) else ()
    return [run.tolist() for run in runs if len(run) > 1 and labels[run[0]] != without]


def _pairs(
    together: Int64[np.ndarray, " n"], different: Sequence[Pair], seen: Constraints | None
) -> Int64[np.ndarray, "p 2"]:
    """Give the pairs of parts that answers, or moments, keep apart."""
    pairs = together[np.array(different, dtype=np.int64).reshape(-1, 2)]
    if seen is not None and len(seen.apart.items):
        first = together[seen.members.items[seen.members.offsets[:-1]].numpy()]
        owner, other = seen.apart.of(torch.arange(len(first)))
        at_once = np.stack([first[owner.numpy()], first[other.numpy()]], axis=1)
        pairs = np.concatenate([pairs, at_once[at_once[:, 0] != at_once[:, 1]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)
