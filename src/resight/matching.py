"""From which cosine on a pair counts as a match: as the user says, or at a false-match rate; one rule for all commands.

A pair is of one camera where both cameras are known and equal. Every other pair counts as one across cameras, also
where a camera is not known: two unknown cameras are not one camera.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.calibrate import Calibration, Curve, check_rate
from resight.calibration_fit import curve_of_odds
from resight.errors import ConfigError
from resight.score_counts import Progress, count_pairs
from resight.types import UNKNOWN_CAMID

SAME_RATE = 1e-9
"""Two false-match rates closer than this, relative to them, are one."""

Images = tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]
"""Unit rows, and their cameras, below 0 where they are not known."""


@dataclass(frozen=True)
class Thresholds:
    """Cosines from which on a pair is a match: across cameras and within one, equal where these are not told apart.

    `rate`: share of different pairs that may reach them; None where the user has set the cosine.
    """

    across: float
    within: float
    rate: float | None = None

    @property
    def lowest(self) -> float:
        """The cosine below which no pair is a match."""
        return min(self.across, self.within)

    @property
    def by_camera(self) -> bool:
        """Whether it matters which cameras a pair is of."""
        return self.across != self.within

    def reached(self, scores: Float[Tensor, " *b"], same_camera: Bool[Tensor, " *b"]) -> Bool[Tensor, " *b"]:
        """Mark the pairs that reach theirs; `same_camera`: as the function of that name gives it."""
        return (scores >= self.within).where(same_camera, scores >= self.across)

    def to_json(self) -> dict[str, float]:
        """Give the two cosines in JSON's types."""
        return {"across": self.across, "within": self.within}

    def __str__(self) -> str:
        if not self.by_camera:
            return f"{self.across:.4f}"
        return f"{self.across:.4f} across cameras and {self.within:.4f} within one"


def same_camera(one: Int[Tensor, "*#b"], other: Int[Tensor, "*#b"]) -> Bool[Tensor, " *b"]:
    """Mark the pairs of one camera, with `one` and `other` broadcast; no pair of which a camera is not known (< 0)."""
    return (one == other) & (one >= 0)


def number_cameras(seen: Sequence[tuple[tuple[str, ...], int | None]]) -> Int[Tensor, " n"]:
    """Number cameras, each given with its source, so that a number of two sources means two cameras.

    Unknown ones (None or < 0) are `UNKNOWN_CAMID`. Where no number stands in two sources all stay as they are.
    """
    keys = [(source, UNKNOWN_CAMID if camid is None else camid) for source, camid in seen]
    known = sorted({(source, camid) for source, camid in keys if camid >= 0})
    alone = len(known) == len({camid for _, camid in known})
    number = {key: key[1] if alone else place for place, key in enumerate(known)}
    return torch.tensor([number.get(key, UNKNOWN_CAMID) for key in keys], dtype=torch.int64)


def check_asked(
    calibration: Calibration | None, run: Path, *, threshold: float | None = None, rate: float | None = None
) -> None:
    """Refuse what can be seen to be wrong before there is any work; `find_thresholds` says what is meant by it.

    Raises:
        ConfigError: threshold and rate are both given, one is out of range, or there is no calibration to ask.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        raise ConfigError(f"--threshold must be a cosine between -1 and 1, got {threshold:g}")
    if rate is None:
        return
    check_rate(rate)
    if threshold is not None:
        raise ConfigError("--threshold and --false-match-rate exclude each other; give one of them")
    if calibration is None:
        raise ConfigError(
            f"--false-match-rate needs a calibration, and {run} has none; run: resight calibrate {run}, or give "
            "--threshold"
        )


def find_thresholds(
    calibration: Calibration | None,
    run: Path,
    *,
    threshold: float | None = None,
    rate: float | None = None,
    images: Callable[[], Images] | None = None,
    progress: Progress | None = None,
) -> Thresholds | None:
    """Give the cosines from which on a pair is a match; None where nothing tells.

    Args:
        calibration: of the run; None: it has none.
        run: for messages.
        threshold: a cosine for all pairs, as the user says.
        rate: the false-match rate that the user asks for; None: the calibrated one.
        images: gives what is compared, or an even sample of it; asked only for a rate that the run is not calibrated
            at. There the curves of the calibration split the images' pairs into same and different, and of the
            different ones, across cameras and within one, the share that reaches its threshold is `rate`. None: there
            is nothing to compare.
        progress: of that, rows done and rows in all.

    Raises:
        ConfigError: as `check_asked`, or the rate is below what so many images can tell.
    """
    check_asked(calibration, run, threshold=threshold, rate=rate)
    if threshold is not None:
        return Thresholds(threshold, threshold)
    if calibration is None:
        return None
    if rate is None or abs(rate - calibration.false_match_rate) <= SAME_RATE * rate:
        return calibrated(calibration)
    if images is None:
        raise ConfigError(
            f"{run} is calibrated at {calibration.false_match_rate:g}, not {rate:g}; run: resight calibrate {run} "
            f"--false-match-rate {rate:g}"
        )
    return at_rate(calibration, images(), rate, progress=progress)


def calibrated(calibration: Calibration) -> Thresholds:
    """Give the thresholds at the rate that was calibrated."""
    across, within, rate = calibration.across, calibration.within, calibration.false_match_rate
    if across is not None and within is not None:
        return Thresholds(across.threshold, within.threshold, rate)
    return Thresholds(calibration.threshold, calibration.threshold, rate)


def at_rate(calibration: Calibration, images: Images, rate: float, *, progress: Progress | None = None) -> Thresholds:
    """Give the thresholds at another rate than the calibrated one, see `find_thresholds`.

    Raises:
        ConfigError: the rate is below what so many images can tell, or there are none.
    """
    embeddings, camids = images[0], images[1].to(images[0].device)
    across, within = calibration.across, calibration.within
    if not len(embeddings):
        raise ConfigError(f"--false-match-rate {rate:g} is told from the images, and there are none; add some")
    kinds = count_pairs(
        embeddings, 2, lambda rows: same_camera(camids[rows].unsqueeze(1), camids).long(), progress=progress
    )
    if across is None or within is None:
        level = _level(kinds.sum(0), calibration.curve, rate)
        return Thresholds(level, level, rate)
    levels = [
        _level(counts, curve, rate) if bool(counts.any()) else _level(kinds.sum(0), calibration.curve, rate)
        for counts, curve in zip(kinds, (across, within), strict=True)
    ]
    return Thresholds(levels[0], levels[1], rate)


def _level(counts: Float[Tensor, " cells"], curve: Curve, rate: float) -> float:
    return curve_of_odds(counts, curve.intercept, curve.slope, rate).threshold
