"""What a calibration says of scores, its file, and the check of its probabilities."""

import json
import math
from pathlib import Path

import pytest
import torch

from calibration_cases import calibration, curve
from resight.calibrate import (
    closeness,
    fingerprint,
    load_calibration,
    reliability,
    save_calibration,
)
from resight.errors import CheckpointError, ConfigError, DataError


def test_even_odds_where_intercept_and_slope_meet():
    # logit P = −9.17 + 4 · −log(1 + 0.001 − 0.9) = −9.17 + 4 · 2.29263 = 0.00054
    assert calibration().probability(torch.tensor([0.9])).item() == pytest.approx(0.5, abs=2e-4)


def test_probability_never_falls_and_stays_within_0_and_1():
    probability = calibration().probability(torch.linspace(-1.001, 1.001, 5001))
    assert bool((probability.diff() >= 0).all())
    assert probability.min() >= 0 and probability.max() <= 1 and bool(probability.isfinite().all())


def test_same_from_the_threshold_on():
    assert calibration().same(torch.tensor([[0.79, 0.8], [0.81, -1.0]])).tolist() == [[False, True], [True, False]]


def test_another_share_shifts_the_log_odds():
    # from a share of 0.01 to one of 0.5 the odds grow by (0.5 / 0.5) / (0.01 / 0.99) = 99
    before, after = calibration(), calibration().at_prior(0.5)
    scores = torch.tensor([0.3, 0.7, 0.9], dtype=torch.float64)
    odds = after.curve.log_odds(scores) - before.curve.log_odds(scores)
    assert odds.tolist() == pytest.approx([math.log(99)] * 3)
    assert after.same_share == 0.5 and after.threshold == before.threshold


def test_there_and_back_is_the_same_curve():
    there = calibration(across=curve(), within=curve(intercept=-8.0)).at_prior(0.3)
    assert there.across is not None and there.across.intercept == pytest.approx(-9.17 + there.intercept + 9.17)
    back = there.at_prior(0.01)
    assert back.intercept == pytest.approx(-9.17) and back.within is not None
    assert back.within.intercept == pytest.approx(-8.0) and back.within.same_share == pytest.approx(0.01)


def test_pairs_of_one_camera_and_of_two_have_curves_of_their_own():
    aware = calibration(across=curve(threshold=0.7), within=curve(threshold=0.9, intercept=-12.0))
    scores, same_camera = torch.tensor([0.8, 0.8]), torch.tensor([True, False])
    assert aware.camera_aware and aware.same(scores, same_camera).tolist() == [False, True]
    within, across = aware.probability(scores, same_camera).tolist()
    assert within < across == pytest.approx(calibration().probability(scores)[0].item())
    assert aware.same(scores).tolist() == [True, True]  # all pairs, where nothing is said of cameras


def test_closeness_is_finite_at_both_ends():
    assert bool(closeness(torch.tensor([-1.0, 1.0])).isfinite().all())


def test_error_of_four_pairs_by_hand():
    # two cells of two pairs: (0.1, 0.3) with no same one: |0 − 0.2|; (0.6, 0.8) with both: |1 − 0.7|; mean 0.25
    found = reliability(torch.tensor([0.6, 0.1, 0.8, 0.3]), torch.tensor([1.0, 0, 1, 0]), torch.ones(4), cells=2)
    assert found.error == pytest.approx(0.25)
    assert found.predicted == pytest.approx((0.2, 0.7)) and found.observed == (0.0, 1.0) and found.pairs == (2, 2)


def test_an_entry_of_many_pairs_weighs_as_many():
    one = reliability(torch.tensor([0.2, 0.9]), torch.tensor([3.0, 1.0]), torch.tensor([30.0, 1.0]), cells=1)
    # (30 · 0.2 + 0.9) / 31 said, 4 / 31 so
    assert one.error == pytest.approx(abs(6.9 - 4) / 31)


def test_a_check_of_nothing_is_refused():
    with pytest.raises(DataError, match="at least one pair"):
        reliability(torch.ones(2), torch.zeros(2), torch.zeros(2))


def test_right_probabilities_have_next_to_no_error():
    p = torch.rand(200_000)
    found = reliability(p, (torch.rand(200_000) < p).float(), torch.ones(200_000))
    assert (
        found.error < 0.01
        and reliability(p.square(), (torch.rand(200_000) < p).float(), torch.ones(200_000)).error > 0.1
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slope": 0.0}, "slope above 0"),
        ({"intercept": math.nan}, "finite numbers"),
        ({"same_share": 0.0}, "between 0 and 1, got 0.0"),
        ({"false_match_rate": 1.0}, "--false-match-rate must lie between 0 and 1"),
        ({"source": "guess"}, "must be one of answers, tracklets"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], words: str):
    with pytest.raises(ConfigError, match=words):
        calibration(**changes)


def test_a_share_of_1_is_no_population():
    with pytest.raises(ConfigError, match="between 0 and 1, got 1"):
        calibration().at_prior(1.0)


def test_saved_and_loaded_is_the_same(run: Path):
    aware = calibration(fingerprint=fingerprint(run), across=curve(), within=curve(threshold=0.9))
    path = save_calibration(run, aware)
    assert load_calibration(run) == aware == load_calibration(run / "model.safetensors")
    assert json.loads(path.read_text())["source"] == "answers"
    path.unlink()
    assert load_calibration(run) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 2}', "another format"),
        ('{"format": 1, "threshold": 0.5}', "cannot be read"),
    ],
)
def test_a_damaged_file_is_one_sentence(run: Path, text: str, words: str):
    path = run / "calibration.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=words) as error:
        load_calibration(run)
    assert "resight calibrate" in str(error.value)
    path.unlink()


def test_one_of_another_model_is_refused(run: Path):
    path = save_calibration(run, calibration(fingerprint="another"))
    with pytest.raises(CheckpointError, match="belongs to another model .* calibrate again"):
        load_calibration(run)
    path.unlink()
