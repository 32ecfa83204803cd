"""Precision and recall of "same" over all pairs of images, from a few hundred answers drawn by score.

Pairs lie in strata by their score, numbered from the highest down, the first `above` of them at or above the threshold.
With t_h the number of pairs of stratum h that are the same (those seen, and Binomial(N_h − n_h, p_h) of the others),

    precision = Σ_above t_h / Σ_above N_h        recall = Σ_above t_h / Σ t_h

and p_h from the posterior in `pair_posterior`. Intervals hold the middle 95 % of its draws. Which pairs are asked about
does not bias it; asking where answers move precision and recall most makes the intervals narrow: n_h in proportion to
|weight_h| N_h √(p_h (1 − p_h)) (Neyman 1934, On the two different aspects of the representative method).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from resight.errors import DataError
from resight.pair_posterior import chances

DRAWS = 4000
LEAST = 1
"""Answers that are asked for in every stratum, however little it is thought to hold."""

MOST_MORE = 10**5
"""Beyond so many more answers there is no use in counting them."""

PLAYED = 16
"""Times that further answers are played through to see what they would be worth."""


@dataclass(frozen=True)
class Tally:
    """What is known of each stratum, highest scores first: its pairs, those answered, and those that are the same.

    `above`: so many of the strata lie at or above the threshold. `near`: so many lie above the floor.
    """

    sizes: Int[np.ndarray, " h"]
    asked: Int[np.ndarray, " h"]
    yes: Int[np.ndarray, " h"]
    above: int
    near: int

    @property
    def predicted(self) -> np.ndarray:
        """Bool (h,): the strata whose pairs the model calls the same."""
        return np.arange(len(self.sizes)) < self.above


@dataclass(frozen=True)
class Interval:
    """A share, 0..1, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """High − low."""
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.value:.1%} (95 % interval {self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True)
class Estimate:
    """What the answers say of the threshold.

    `recall_near`: recall when only pairs above the floor are counted. Recalls are None where no pair is the same.
    """

    precision: Interval
    recall: Interval | None
    recall_near: Interval | None
    f1: Interval


def estimate(tally: Tally, *, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Estimate precision, recall and F1 from `draws` draws of the posterior.

    Where the answers on one side are all alike the interval is left open on that side: it ends at 1, or at 0 (Brown,
    Cai, DasGupta 2001, Interval estimation for a binomial proportion).

    Raises:
        DataError: there is no answer yet, or no pair reaches the threshold.
    """
    if not tally.asked.sum():
        raise DataError("an audit needs at least one answer, got none; answer some pairs first")
    if not tally.sizes[: tally.above].sum():
        raise DataError("no pair of images reaches the threshold, so that nothing is called the same; give a lower one")
    rng = np.random.default_rng(seed)
    p = chances(tally.asked, tally.yes, draws, rng)
    same = (tally.yes + rng.binomial((tally.sizes - tally.asked)[None, :].repeat(draws, 0), p)).astype(float)
    right, near, whole = (same[:, :stop].sum(axis=1) for stop in (tally.above, tally.near, None))
    said = float(tally.sizes[: tally.above].sum())
    hit, missed = int(tally.yes[: tally.above].sum()), int(tally.yes[tally.above :].sum())
    no_wrong, none_right = hit == int(tally.asked[: tally.above].sum()), hit == 0
    precision = _interval(right / said, to_zero=none_right, to_one=no_wrong)
    recall = _share(right, whole, to_zero=none_right, to_one=missed == 0)
    recall_near = _share(right, near, to_zero=none_right, to_one=not tally.yes[tally.above : tally.near].any())
    f1 = _interval(2 * right / (said + whole), to_zero=none_right, to_one=no_wrong and missed == 0)
    return Estimate(precision, recall, recall_near, f1)


def _share(part: np.ndarray, whole: np.ndarray, **ends: bool) -> Interval | None:
    some = whole > 0
    return _interval(part[some] / whole[some], **ends) if some.any() else None


def _interval(draws: np.ndarray, *, to_zero: bool, to_one: bool) -> Interval:
    low, value, high = (float(q) for q in np.quantile(draws, (0.025, 0.5, 0.975)))
    if low == high:  # nothing is left to ask
        return Interval(value, low, high)
    return Interval(value, 0.0 if to_zero else low, 1.0 if to_one else high)


def first_guess(sizes: Int[np.ndarray, " h"], above: int) -> Float[np.ndarray, "1 h"]:
    """Guess p before any answer: a half at the threshold; below it, a quarter for each doubling of the pairs above.

    A logistic in the logarithm of the rank. That each doubling then holds about half as many same pairs as the one
    before spreads the answers evenly over the doublings, so that a tail of any weight is met.
    """
    rank = np.cumsum(sizes) - sizes / 2
    x = rank / max(1, sizes[:above].sum())
    return np.where(x < 1, 1 / (1 + x), 0.5 / np.maximum(x, 1) ** 2)[None]


def importance(tally: Tally, p: Float[np.ndarray, "s h"]) -> Float[np.ndarray, " h"]:
    """Say how much an answer in each stratum is worth: Neyman's allocation, for precision and recall alike."""
    both = np.stack(_contributions(tally, p))
    total = both.sum(axis=1, keepdims=True)
    return np.sqrt((np.divide(both, total, out=np.zeros_like(both), where=total > 0) ** 2).sum(axis=0))


def _contributions(tally: Tally, p: Float[np.ndarray, "s h"]) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation that one answer in each stratum leaves in precision, and in recall."""
    spread = tally.sizes * np.sqrt((p * (1 - p)).mean(axis=0))
    expected = tally.sizes * p.mean(axis=0)
    recall = expected[tally.predicted].sum() / expected.sum()
    of_precision = np.where(tally.predicted, spread / max(1, tally.sizes[: tally.above].sum()), 0)
    return of_precision, np.where(tally.predicted, 1 - recall, recall) * spread / expected.sum()


def allocate(
    sizes: Int[np.ndarray, " h"], drawn: Int[np.ndarray, " h"], importance: Float[np.ndarray, " h"], count: int
) -> Int[np.ndarray, " h"]:
    """Say how many more pairs to draw in each stratum, `count` in all or as many as there are.

    Together with those `drawn` already they come as near to proportions of `importance` as they can; each stratum gets
    `LEAST` where `count` allows it.
    """
    total = int(min(drawn.sum() + count, sizes.sum()))
    least = np.minimum(np.maximum(drawn, LEAST), sizes)
    if least.sum() > total:  # not even one for each: the most important strata first
        least = drawn.copy()
        for h in np.argsort(-importance, kind="stable"):
            least[h] += int(least[h] < min(LEAST, sizes[h]) and least.sum() < total)
    low, high = 0.0, float(sizes.max()) / max(float(importance[importance > 0].min(initial=1.0)), 1e-12)
    for _ in range(100):
        middle = (low + high) / 2
        if np.clip(importance * middle, least, sizes).sum() > total:
            high = middle
        else:
            low = middle
    wanted = np.clip(importance * low, least, sizes)
    chosen = np.floor(wanted).astype(np.int64)
    order = np.lexsort((-importance, -(wanted - chosen)))
    while chosen.sum() < total:
        open_ = [h for h in order if chosen[h] < sizes[h]]
        chosen[open_[: total - int(chosen.sum())]] += 1
    return chosen - drawn


def more_to_halve(tally: Tally, *, seed: int = 0) -> int | None:
    """Count the answers after which the wider interval, of precision or recall, is expected to be half as wide.

    Played through: chances are drawn from the posterior, answers from them, and intervals made as they would be then.
    0 where nothing is left to learn, None where more than `MOST_MORE` would be needed.

    Raises:
        DataError: as `estimate`.
    """
    now = estimate(tally, seed=seed)
    of_recall = recall_is_wider(now)
    width = now.recall.width if of_recall and now.recall is not None else now.precision.width
    if width == 0:
        return 0
    rng = np.random.default_rng(seed)
    p = chances(tally.asked, tally.yes, PLAYED, rng)
    worth = importance(tally, p)
    before, more = (0.0, width), int(tally.asked.sum())
    while more <= MOST_MORE:
        after = float(np.mean([_width_after(tally, row, worth, more, rng)[of_recall] for row in p]))
        if after <= width / 2:
            share = (math.log(before[1]) - math.log(width / 2)) / (math.log(before[1]) - math.log(max(after, 1e-9)))
            return max(1, round(before[0] + share * (more - before[0])))
        before, more = (more, after), 2 * more
    return None


def recall_is_wider(found: Estimate) -> bool:
    """Whether the interval of recall is the wider one."""
    return found.recall is not None and found.recall.width > found.precision.width


def _width_after(
    tally: Tally, p: Float[np.ndarray, " h"], worth: Float[np.ndarray, " h"], more: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Give the widths for precision and recall after `more` answers, were p the chances."""
    asked = allocate(tally.sizes, tally.asked, worth, more)
    then = replace(tally, asked=tally.asked + asked, yes=tally.yes + rng.binomial(asked, p))
    found = estimate(then, seed=int(rng.integers(2**31)), draws=1000)
    return found.precision.width, found.recall.width if found.recall is not None else 0.0
