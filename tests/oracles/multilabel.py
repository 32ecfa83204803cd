"""MMCL, SMLC, DTL and its triplet form by loops over their definitions."""

import math

from torch import Tensor


def positives_and_hardest(row: list[float], marks: list[bool], share: float) -> tuple[list[float], list[float]]:
    """Scores of P, and of the ⌊share · negatives⌋ highest negatives: at least one where there is any."""
    near = [z for z, positive in zip(row, marks, strict=True) if positive]
    negatives = sorted((z for z, positive in zip(row, marks, strict=True) if not positive), reverse=True)
    count = min(len(negatives), max(1, math.floor(share * len(negatives) + 1e-6)))
    return near, negatives[:count]


def mean(values: list[float]) -> float:
    """Mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def mmcl(scores: Tensor, positives: Tensor, delta: float, share: float) -> float:
    """mean_i [ delta · mean_P (z − 1)² + mean_H (z + 1)² ]: MMCL and SMLC."""
    total = 0.0
    for row, marks in zip(scores.tolist(), positives.tolist(), strict=True):
        near, hard = positives_and_hardest(row, marks, share)
        total += delta * mean([(z - 1) ** 2 for z in near]) + mean([(z + 1) ** 2 for z in hard])
    return total / len(scores)


def dtl(scores: Tensor, positives: Tensor, delta: float, share: float) -> float:
    """mean_i [ mean_P (1 − z)² + delta · mean_H (1 + z)² ]."""
    total = 0.0
    for row, marks in zip(scores.tolist(), positives.tolist(), strict=True):
        near, hard = positives_and_hardest(row, marks, share)
        total += mean([(1 - z) ** 2 for z in near]) + delta * mean([(1 + z) ** 2 for z in hard])
    return total / len(scores)


def dtl_triplet(scores: Tensor, positives: Tensor, margin: float, share: float) -> float:
    """mean_i mean_{P × H} max(0, z_h − z_p + margin)."""
    total = 0.0
    for row, marks in zip(scores.tolist(), positives.tolist(), strict=True):
        near, hard = positives_and_hardest(row, marks, share)
        total += mean([max(0.0, h - p + margin) for p in near for h in hard])
    return total / len(scores)
