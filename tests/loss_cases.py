"""Seeded scores and positives for the tests of losses."""

import torch
from torch import Tensor

SHARES = (0.01, 0.1, 0.5, 1.0)


def loss_case(seed: int) -> tuple[Tensor, Tensor, float]:
    """Scores in [−1, 1] (rounded to thirds, so tied, in each third case), positives few to nearly all, and a share."""
    generator = torch.Generator().manual_seed(seed)
    b, n = (int(torch.randint(1, high, (), generator=generator)) for high in (9, 70))
    scores = torch.rand(b, n, generator=generator, dtype=torch.float64) * 2 - 1
    if seed % 3 == 0:
        scores = (scores * 3).round() / 3
    positives = torch.rand(b, n, generator=generator) < [0.05, 0.5, 0.95][seed % 3]
    positives[:, 0] = True
    return scores, positives, SHARES[seed % 4]
