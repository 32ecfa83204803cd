"""The camera-aware contrast: find one's identity among the rows of one's own camera, and across cameras.

Paper: Wang, Lai, Huang, Gong, AAAI 2021, "Camera-Aware Proxies for Unsupervised Person Re-Identification" (CAP), its
intra-camera and inter-camera losses; there the rows are proxies, one per cluster and camera.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from resight.errors import ConfigError
from resight.losses.parts import check_shapes, check_temperature, positive_columns, row_mean, weighed_mean


@dataclass(frozen=True, slots=True)
class CameraContrast:
    """(1 − across) · mean_i L(i; P ∩ C, C) + across · mean_i L(i; P, P ∪ H), L(i; A, B) the cross entropy within B.

    L(i; A, B) = −mean_{j∈A(i)} log( exp(z_ij/T) / Σ_{k∈B(i)} exp(z_ik/T) ); C(i) are the rows of the image's own
    camera, H(i) the negatives of all cameras that score highest. Positives of several cameras share the probability, as
    in the paper, so the second term falls to log |P(i)|, not to 0. Where no camera is known all rows count as one
    camera's: the first term is then cross entropy over all rows, the second the same over the hardest negatives.

    Attributes:
        temperature: T, above 0.
        across: weight of the second term, 0..1.
        hard_negatives: how many rows H(i) holds, 1 or more; all negatives where there are fewer.
        hard_positives: how many rows P holds in the second term: those of other cameras that score lowest, of all
            cameras where no other has one; 0: all of P.
    """

    temperature: float = 0.07
    across: float = 0.5
    hard_negatives: int = 50
    hard_positives: int = 0

    reads_cameras: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if not 0 <= self.across <= 1:
            raise ConfigError(f"loss.across must lie in [0, 1], got {self.across}")
        if self.hard_negatives < 1:
            raise ConfigError(f"loss.hard_negatives must be 1 or more, got {self.hard_negatives}")
        if self.hard_positives < 0:
            raise ConfigError(f"loss.hard_positives must be 0 (all) or more, got {self.hard_positives}")

    def __call__(
        self,
        scores: Float[Tensor, "b m"],
        positives: Bool[Tensor, "b m"],
        *,
        same_camera: Bool[Tensor, "b m"] | None = None,
        weights: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a batch.

        Args:
            scores: cosines z; a column that is −inf is not there for that row.
            positives: P; in either term a row without any counts for nothing, and the term is 0 where no row has one.
            same_camera: C; None: all rows are of one camera.
            weights: what each row counts in the means, 0 or more.

        Raises:
            ShapeError: the shapes do not fit.
        """
        check_shapes(scores, positives, same_camera, weights)
        if not scores.numel():
            return scores.sum()
        there = scores != -torch.inf
        logits, positives = scores.masked_fill(~there, 0) / self.temperature, positives & there
        camera = there if same_camera is None else same_camera & there
        hardest = highest(logits.detach(), there & ~positives, self.hard_negatives)
        within = mean_cross_entropy(logits, positives & camera, camera, weights)
        if self.hard_positives:
            away = positives & ~camera
            among = torch.where(away.any(dim=1, keepdim=True), away, positives)
            positives = highest(-logits.detach(), among, self.hard_positives)
        between = mean_cross_entropy(logits, positives, positives | hardest, weights)
        return (1 - self.across) * within + self.across * between


def highest(logits: Float[Tensor, "b m"], among: Bool[Tensor, "b m"], most: int) -> Bool[Tensor, "b m"]:
    """Mark, in each row, the `most` highest of those in `among`."""
    columns = logits.masked_fill(~among, -torch.inf).topk(min(most, logits.shape[1]), dim=1).indices
    return torch.zeros_like(among).scatter_(1, columns, True) & among


def mean_cross_entropy(
    logits: Float[Tensor, "b m"],
    positives: Bool[Tensor, "b m"],
    among: Bool[Tensor, "b m"],
    weights: Float[Tensor, " b"] | None,
) -> Float[Tensor, ""]:
    """Mean over rows of −mean_{positives} log softmax_{among}; `positives` are part of `among`."""
    # The lowest number in place of −inf, which would leave NaN in the gradient of a row with nothing to choose among.
    total = logits.masked_fill(~among, torch.finfo(logits.dtype).min).logsumexp(dim=1, keepdim=True)
    near, valid = positive_columns(positives)
    return weighed_mean(row_mean(total - logits.gather(1, near), valid), valid.any(dim=1), weights)
