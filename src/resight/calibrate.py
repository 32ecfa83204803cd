"""What a score means: cosine → probability that two images show the same one, and a threshold at a false-match rate.

The odds of "same" follow a power of the distance between two unit rows: logit P = intercept + slope · −log(1 − score),
a logistic curve over the closeness of a pair. Two numbers can be learnt from a few hundred answers, and the curve can
only rise.

Probabilities are for a population: pairs drawn evenly from all pairs of a data set, of which a share is of the same
one. A search meets others (its best hits are no random pairs, and a gallery may hold no right answer): `at_prior` moves
the curve to another share by a shift of the log-odds.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from resight.artifacts import write_text
from resight.checkpoint import read_header
from resight.errors import CheckpointError, ConfigError, DataError

FILE = "calibration.json"
"""Its name in a run folder."""

SOURCES = ("answers", "tracklets", "cameras", "identities")

NEAREST = 1e-3
"""Added to 1 − score, so that the closeness of equal rows, a little off 1 by rounding, is finite."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Score → log-odds of "same" for one population of pairs, and the threshold there.

    `same_share`: share of same pairs in the population that the log-odds are for, above 0 and below 1. `threshold`:
    the cosine from which on a pair counts as same. `slope`: above 0.
    """

    threshold: float
    intercept: float
    slope: float
    same_share: float

    def __post_init__(self) -> None:
        numbers = dataclasses.astuple(self)
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers) or self.slope <= 0:
            raise ConfigError(f"a curve must have finite numbers and a slope above 0, got {self}; calibrate again")
        check_share(self.same_share)

    def log_odds(self, scores: Float[Tensor, " *b"]) -> Float[Tensor, " *b"]:
        """Give log(P / (1 − P)), rising with the score."""
        return self.intercept + self.slope * closeness(scores)

    def at_prior(self, share: float) -> "Curve":
        """Move the curve to a population with another share of same pairs; the threshold stays.

        Right where the scores of same and of different pairs are spread as before and only their numbers differ.

        Paper: Saerens, Latinne and Decaestecker 2002, eq. 2.4, as a difference of log-odds.
        """
        shift = logit(check_share(share)) - logit(self.same_share)
        return dataclasses.replace(self, intercept=self.intercept + shift, same_share=share)


@dataclass(frozen=True)
class Calibration:
    """What the scores of one model mean on data like those it was calibrated on.

    Attributes:
        threshold: the cosine from which on a pair counts as same.
        false_match_rate: the one asked for: share of different pairs that may reach the threshold.
        intercept, slope, same_share: see `Curve`; of pairs drawn evenly from all.
        source: what it was learnt from, one of `SOURCES`.
        pairs: how many pairs the source told of.
        fingerprint: of the model that the scores are of, see `fingerprint`.
        across, within: curves for pairs of two cameras and of one camera; None where cameras are not known. Where only
            `across` is there, all of it is of pairs across cameras.
        trust: how far to rely on it, in one sentence.
    """

    threshold: float
    false_match_rate: float
    intercept: float
    slope: float
    same_share: float
    source: str
    pairs: int
    fingerprint: str
    across: Curve | None = None
    within: Curve | None = None
    trust: str = ""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ConfigError(f"a calibration's source must be one of {', '.join(SOURCES)}, got '{self.source}'")
        check_rate(self.false_match_rate)
        _ = self.curve  # its numbers are checked there

    @property
    def curve(self) -> Curve:
        """The curve of all pairs."""
        return Curve(self.threshold, self.intercept, self.slope, self.same_share)

    @property
    def camera_aware(self) -> bool:
        """Whether pairs of one camera and of two can be told apart."""
        return self.across is not None and self.within is not None

    @property
    def across_alone(self) -> bool:
        """Whether nothing is known of pairs of one camera."""
        return self.across is not None and self.within is None

    def probability(
        self, scores: Float[Tensor, " *b"], same_camera: Bool[Tensor, " *b"] | None = None
    ) -> Float[Tensor, " *b"]:
        """Give P(same | score), 0..1, for pairs drawn evenly from all; it never falls with the score.

        `same_camera`: which pairs are of one camera; used where the calibration is camera-aware.
        """
        odds = self.curve.log_odds(scores)
        if same_camera is not None and self.across is not None and self.within is not None:
            odds = self.within.log_odds(scores).where(same_camera, self.across.log_odds(scores))
        return odds.sigmoid()

    def same(self, scores: Float[Tensor, " *b"], same_camera: Bool[Tensor, " *b"] | None = None) -> Bool[Tensor, " *b"]:
        """Say which pairs reach the threshold; see `probability` for `same_camera`."""
        reached = scores >= self.threshold
        if same_camera is not None and self.across is not None and self.within is not None:
            reached = (scores >= self.within.threshold).where(same_camera, scores >= self.across.threshold)
        return reached

    def at_prior(self, share: float) -> "Calibration":
        """Give the calibration for a population in which `share` of the pairs are same; thresholds stay.

        A search over a gallery with about r right answers among G images meets a share of r / G. The curves of pairs
        within and across cameras move by the same log-odds.

        Raises:
            ConfigError: the share is not between 0 and 1.
        """
        shift = logit(check_share(share)) - logit(self.same_share)
        across, within = (
            None if part is None else part.at_prior(1 / (1 + math.exp(-logit(part.same_share) - shift)))
            for part in (self.across, self.within)
        )
        return dataclasses.replace(
            self, intercept=self.intercept + shift, same_share=share, across=across, within=within
        )


def closeness(scores: Float[Tensor, " *b"]) -> Float[Tensor, " *b"]:
    """Give −log(1 − score + `NEAREST`): 1 − cosine is half the squared distance of two unit rows."""
    return -(1 + NEAREST - scores.clamp(-1, 1)).log()


def logit(share: float) -> float:
    """Give log(share / (1 − share))."""
    return math.log(share) - math.log1p(-share)


def check_share(share: float) -> float:
    """Give a share of same pairs back.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"a share of same pairs must lie between 0 and 1, got {share}")
    return share


def check_rate(rate: float) -> float:
    """Give a false-match rate back.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise ConfigError(f"--false-match-rate must lie between 0 and 1, e.g. 0.001, got {rate:g}")
    return rate


def fingerprint(run: Path) -> str:
    """Give the digest of a model's weights, as its file states it and as it is checked against when it is loaded.

    Raises:
        CheckpointError: there is no model, or it is not one of ours.
    """
    path = run / "model.safetensors" if run.is_dir() else run
    return str(read_header(path)["digest"])


def calibration_path(run: Path) -> Path:
    """Give the file of a run folder's calibration, or of the model file in it."""
    return (run if run.is_dir() else run.parent) / FILE


def save_calibration(run: Path, calibration: Calibration) -> Path:
    """Write RUN/calibration.json, replacing an earlier one whole or not at all; gives its path.

    Raises:
        CheckpointError: it cannot be written.
    """
    path = calibration_path(run)
    write_text(path, json.dumps({"format": 1, **dataclasses.asdict(calibration)}, indent=2) + "\n")
    return path


def load_calibration(run: Path) -> Calibration | None:
    """Read RUN/calibration.json; None where there is none.

    Raises:
        CheckpointError: it cannot be read, or belongs to another model than the run's.
    """
    path = calibration_path(run)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != 1:
            raise ValueError("it is of another format")
        found = _parsed(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); write it again with resight calibrate") from error
    if found.fingerprint != fingerprint(run):
        raise CheckpointError(
            f"{path} belongs to another model than the one that {run} holds now; calibrate again with resight calibrate"
        )
    return found


def _parsed(content: dict[str, Any]) -> Calibration:
    for name in ("across", "within"):
        if content[name] is not None:
            content[name] = Curve(**content[name])
    return Calibration(**content)


@dataclass(frozen=True)
class Reliability:
    """How probabilities met identities: for checking, never part of a fit.

    Cells hold equal numbers of pairs (as nearly as ties allow). `predicted`, `observed`: mean probability and share of
    same pairs of each cell; `pairs`: how many it holds.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    pairs: tuple[float, ...]

    @property
    def error(self) -> float:
        """Expected calibration error, 0..1: Σ pairs · |observed − predicted| / Σ pairs."""
        gaps = [n * abs(o - p) for n, o, p in zip(self.pairs, self.observed, self.predicted, strict=True)]
        return sum(gaps) / sum(self.pairs)


def reliability(
    probability: Float[Tensor, " b"], same: Float[Tensor, " b"], pairs: Float[Tensor, " b"], *, cells: int = 10
) -> Reliability:
    """Compare probabilities with what is so, in cells of equal mass.

    Entry i stands for `pairs[i]` pairs of one probability, `same[i]` of which are same; a single pair is 1 and 0 or 1.

    Raises:
        DataError: there is no pair.

    Paper: Naeini, Cooper and Hauskrecht 2015 (expected calibration error); cells of equal mass: Nixon et al. 2019.
    """
    if float(pairs.sum()) <= 0:
        raise DataError("a check of probabilities needs at least one pair, got none")
    order = probability.argsort(stable=True)
    p, same, pairs = (part.double()[order] for part in (probability, same, pairs))
    middle = (pairs.cumsum(0) - pairs / 2) / pairs.sum()
    cell = (middle * cells).long().clamp(max=cells - 1)
    sums = torch.zeros(3, cells, dtype=torch.float64)
    for row, values in enumerate((p * pairs, same, pairs)):
        sums[row].index_add_(0, cell, values)
    predicted, observed, held = sums[:, sums[2] > 0]
    return Reliability(tuple((predicted / held).tolist()), tuple((observed / held).tolist()), tuple(held.tolist()))
