"""SMLC by loops over its definition."""

import math

from torch import Tensor


def loss(scores: Tensor, positives: Tensor, delta: float, share: float) -> float:
    """mean_i [ delta · mean_P (z − 1)² + mean_H (z + 1)² ]."""
    total = 0.0
    for row, marks in zip(scores.tolist(), positives.tolist(), strict=True):
        pull = [(z - 1) ** 2 for z, positive in zip(row, marks, strict=True) if positive]
        negatives = sorted((z for z, positive in zip(row, marks, strict=True) if not positive), reverse=True)
        count = min(len(negatives), max(1, math.floor(share * len(negatives) + 1e-6)))
        push = [(z + 1) ** 2 for z in negatives[:count]]
        total += delta * sum(pull) / max(len(pull), 1) + (sum(push) / count if count else 0.0)
    return total / len(scores)
