"""Retrieval measured by plain loops, one query and one gallery image at a time."""

import math
from dataclasses import dataclass

from resight.types import Split


@dataclass
class SlowMetrics:
    """One query: ranks of its right answers, AP, INP (NaN where there are none)."""

    ranks: list[int]
    ap: float
    inp: float


def slow_metrics(scores: list[float], right: list[bool], left_out: list[bool]) -> SlowMetrics:
    """Rank one query's gallery by sorting it and walk down the list."""
    kept = [j for j in range(len(scores)) if not left_out[j]]
    ordered = sorted(kept, key=lambda j: (-scores[j], j))
    ranks = [place for place, j in enumerate(ordered, start=1) if right[j]]
    if not ranks:
        return SlowMetrics([], math.nan, math.nan)
    total = 0.0
    for rank in ranks:
        matches_so_far = sum(1 for j in ordered[:rank] if right[j])
        total += matches_so_far / rank
    return SlowMetrics(ranks, total / len(ranks), len(ranks) / ranks[-1])


def slow_protocol(query: Split, gallery: Split) -> tuple[list[list[bool]], list[list[bool]]]:
    """Give right and left-out marks, [query][gallery]."""
    right, left_out = [], []
    for q in query:
        right_row, left_out_row = [], []
        for g in gallery:
            out = False
            if g.pid == -1 or q.path.resolve() == g.path.resolve():
                out = True
            if q.camid is not None and g.camid is not None and q.pid == g.pid and q.camid == g.camid:
                out = True
            left_out_row.append(out)
            right_row.append(q.pid == g.pid and not out)
        right.append(right_row)
        left_out.append(left_out_row)
    return right, left_out
