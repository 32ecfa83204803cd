"""SMLC: pull an image towards its mined positives, push it from its hardest negatives.

Paper: Yu & Oh 2021 (GSMLP + SMLC); the same expression as MMCL, Wang & Zhang, CVPR 2020, eq. 7, whose labels it selects
otherwise.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from resight.losses.parts import check_delta, check_share, pull_and_push


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
        return (self.delta * pull + push).mean()
