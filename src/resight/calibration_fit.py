"""Fits of the curve of `calibrate`: to pairs known to be same or different, or to what stands out from strangers."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from resight.calibrate import Curve, closeness
from resight.errors import DataError
from resight.score_counts import CELLS, middles, threshold_at

LEAST = 5
"""Fewest answers of each kind that a curve is fitted to."""

TAIL = 0.02
"""Share of all pairs, the best-scoring, in which same pairs are looked for against strangers."""

LEAST_IN_CELL = 20
"""Fewest pairs from which a share is estimated there."""

TYPICAL_SLOPE = 5.0
"""Slope where strangers are only guessed at: fits to identities gave 3 to 8 on nine models of three data sets.

A guess fixes how many same pairs stand out, but hardly how steeply: free fits came out two to three times too steep.
"""

LEAST_SHARE = 1e-9
"""Smallest share of same pairs that is stated, as 0 has no log-odds."""


def fit_logistic(
    scores: Float[Tensor, " b"], same: Float[Tensor, " b"], different: Float[Tensor, " b"]
) -> tuple[float, float]:
    """Fit intercept and slope of the log-odds over the closeness of a pair; gives both.

    Entry i stands for `same[i]` same and `different[i]` different pairs of one score. The targets are moved off 0 and 1
    by as much as the numbers of pairs allow, so that kinds which the score parts cleanly get no endless slope.

    Raises:
        DataError: one kind is missing, or same pairs do not score higher than different ones.

    Paper: Platt 1999, section 2.2 (targets); Newton's method with step halving.
    """
    positives, negatives = float(same.sum()), float(different.sum())
    if positives <= 0 or negatives <= 0:
        raise DataError(
            f"a calibration needs same and different pairs, got {positives:g} and {negatives:g}; give more of the other"
        )
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    weight = (same + different).double()
    target = (same * high + different * low).double() / weight.clamp_min(1e-300)
    x = closeness(scores.double())
    centre = (x * weight).sum() / weight.sum()
    spread = ((x - centre).square() * weight).sum().div(weight.sum()).sqrt().clamp_min(1e-9)
    design = torch.stack([torch.ones_like(x), (x - centre) / spread], dim=1)
    level, rise = _newton(design, target, weight / weight.sum())
    slope = rise / float(spread)
    if not slope > 1e-6:
        raise DataError(
            f"same pairs must score higher than different ones, but here they do not (slope {slope:.2g}): "
            "this model cannot tell them apart; train longer, or check the answers"
        )
    return level - slope * float(centre), slope


def fit_level(
    scores: Float[Tensor, " b"], same: Float[Tensor, " b"], different: Float[Tensor, " b"]
) -> tuple[float, float]:
    """Fit the intercept alone, with `TYPICAL_SLOPE`, so that as many same pairs are expected as there are."""
    pairs, rise = same + different, TYPICAL_SLOPE * closeness(scores)
    low, high = -100.0, 100.0
    for _ in range(100):
        level = (low + high) / 2
        too_many = bool((pairs * (level + rise).sigmoid()).sum() > same.sum())
        low, high = (low, level) if too_many else (level, high)
    return (low + high) / 2, TYPICAL_SLOPE


def _newton(
    design: Float[Tensor, "b 2"], target: Float[Tensor, " b"], weight: Float[Tensor, " b"]
) -> tuple[float, float]:
    """Minimise the weighted cross-entropy, a convex function of two numbers."""

    def loss(at: Tensor) -> Tensor:
        z = design @ at
        return (weight * (torch.nn.functional.softplus(z) - target * z)).sum()

    share = float((weight * target).sum())
    at = torch.tensor([math.log(share / (1 - share)), 0.0], dtype=torch.float64)
    for _ in range(100):
        p = (design @ at).sigmoid()
        gradient = design.T @ (weight * (p - target))
        curvature = (design.T * (weight * p * (1 - p))) @ design
        step = torch.linalg.solve(curvature + 1e-12 * curvature.diagonal().mean() * torch.eye(2).double(), gradient)
        size = 1.0
        while size > 1e-6 and bool(loss(at - size * step) > loss(at)):
            size /= 2
        at = at - size * step
        if float((size * step).abs().max()) < 1e-9:
            break
    return float(at[0]), float(at[1])


def stable_weights(scores: Float[Tensor, " b"], weights: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Take out of sampling weights what depends on the score alone: divide each by the mean weight at its score.

    That mean is a function that falls (or rises) with the score, fitted by isotonic regression: it follows the steps of
    strata exactly, so that answers drawn by score weigh 1 each. A curve of P(same | score) is not biased by drawing
    some scores more often, but weights that follow the score let a few random pairs outvote all others. What is left
    corrects a choice that looked at more than the score.

    Paper: Robins, Hernán and Brumback 2000 (stabilised weights).
    """
    from sklearn.isotonic import IsotonicRegression

    x, y = scores.double().numpy(), weights.double().numpy()
    fits = [IsotonicRegression(increasing=up).fit(x, y).predict(x) for up in (False, True)]
    mean = min(fits, key=lambda fit: float(((fit - y) ** 2).sum()))
    return torch.from_numpy(y / mean).to(weights)


def fit_answers(
    scores: Float[Tensor, " b"], same: Bool[Tensor, " b"], weights: Float[Tensor, " b"]
) -> tuple[float, float]:
    """Fit intercept and slope to a person's answers.

    Raises:
        DataError: there are fewer than `LEAST` of a kind, or the scores do not part them.
    """
    yes, no = int(same.sum()), int((~same).sum())
    if min(yes, no) < LEAST:
        raise DataError(
            f"a calibration needs at least {LEAST} answers of each kind, got {yes} same and {no} different; "
            "answer more pairs, of high scores for same ones and of low scores for different ones"
        )
    stable = stable_weights(scores.double(), weights.double())
    return fit_logistic(scores, stable * same, stable * ~same)


def curve_of_labelled(same: Float[Tensor, " cells"], different: Float[Tensor, " cells"], rate: float) -> Curve:
    """Give the curve and threshold of counted pairs that are known to be same or different.

    Raises:
        ConfigError: there are too few different pairs for the rate.
        DataError: one kind is missing, or the scores do not part them.
    """
    intercept, slope = fit_logistic(middles(), same, different)
    share = float(same.sum() / (same.sum() + different.sum()))
    return Curve(threshold_at(different, rate), intercept, slope, share)


def curve_of_odds(counts: Float[Tensor, " cells"], intercept: float, slope: float, rate: float) -> Curve:
    """Give the curve of known log-odds, with share and threshold of the counted pairs nobody has labelled.

    The pairs of each score are split by the curve: FMR(t) = Σ_{s ≥ t} n(s)(1 − P(s)) / Σ n(s)(1 − P(s)).

    Raises:
        ConfigError: there are too few pairs for the rate.
    """
    probability = (intercept + slope * closeness(middles())).sigmoid()
    share = float((counts * probability).sum() / counts.sum())
    return Curve(threshold_at(counts * (1 - probability), rate), intercept, slope, stated(share))


def curve_against_strangers(
    counts: Float[Tensor, " cells"],
    strangers: Float[Tensor, " cells"],
    rate: float,
    *,
    known_same: Float[Tensor, " cells"] | None = None,
    measured: bool = False,
) -> Curve:
    """Give a curve from all pairs, counted but not labelled, and a sample of scores of different pairs.

    What all pairs have more of than strangers at a score is taken to be same pairs: the local false discovery rate,
    P(same | s) = 1 − (1 − share) f0(s) / f(s), in the best-scoring `TAIL` of all pairs, is fitted by a curve.
    `known_same`: pairs that are same for certain; there are at least so many.

    The threshold counts every pair as different: FMR(t) ≤ (share of all pairs ≥ t) / (1 − share) whatever `strangers`
    say. Only where they are `measured`, and tell more, is it their own; and only then is the slope fitted, elsewhere it
    is `TYPICAL_SLOPE` and the level follows from the number of pairs that stand out.

    Raises:
        ConfigError: there are too few pairs for the rate.
        DataError: nothing stands out.

    Paper: Efron 2004, "Large-scale simultaneous hypothesis testing: the choice of a null hypothesis", eq. 2.3.
    """
    cell = tail_cells(counts)
    all_pairs, null, known = (
        _sums(part, cell) for part in (counts, strangers * (counts.sum() / strangers.sum()), _or_zero(known_same))
    )
    score = _sums(counts * middles(), cell) / all_pairs
    same, share = all_pairs, 0.0
    for _ in range(3):
        same = torch.maximum(all_pairs - (1 - share) * null, known).clamp(min=0).minimum(all_pairs)
        share = float(same.sum() / counts.sum())
    if float(same.sum()) <= 0:
        raise DataError(
            "no scores stand out from those of strangers, so what is same cannot be told without answers; "
            "answer some pairs and give them by --answers"
        )
    fit = fit_logistic if measured else fit_level
    intercept, slope = fit(score, same, all_pairs - same)
    probability = (intercept + slope * closeness(middles())).sigmoid()
    share = stated(float((counts * probability).sum() / counts.sum()))
    threshold = threshold_at(counts, rate, pairs=float(counts.sum()) * (1 - share))
    if measured and rate * float(strangers.sum()) >= 1:
        threshold = min(threshold, threshold_at(strangers, rate))
    return Curve(threshold, intercept, slope, share)


def tail_cells(counts: Float[Tensor, " cells"]) -> list[tuple[int, int]]:
    """Cut the best-scoring `TAIL` of counted pairs into ranges of cells, each holding less than the one below.

    Their lower ends are reached by shares of `TAIL` · 2^(−k/2); none holds fewer than `LEAST_IN_CELL` pairs.

    Raises:
        DataError: there are too few pairs.
    """
    tail = counts.flip(0).cumsum(0).flip(0)
    edges: list[int] = []
    share = TAIL
    while share * float(tail[0]) >= LEAST_IN_CELL:
        first = int((tail <= share * tail[0]).nonzero()[0])
        if float(tail[first]) >= LEAST_IN_CELL and (not edges or tail[edges[-1]] - tail[first] >= LEAST_IN_CELL):
            edges.append(first)
        share /= math.sqrt(2)
    if len(edges) < 2:
        raise DataError(
            f"a calibration without answers needs more than {tail[0]:,.0f} pairs; give more images, or answers to some "
            "pairs by --answers"
        )
    return list(zip(edges, [*edges[1:], CELLS], strict=True))


def stated(share: float) -> float:
    """Keep a share of same pairs where it has log-odds."""
    return min(max(share, LEAST_SHARE), 1 - LEAST_SHARE)


def _or_zero(counts: Float[Tensor, " cells"] | None) -> Float[Tensor, " cells"]:
    return torch.zeros(CELLS, dtype=torch.float64) if counts is None else counts


def _sums(counts: Float[Tensor, " cells"], cells: list[tuple[int, int]]) -> Float[Tensor, " k"]:
    return torch.stack([counts[first:last].sum() for first, last in cells])
