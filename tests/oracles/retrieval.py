"""Retrieval measured by plain loops, one query and one gallery image at a time."""

import itertools
import math
from dataclasses import dataclass

from resight.protocols import GENERAL, EvaluationProtocol
from resight.types import Sample, Split


@dataclass
class SlowMetrics:
    """One query: ranks of its right answers, AP, trapezoid AP, INP (NaN where there are none)."""

    ranks: list[int]
    ap: float
    trapezoid_ap: float
    inp: float


def slow_metrics(scores: list[float], right: list[bool], left_out: list[bool]) -> SlowMetrics:
    """Rank one query's gallery by sorting it and walk down the list."""
    kept = [j for j in range(len(scores)) if not left_out[j]]
    ordered = sorted(kept, key=lambda j: (-scores[j], j))
    ranks = [place for place, j in enumerate(ordered, start=1) if right[j]]
    if not ranks:
        return SlowMetrics([], math.nan, math.nan, math.nan)
    total = 0.0
    for rank in ranks:
        matches_so_far = sum(1 for j in ordered[:rank] if right[j])
        total += matches_so_far / rank
    area = slow_area([right[j] for j in ordered])
    return SlowMetrics(ranks, total / len(ranks), area, len(ranks) / ranks[-1])


def slow_area(hits: list[bool]) -> float:
    """Draw the whole curve of precision over recall, one point a rank, and take the area under straight lines."""
    points = [(0.0, 1.0)]
    for rank in range(1, len(hits) + 1):
        so_far = sum(hits[:rank])
        points.append((so_far / sum(hits), so_far / rank))
    area = 0.0
    for (before, first), (after, second) in itertools.pairwise(points):
        area += (after - before) * (first + second) / 2
    return area


def same_picture(q: Sample, g: Sample) -> bool:
    return q.path.resolve() == g.path.resolve() and q.box == g.box


def out_by_rule(q: Sample, g: Sample, protocol: EvaluationProtocol) -> bool:
    """What camera, time and tracklet leave out."""
    both_known = q.camid is not None and g.camid is not None
    same_camera = both_known and q.camid == g.camid
    if protocol.cameras == "own" and same_camera and q.pid == g.pid:
        return True
    if protocol.cameras == "all" and same_camera:
        return True
    if q.tracklet is not None and q.tracklet == g.tracklet:
        return True
    if protocol.seconds and q.pid == g.pid and (same_camera or not both_known):
        return (
            q.timestamp is not None and g.timestamp is not None and abs(q.timestamp - g.timestamp) <= protocol.seconds
        )
    return False


def slow_protocol(
    query: Split, gallery: Split, protocol: EvaluationProtocol = GENERAL
) -> tuple[list[list[bool]], list[list[bool]]]:
    """Give right and left-out marks, [query][gallery]."""
    right, left_out = [], []
    for q in query:
        right_row, left_out_row = [], []
        for g in gallery:
            out = g.pid == -1 or same_picture(q, g) or out_by_rule(q, g, protocol)
            left_out_row.append(out)
            right_row.append(q.pid == g.pid and not out)
        right.append(right_row)
        left_out.append(left_out_row)
    return right, left_out


def slow_draw(
    scores: list[list[float]], query: Split, gallery: Split, protocol: EvaluationProtocol, keys: list[int], shots: int
) -> list[SlowMetrics]:
    """Draw, for each query, the `shots` images of each identity with the smallest keys, and rank those alone."""
    found = []
    for row, q in zip(scores, query, strict=True):
        by_pid: dict[int, list[int]] = {}
        for j, g in enumerate(gallery):
            if g.pid != -1 and not out_by_rule(q, g, protocol):
                by_pid.setdefault(g.pid, []).append(j)
        drawn = [j for members in by_pid.values() for j in sorted(members, key=lambda j: keys[j])[:shots]]
        kept = [j for j in drawn if not same_picture(q, gallery.samples[j])]
        left_out = [j not in kept for j in range(len(gallery))]
        found.append(slow_metrics(row, [g.pid == q.pid for g in gallery], left_out))
    return found
