"""Which cosines are a match: as the user says, or as the run's calibration has it at a false-match rate."""

from jaxtyping import Float, Int
from torch import Tensor

from resight.calibrate import Calibration, Curve, check_rate
from resight.calibration_fit import curve_of_odds
from resight.errors import ConfigError
from resight.groups.places import Threshold
from resight.score_counts import Progress, cameras_known, count_pairs, within_camera

Images = tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]
"""Unit rows, and their cameras."""


def chosen_threshold(
    calibration: Calibration | None,
    images: Images,
    threshold: float | None = None,
    rate: float | None = None,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> Threshold | None:
    """Give the threshold of a grouping; None where nothing tells one.

    Args:
        calibration: of the run; None: it has none.
        images: what is grouped.
        threshold: a cosine, as the user says.
        rate: the false-match rate that the user asks for; None: the one that was calibrated. At another one than that
            the threshold is where the curve of the calibration splits all pairs of `images` so: the share of their
            different pairs that reach it is `rate`.
        strict: whether groups are cut by it; they are whenever the user has given a threshold or a rate.

    Raises:
        ConfigError: both are given, the threshold is no cosine, the rate is not between 0 and 1 or below what so many
            images can tell, or there is no calibration to ask.
    """
    if threshold is not None:
        if rate is not None:
            raise ConfigError("--threshold and --false-match-rate exclude each other; give one of them")
        if not -1 <= threshold <= 1:
            raise ConfigError(f"--threshold is a cosine and must lie in -1..1, got {threshold:g}")
        return Threshold(threshold, threshold, strict=True)
    if rate is not None:
        check_rate(rate)
    if calibration is None:
        if rate is not None:
            raise ConfigError(
                "--false-match-rate needs a calibration, and the run has none; make one with resight calibrate, or "
                "give --threshold"
            )
        return None
    across, within = calibration.across, calibration.within
    strict = strict or rate is not None
    if rate is None or rate == calibration.false_match_rate:
        if across is not None and within is not None:
            return Threshold(across.threshold, within.threshold, calibration.false_match_rate, strict)
        return Threshold(calibration.threshold, calibration.threshold, calibration.false_match_rate, strict)
    embeddings, camids = images
    camids = camids.to(embeddings.device)
    kinds = count_pairs(embeddings, 2, lambda rows: within_camera(camids, rows).long(), progress=progress)
    if across is not None and within is not None and cameras_known(camids):
        return Threshold(_at(kinds[0], across, rate), _at(kinds[1], within, rate), rate, strict=True)
    level = _at(kinds.sum(0), calibration.curve, rate)
    return Threshold(level, level, rate, strict=True)


def _at(counts: Float[Tensor, " cells"], curve: Curve, rate: float) -> float:
    return curve_of_odds(counts, curve.intercept, curve.slope, rate).threshold
