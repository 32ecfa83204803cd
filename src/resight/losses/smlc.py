"""SMLC: pull an image towards its mined positives, push it from its hardest negatives.

Paper: Yu & Oh 2021 (GSMLP + SMLC); the same expression as MMCL, Wang & Zhang, CVPR 2020, eq. 7, whose labels it selects
otherwise.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from resight.errors import ConfigError, ShapeError


def hardest_negatives(
    scores: Float[Tensor, "b n"], positives: Bool[Tensor, "b n"], *, share: float
) -> Bool[Tensor, "b n"]:
    """Mark, in each row, the ⌊`share` · negatives⌋ negatives that score highest: at least one where there is any."""
    negatives = ~positives
    available = negatives.sum(dim=1, keepdim=True)
    count = (available * share + 1e-6).floor().long().clamp(min=1).minimum(available)
    most = int(count.max())
    if most == 0:  # every image is positive for every other
        return torch.zeros_like(positives)
    candidates = scores.detach().masked_fill(positives, -torch.inf)
    best = candidates.topk(most, dim=1).indices
    wanted = torch.arange(most, device=scores.device) < count
    return torch.zeros_like(positives).scatter_(1, best, wanted)


@dataclass(frozen=True, slots=True)
class SMLC:
    """mean_i [ delta · mean_{j∈P(i)} (z_ij − 1)² + mean_{j∈H(i)} (z_ij + 1)² ], H(i) the hardest negatives of row i.

    Attributes:
        delta: weight of the positives, above 0.
        hard_negative_share: the papers' γ: share of the negatives that counts as hard, in (0, 1].
    """

    delta: float = 5.0
    hard_negative_share: float = 0.01

    def __post_init__(self) -> None:
        if self.delta <= 0:
            raise ConfigError(f"loss.delta must be above 0, got {self.delta}")
        if not 0 < self.hard_negative_share <= 1:
            raise ConfigError(f"loss.hard_negative_share must lie in (0, 1], got {self.hard_negative_share}")

    def __call__(self, scores: Float[Tensor, "b n"], positives: Bool[Tensor, "b n"]) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            scores: cosines z = f Mᵀ.
            positives: P; every row holds at least its own index.

        Raises:
            ShapeError: the two differ in shape.
        """
        if scores.shape != positives.shape:
            raise ShapeError(
                f"scores and positives must have one shape, got {tuple(scores.shape)} and {tuple(positives.shape)}"
            )
        hard = hardest_negatives(scores, positives, share=self.hard_negative_share)
        pull = row_mean((scores - 1).square(), positives)
        push = row_mean((scores + 1).square(), hard)
        return (self.delta * pull + push).mean()


def row_mean(values: Float[Tensor, "b n"], chosen: Bool[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Mean of the chosen values of each row; 0 where none is chosen."""
    return (values * chosen).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)
