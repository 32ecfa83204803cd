"""A calibration held against identities: for checking, never part of a fit."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from resight.calibrate import Calibration, Curve, Reliability, reliability
from resight.calibration_sources import Scored, count_by_identity
from resight.errors import DataError
from resight.score_counts import CELLS, Progress, middles, share_from

BEST_SHARES = (0.01, 0.001)
"""Best-scoring shares of all pairs whose probabilities are checked.

Over all pairs the error is next to nothing for any curve, since nearly all pairs are different and far from alike.
"""


@dataclass(frozen=True)
class Check:
    """What is true of a calibration's claims.

    `false_match_rate`, `true_match_rate`: shares of different and of same pairs that reach the threshold. `same_share`:
    of all pairs. `reliability`: of the best-scoring `BEST_SHARES[0]` of all pairs. `errors`: expected calibration
    error among each of `BEST_SHARES`.
    """

    false_match_rate: float
    true_match_rate: float
    same_share: float
    reliability: Reliability
    errors: tuple[float, ...]

    def lines(self, calibration: Calibration) -> list[str]:
        """Say it."""
        best = ", ".join(f"{e:.3f} among the best {100 * s:g} %" for s, e in zip(BEST_SHARES, self.errors, strict=True))
        return [
            "checked against the identities of these images (for checking, not used in the fit): "
            f"false-match rate {self.false_match_rate:.3g} where {calibration.false_match_rate:g} was asked, "
            f"true-match rate {100 * self.true_match_rate:.1f} %, share of same pairs {self.same_share:.3g}, "
            f"error of the probability {best} of {'pairs across cameras' if calibration.across_alone else 'all pairs'}"
        ]

    def to_json(self) -> dict[str, Any]:
        """Give the figures."""
        figures = dataclasses.asdict(self) | {"errors": dict(zip(map(str, BEST_SHARES), self.errors, strict=True))}
        figures["reliability"]["error"] = self.reliability.error
        return figures


def check_by_identity(scored: Scored, calibration: Calibration, *, progress: Progress | None = None) -> Check:
    """Hold a calibration against the identities of some images, over all pairs that it is of.

    Raises:
        DataError: not every image has an identity, or pairs of one kind are missing.
    """
    across, within = count_by_identity(scored, progress=progress)
    counts = across if calibration.across_alone else across + within
    return check_counts(calibration.curve, counts[1], counts[0])


def check_counts(curve: Curve, same: Float[Tensor, " cells"], different: Float[Tensor, " cells"]) -> Check:
    """Hold a curve against counted scores of same and of different pairs.

    Raises:
        DataError: pairs of one kind are missing.
    """
    if not (bool(same.sum() > 0) and bool(different.sum() > 0)):
        raise DataError("a check needs same and different pairs; take images of several identities, seen several times")
    found = [_among_best(curve, same, different, share) for share in BEST_SHARES]
    return Check(
        share_from(different, curve.threshold),
        share_from(same, curve.threshold),
        float(same.sum() / (same.sum() + different.sum())),
        found[0],
        tuple(one.error for one in found),
    )


def _among_best(curve: Curve, same: Tensor, different: Tensor, share: float) -> Reliability:
    """Compare among the best-scoring `share` of pairs, or a whole cell of scores more."""
    pairs = same + different
    tail = pairs.flip(0).cumsum(0).flip(0)
    first = int((tail > share * tail[0]).nonzero()[-1])
    probability = curve.log_odds(middles()).sigmoid()
    kept = torch.arange(CELLS) >= first
    return reliability(probability[kept], same[kept], pairs[kept])
