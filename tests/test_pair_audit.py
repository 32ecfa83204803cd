"""The estimate: hand-worked cases, what is known exactly, coverage."""

import itertools

import numpy as np
import pytest

from resight.errors import DataError
from resight.pair_audit import Tally, allocate, estimate, first_guess, importance, more_to_halve
from resight.pair_posterior import BACK, FLAT, LEAK, LEVEL, LOGITS, MEAN_STEPS, chances


def tally(sizes: list[int], asked: list[int], yes: list[int], above: int = 1, near: int | None = None) -> Tally:
    return Tally(np.array(sizes), np.array(asked), np.array(yes), above, near or len(sizes))


def test_all_pairs_answered_give_the_truth_and_no_width() -> None:
    found = estimate(tally([10, 20, 400], [10, 20, 400], [8, 4, 4], near=2))
    # right 8 of 10 called; the same in all 16, above the floor 12; F1 = 2 · 8 / (10 + 16)
    assert (found.precision.value, found.precision.width) == (0.8, 0)
    assert found.recall is not None and (found.recall.value, found.recall.width) == (0.5, 0)
    assert found.recall_near is not None and found.recall_near.value == pytest.approx(8 / 12)
    assert found.f1.value == pytest.approx(16 / 26)
    assert more_to_halve(tally([10, 20], [10, 20], [8, 4])) == 0


def test_no_same_pair_at_all_has_no_recall() -> None:
    found = estimate(tally([5, 9], [5, 9], [0, 0]))
    assert found.recall is None and found.precision.high == 0 and found.f1.value == 0


def test_one_stratum_is_the_beta_posterior() -> None:
    # Jeffreys: 30 of 40 give Beta(30.5, 10.5); its 2.5, 50 and 97.5 % points, from tables: 0.601, 0.747, 0.864
    p = chances(np.array([40]), np.array([30]), 40000, np.random.default_rng(0))[:, 0]
    assert np.quantile(p, [0.025, 0.5, 0.975]) == pytest.approx([0.601, 0.747, 0.864], abs=0.008)


def test_two_strata_are_the_sum_over_all_pairs_of_logits() -> None:
    """The filter's mean against the posterior written out over every pair of grid places and every mean step."""
    asked, yes = np.array([6, 9]), np.array([5, 2])
    p = 1 / (1 + np.exp(-LOGITS))
    top = np.sqrt(p * (1 - p))
    fall = LOGITS[:, None] - LOGITS[None, :]
    total, mean = 0.0, np.zeros(2)
    for m in MEAN_STEPS:
        parts = ((1 - LEVEL - LEAK, m, fall >= 0), (LEVEL, FLAT, fall >= 0), (LEAK, BACK, fall <= 0))
        kernel = np.zeros((len(p), len(p)))
        for share, size, possible in parts:
            for i in range(len(p)):
                weights = np.exp(-np.abs(fall[i]) / size) * possible[i]
                kernel[i] += share * weights / weights.sum()
        joint = (top * p**5 * (1 - p))[:, None] * kernel * (p**2 * (1 - p) ** 7)[None, :]
        total += joint.sum()
        mean += [(joint.sum(axis=1) * p).sum(), (joint.sum(axis=0) * p).sum()]
    drawn = chances(asked, yes, 60000, np.random.default_rng(1)).mean(axis=0)
    assert drawn == pytest.approx(mean / total, abs=0.004)


def test_a_stratum_without_yes_is_not_taken_for_empty() -> None:
    found = estimate(tally([100, 10**5], [50, 50], [45, 0]))
    assert found.recall is not None and found.recall.low < 0.3 and found.recall.high == 1.0  # up to 6 % of 100,000


def test_answers_all_alike_leave_the_interval_open_on_their_side() -> None:
    found = estimate(tally([100, 900], [20, 20], [20, 0]))
    assert found.precision.high == 1.0 and found.precision.low < 1.0
    nothing = estimate(tally([100, 900], [20, 20], [0, 0]))
    assert nothing.precision.low == 0.0 and nothing.recall is not None and nothing.recall.low == 0.0


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(DataError, match="at least one answer"):
        estimate(tally([10, 10], [0, 0], [0, 0]))
    with pytest.raises(DataError, match="no pair of images reaches the threshold"):
        estimate(tally([0, 10], [0, 3], [0, 0]))


def test_neyman_by_hand() -> None:
    # Above: N 100, p 0.5, spread 100 · 0.5 = 50. Below: N 900, p 0.1, spread 900 · 0.3 = 270. Same: 50 and 90.
    # Precision: only above counts, share 1 and 0. Recall R = 50/140: (1 − R) · 50 = 32.14 and R · 270 = 96.43,
    # shares 0.25 and 0.75. Together √(1 + 0.25²) = 1.0308 and 0.75.
    worth = importance(tally([100, 900], [0, 0], [0, 0]), np.array([[0.5, 0.1]]))
    assert worth == pytest.approx([1.0308, 0.75], abs=1e-4)
    # 57.9 and 42.1 of 100, the larger rest first
    assert allocate(np.array([100, 900]), np.zeros(2, dtype=int), worth, 100).tolist() == [58, 42]


@pytest.mark.parametrize("seed", range(200))
def test_allocation_uses_what_there_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 30, rng.integers(1, 9))
    drawn = rng.integers(0, sizes + 1) if seed % 2 else np.zeros_like(sizes)
    worth, count = rng.random(len(sizes)) * (rng.random(len(sizes)) < 0.8), int(rng.integers(0, 60))
    more = allocate(sizes, drawn, worth, count)
    assert (more >= 0).all() and (drawn + more <= sizes).all()
    assert more.sum() == min(count, sizes.sum() - drawn.sum())


def test_the_first_guess_falls() -> None:
    guess = first_guess(np.array([5, 10, 20, 40, 80, 10**6]), 2)[0]
    assert all(a > b for a, b in itertools.pairwise(guess)) and guess[0] < 1 and guess[-1] > 0


def test_more_answers_are_wanted_where_more_is_open() -> None:
    few, many = (more_to_halve(tally([200, 2000], [n, n], [n // 2, n // 20])) for n in (40, 160))
    assert few is not None and many is not None and 40 < few < many < 4000


def test_the_interval_covers_the_truth() -> None:
    """40 audits of 200 answers each; fewer than 34 (85 %) would be met once in 1,000 times if 95 % were true."""
    same, sizes = np.array([38, 55, 60, 30, 12, 4, 1]), np.array([40, 60, 100, 200, 800, 4000, 40000])
    none = np.zeros(7, dtype=int)
    held = np.zeros(2)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        start = Tally(sizes, none, none, 3, 5)
        asked = allocate(sizes, none, importance(start, first_guess(sizes, 3)), 200)
        yes = rng.hypergeometric(same, sizes - same, asked)
        found = estimate(Tally(sizes, asked, yes, 3, 5), seed=seed, draws=1000)
        assert found.recall is not None
        held += [
            found.precision.low <= 153 / 200 <= found.precision.high,
            found.recall.low <= 153 / 200 <= found.recall.high,
        ]
    assert (held >= 34).all()
