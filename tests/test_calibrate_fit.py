"""Counting scores, thresholds at a rate, and the fits."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from calibration_cases import counted, scored
from resight import score_counts
from resight.calibrate import closeness
from resight.calibration_fit import (
    LEAST,
    TYPICAL_SLOPE,
    curve_against_strangers,
    curve_of_odds,
    fit_answers,
    fit_logistic,
    stable_weights,
    tail_cells,
)
from resight.errors import ConfigError, DataError
from resight.score_counts import CELLS, count_pairs, middles, share_from, simulated_strangers, threshold_at


@pytest.mark.parametrize("n", [1, 2, 7, 33])
@pytest.mark.parametrize("block", [1, 40, 2**22])
def test_counts_by_blocks_are_those_of_all_pairs(n: int, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(score_counts, "BLOCK", block)
    rows = functional.normalize(torch.randn(n, 5, dtype=torch.float64), dim=1)
    kind = torch.randint(3, (n, n)).triu(1)
    kind += kind.T.clone()
    expected = torch.zeros(3, CELLS, dtype=torch.float64)
    for i in range(n):
        for j in range(i + 1, n):
            cell = min(max(int((float(rows[i] @ rows[j]) + 1) / 2 * CELLS), 0), CELLS - 1)
            expected[kind[i, j], cell] += 1
    told: list[tuple[int, int]] = []
    found = count_pairs(rows, 3, lambda at: kind[at], progress=lambda done, total: told.append((done, total)))
    # a score on the edge of a cell may fall to either side, by rounding of another order of sums
    assert torch.equal(found.sum(1), expected.sum(1)) and (found - expected).abs().sum() <= 2
    assert told[-1] == (n, n)


def test_equal_and_opposite_rows_are_counted_in_the_last_cells():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    counts = count_pairs(rows, 1, lambda at: torch.zeros(len(at), 3, dtype=torch.long))[0]
    assert counts[-1] == 1 and counts[0] == 2 and counts.sum() == 3


def test_threshold_of_four_scores_by_hand():
    counts = counted(torch.tensor([0.10005, 0.20005, 0.30005, 0.40005]))
    # a rate of 1/4 admits one pair: the lowest score that only one reaches is the upper edge of the cell 0.3 .. 0.3001
    assert threshold_at(counts, 0.25) == pytest.approx(0.3001, abs=1e-6)
    # 3/8: half a pair more, half of the cell 0.3 .. 0.3001
    assert threshold_at(counts, 0.375) == pytest.approx(0.30005, abs=1e-6)
    assert threshold_at(counts, 0.9999) == pytest.approx(0.1, abs=1e-4)


def test_a_rate_below_one_pair_is_refused_with_the_smallest():
    with pytest.raises(ConfigError, match=r"below what 4 different pairs can tell: the smallest is 0.25"):
        threshold_at(counted(torch.tensor([0.1, 0.2, 0.3, 0.4])), 0.2)


def test_the_smallest_rate_named_may_be_asked_for():
    for pairs in (3, 7, 204_480, 79_800):
        counts = torch.zeros(CELLS, dtype=torch.float64)
        counts[1234] = pairs
        threshold_at(counts, float(score_counts.smallest_rate(pairs)))


def test_a_higher_rate_never_raises_the_threshold():
    counts = counted(torch.rand(3000).square())
    thresholds = [threshold_at(counts, rate) for rate in torch.logspace(-3, -0.01, 200).tolist()]
    assert all(later <= earlier for earlier, later in pairwise(thresholds))


@pytest.mark.parametrize("rate", [1e-3, 0.02, 0.5])
def test_share_and_threshold_are_inverse(rate: float):
    counts = counted(torch.randn(5000) * 0.2)
    assert share_from(counts, threshold_at(counts, rate)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [1e-2, 1e-3])
def test_the_rate_holds_on_new_pairs_within_its_binomial_error(rate: float, seed: int):
    generator = torch.Generator().manual_seed(seed)
    null, new = (0.3 + 0.15 * torch.randn(200_000, generator=generator) for _ in range(2))
    reached = int((new >= threshold_at(counted(null), rate)).sum())
    # both samples vary: variance 2 n rate; five of its roots
    assert abs(reached - 200_000 * rate) <= 5 * math.sqrt(2 * 200_000 * rate)


def drawn(count: int, intercept: float, slope: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, generator=generator, dtype=torch.float64) * 0.99
    p = (intercept + slope * closeness(scores)).sigmoid()
    return scores, torch.rand(count, generator=generator) < p


def test_the_fit_finds_the_curve_that_answers_were_drawn_from():
    scores, same = drawn(100_000, -5.0, 3.0)
    intercept, slope = fit_logistic(scores, same.double(), (~same).double())
    assert intercept == pytest.approx(-5, abs=0.15) and slope == pytest.approx(3, abs=0.1)


def test_pairs_parted_cleanly_get_a_finite_slope():
    scores = torch.tensor([0.1] * 6 + [0.9] * 6)
    intercept, slope = fit_answers(scores, scores > 0.5, torch.ones(12))
    # the curve meets Platt's targets: (6 + 1) / (6 + 2) = 0.875 at 0.9, and 1 / (6 + 2) at 0.1
    p = (intercept + slope * closeness(torch.tensor([0.1, 0.9], dtype=torch.float64))).sigmoid()
    assert p.tolist() == pytest.approx([0.125, 0.875], abs=1e-4)


def test_scores_that_part_nothing_are_refused():
    scores = torch.linspace(0.1, 0.9, 40)
    with pytest.raises(DataError, match="must score higher than different ones"):
        fit_answers(scores, scores < 0.5, torch.ones(40))


@pytest.mark.parametrize("yes", [0, LEAST - 1])
def test_too_few_answers_of_a_kind_are_one_sentence(yes: int):
    same = torch.arange(50) < yes
    with pytest.raises(DataError, match=f"at least {LEAST} answers of each kind, got {yes} same and {50 - yes}"):
        fit_answers(torch.rand(50), same, torch.ones(50))


def test_weights_that_follow_the_score_do_not_change_the_fit():
    scores, same = drawn(400, -5.0, 3.0)
    even = fit_answers(scores, same, torch.ones(400))
    # drawn a thousand times as often at the top: within a tenth of the scores weights still fall fourfold
    steep = fit_answers(scores, same, torch.exp(-7 * scores).float())
    assert steep == pytest.approx(even, rel=0.15)


def test_weights_among_equal_scores_stay():
    stable = stable_weights(torch.full((20,), 0.5), torch.tensor([1.0, 3.0] * 10))
    assert stable.tolist() == pytest.approx([0.5, 1.5] * 10)


def test_answers_drawn_by_score_weigh_the_same():
    # strata of 3, 20 and 7 answers: no cut into tenths meets their ends
    weights = torch.cat([torch.full((3,), 30_000.0), torch.full((20,), 85.0), torch.full((7,), 2.0)])
    scores = torch.linspace(0.1, 0.9, 30)
    mixed = torch.randperm(30)
    assert stable_weights(scores[mixed], weights[mixed]).tolist() == pytest.approx([1.0] * 30)
    assert stable_weights(-scores[mixed], weights[mixed]).tolist() == pytest.approx([1.0] * 30)


def test_the_rate_of_unlabelled_pairs_follows_the_curve():
    counts = counted(torch.rand(100_000, dtype=torch.float64) * 0.99)
    curve = curve_of_odds(counts, -5.0, 3.0, 0.01)
    p = (-5 + 3 * closeness(middles())).sigmoid()
    assert curve.same_share == pytest.approx(float((counts * p).sum() / counts.sum()))
    assert share_from(counts * (1 - p), curve.threshold) == pytest.approx(0.01, rel=1e-3)


def two_kinds(same: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores of 500,000 different pairs and of `same` same ones, which score higher."""
    generator = torch.Generator().manual_seed(seed)
    different = 0.3 + 0.15 * torch.randn(500_000, generator=generator)
    return counted(different.clamp(-1, 0.999)), counted(
        (0.75 + 0.08 * torch.randn(same, generator=generator)).clamp(-1, 0.999)
    )


@pytest.mark.parametrize("share", [0.001, 0.005, 0.015])
@pytest.mark.parametrize("rate", [1e-2, 1e-3, 1e-4])
def test_without_labels_no_more_than_the_asked_rate_is_reached(share: float, rate: float):
    different, same = two_kinds(int(500_000 * share))
    strangers = two_kinds(1, seed=1)[0]
    curve = curve_against_strangers(different + same, strangers, rate)
    # the bound: all that reach it are counted as different, less at most the share of same pairs
    true = share_from(different, curve.threshold)
    assert true <= rate * (1 + 1e-3)
    assert true >= rate * (1 - share) - share * 1.1


def by_the_curve(intercept: float, seed: int) -> tuple[Tensor, Tensor]:
    """Scores of different and of same pairs, which are those of 500,000 that a curve of slope 4 makes so."""
    generator = torch.Generator().manual_seed(seed)
    scores = (0.3 + 0.15 * torch.randn(500_000, generator=generator, dtype=torch.float64)).clamp(-1, 0.999)
    p = (intercept + 4 * closeness(scores)).sigmoid()
    same = torch.rand(500_000, generator=generator, dtype=torch.float64) < p
    return counted(scores[~same]), counted(scores[same])


@pytest.mark.parametrize("intercept", [-7.0, -6.0, -5.0])
def test_true_strangers_give_back_the_curve(intercept: float):
    different, same = by_the_curve(intercept, 0)
    curve = curve_against_strangers(different + same, by_the_curve(intercept, 1)[0], 1e-3, measured=True)
    true = float(same.sum() / (different.sum() + same.sum()))
    # below the best 2 % the curve goes on unseen: a slope off by a tenth there is worth half the share
    assert curve.slope == pytest.approx(4, rel=0.25) and true / 1.7 < curve.same_share < true * 1.7


@pytest.mark.parametrize("share", [0.001, 0.005, 0.015])
@pytest.mark.parametrize("measured", [True, False])
def test_the_share_of_another_shape_is_found_within_a_factor_of_four(share: float, measured: bool):
    different, same = two_kinds(int(500_000 * share))
    curve = curve_against_strangers(different + same, two_kinds(1, seed=1)[0], 1e-3, measured=measured)
    # two normal distributions have odds that rise faster than any power: the curve's unseen part is too high, by no
    # more than the share in the best 2 % times the odds of its lower end, which is below threefold up to 1.5 %
    assert share / 4 < curve.same_share < share * 4
    assert (curve.slope == TYPICAL_SLOPE) is not measured


def test_measured_strangers_may_lower_the_threshold_never_raise_it():
    different, same = two_kinds(5000)
    pairs, strangers = different + same, two_kinds(1, seed=1)[0]
    bound = curve_against_strangers(pairs, strangers, 1e-3).threshold
    assert curve_against_strangers(pairs, strangers, 1e-3, measured=True).threshold < bound - 0.01
    harder = strangers.roll(round(0.02 / score_counts.WIDTH))
    assert curve_against_strangers(pairs, harder, 1e-3, measured=True).threshold < bound
    hardest = strangers.roll(round(0.2 / score_counts.WIDTH))
    found = curve_against_strangers(pairs, hardest, 1e-3, known_same=same, measured=True).threshold
    assert found == pytest.approx(bound, abs=1e-3)


def test_nothing_that_stands_out_is_one_sentence():
    different, _ = two_kinds(1)
    with pytest.raises(DataError, match="no scores stand out .* --answers"):
        curve_against_strangers(different, different.roll(1000), 1e-3)


def test_tail_cells_follow_each_other_to_the_top():
    cells = tail_cells(two_kinds(1)[0])
    assert all(one[1] == other[0] for one, other in pairwise(cells)) and cells[-1][1] == CELLS
    with pytest.raises(DataError, match="needs more than 30 pairs"):
        tail_cells(counted(torch.rand(30)))


def test_strangers_are_unit_rows_of_the_cameras_and_always_the_same():
    images = scored(40, 8)
    rows, camids = simulated_strangers(images.embeddings, images.camids)
    assert rows.norm(dim=1).allclose(torch.ones(len(rows))) and sorted(camids.unique().tolist()) == [0, 1]
    assert torch.equal(rows, simulated_strangers(images.embeddings, images.camids)[0])
    best = (rows @ images.embeddings.T).amax(dim=1)
    assert best.max() < 0.999  # none of them is one of the images


def test_too_few_images_for_strangers_are_one_sentence():
    images = scored(10, 4)
    with pytest.raises(DataError, match="at least 128 images .* got 40; .* --answers"):
        simulated_strangers(images.embeddings, images.camids)
