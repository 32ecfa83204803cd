"""InfoNCE: tell an image's positives from all other rows; with one row per cluster it is ClusterNCE.

Papers: van den Oord, Li, Vinyals 2018, eq. 4; Dai, Wang, Yuan, Zhu, Tan, ACCV 2022 (Cluster-Contrast).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from resight.losses.parts import check_shapes, check_temperature, positive_columns, row_mean, weighed_mean


@dataclass(frozen=True, slots=True)
class InfoNCE:
    """mean_i mean_{j∈P(i)} −log( exp(z_ij/T) / (exp(z_ij/T) + Σ_{k∉P(i)} exp(z_ik/T)) ).

    With one positive in each row it is the cross entropy of z/T. Several do not compete: each is told from the
    negatives alone, so none is pushed away for another's sake, and the loss of a row that tells all apart is 0.

    Attributes:
        temperature: T, above 0; the smaller, the more the hardest negatives count.
    """

    temperature: float = 0.05

    reads_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def __call__(
        self,
        scores: Float[Tensor, "b m"],
        positives: Bool[Tensor, "b m"],
        *,
        weights: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            scores: cosines z; a column that is −inf is not there for that row.
            positives: P; a row without any counts for nothing, and the loss is 0 where no row has one.
            weights: what each row counts in the mean, 0 or more.

        Raises:
            ShapeError: the shapes do not fit.
        """
        check_shapes(scores, positives, None, weights)
        if not scores.numel():
            return scores.sum()
        gone = scores == -torch.inf
        logits = scores.masked_fill(gone, 0) / self.temperature
        # The lowest number in place of −inf, which would leave NaN in the gradient of a row without negatives.
        lowest = torch.finfo(logits.dtype).min
        negatives = logits.masked_fill(positives | gone, lowest).logsumexp(dim=1, keepdim=True)
        near, valid = positive_columns(positives & ~gone)
        losses = row_mean(-logsigmoid(logits.gather(1, near) - negatives), valid)
        return weighed_mean(losses, valid.any(dim=1), weights)
