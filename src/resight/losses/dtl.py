"""DTL, the dictionary-based triplet loss: positives in the memory closer than its hardest negatives.

Paper: Yu & Oh, IROS 2021, "Unsupervised Vehicle Re-Identification via Self-supervised Metric Learning using Feature
Dictionary" (SSML-FD). `DTL` is the loss as its authors' code has it, which compares positives and negatives with fixed
targets and has no margin; `DTLTriplet` is what the name says.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from resight.errors import ConfigError
from resight.losses.parts import Chosen, check_delta, check_share, positives_and_hardest, pull_and_push, row_mean


@dataclass(frozen=True, slots=True)
class DTL:
    """mean_i [ mean_{j∈P(i)} (1 − z_ij)² + delta · mean_{j∈H(i)} (1 + z_ij)² ], H(i) the hardest negatives of row i.

    Attributes:
        delta: weight of the negatives, above 0.
        hard_negative_share: share of the negatives that counts as hard, in (0, 1].
    """

    delta: float = 0.4
    hard_negative_share: float = 0.01

    def __post_init__(self) -> None:
        check_delta(self.delta)
        check_share(self.hard_negative_share)

    def __call__(self, scores: Float[Tensor, "b n"], positives: Bool[Tensor, "b n"]) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            scores: cosines z = f Mᵀ.
            positives: P; every row holds at least its own index.

        Raises:
            ShapeError: the two differ in shape.
        """
        pull, push = pull_and_push(scores, positives, share=self.hard_negative_share)
        return (pull + self.delta * push).mean()


@dataclass(frozen=True, slots=True)
class DTLTriplet:
    """mean_i mean_{j∈P(i), h∈H(i)} max(0, z_ih − z_ij + margin), H(i) the hardest negatives of row i.

    A row without negatives counts 0.

    Attributes:
        margin: by how much a positive should score above a hard negative, 0 or more; cosines lie at most 2 apart.
        hard_negative_share: share of the negatives that counts as hard, in (0, 1].
    """

    margin: float = 0.3
    hard_negative_share: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 2:
            raise ConfigError(f"loss.margin must lie in [0, 2], a difference of two cosines, got {self.margin}")
        check_share(self.hard_negative_share)

    def __call__(self, scores: Float[Tensor, "b n"], positives: Bool[Tensor, "b n"]) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            scores: cosines z = f Mᵀ.
            positives: P; every row holds at least its own index.

        Raises:
            ShapeError: the two differ in shape.
        """
        near, hard = positives_and_hardest(scores, positives, share=self.hard_negative_share)
        return row_mean(mean_excess(near.scores - self.margin, hard), near.valid).mean()


def mean_excess(floors: Float[Tensor, "b p"], hard: Chosen) -> Float[Tensor, "b p"]:
    """mean_{h∈H} max(0, z_h − floor) for each floor of each row, without a (p, h) table; 0 where H is empty.

    The negatives above a floor are the first c of the row's descending list, and Σ (z_h − floor) over them is a prefix
    sum less c · floor: exact, with c found by bisection. `hard` is sorted, hardest first.
    """
    # Only differences count; measured from the row's highest negative, sums of many in float32 lose nothing.
    highest = hard.scores[:, :1].detach()
    negatives = (hard.scores - highest).masked_fill(~hard.valid, 0)
    floors = floors - highest
    rising = (-negatives.detach()).masked_fill(~hard.valid, torch.inf)
    above = torch.searchsorted(rising, -floors.detach())  # how many negatives lie strictly above each floor
    sums = pad(negatives.cumsum(dim=1), (1, 0)).gather(1, above)
    return (sums - above * floors) / hard.valid.sum(dim=1, keepdim=True).clamp(min=1)
