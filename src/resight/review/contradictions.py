"""Answers that cannot all be right: A is B and B is C, but A is not C."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from resight.errors import DataError
from resight.review.store import Pair

Ends = tuple[int, int]


class ContradictionError(DataError):
    """Answers that contradict each other; `answers`: which, each with what it says, the "different" first."""

    def __init__(self, answers: Sequence[tuple[Pair, bool]]) -> None:
        self.answers = tuple(answers)
        (left, right), _ = self.answers[0]
        others = len(self.answers) - 1
        where = "another answer" if others == 1 else f"{others} other answers"
        super().__init__(
            f"the answers contradict each other: {left} and {right} are said to be different, and, in {where}, to be "
            f"the same; take one of these {len(self.answers)} back"
        )


def contradiction(n: int, same: Sequence[Ends], different: Sequence[Ends]) -> tuple[int, list[int]] | None:
    """Find answers about `n` pictures that contradict each other; None where all of them can be right.

    Gives the position in `different` of the first that does, and positions in `same` of a shortest chain against it;
    an empty one where it is of one picture and itself.
    """
    one, other = np.array([*same, *different], dtype=np.int64).reshape(-1, 2).T
    count = len(same)
    friends = csr_array((np.ones(count), (one[:count], other[:count])), shape=(n, n))
    part = connected_components(friends, directed=False)[1]
    broken = np.flatnonzero(part[one[count:]] == part[other[count:]])
    if not len(broken):
        return None
    left, right = different[broken[0]]
    before = dijkstra(friends, directed=False, indices=left, unweighted=True, return_predecessors=True)[1]
    place = {tuple(sorted(ends)): at for at, ends in enumerate(same)}
    chain: list[int] = []
    while right != left:
        step = int(before[right])
        chain.append(place[tuple(sorted((step, right)))])
        right = step
    return int(broken[0]), chain[::-1]
