"""Confidence worked by hand; probabilities and matches against loops; groups cut where nothing matches."""

import numpy as np
import pytest
import torch
from group_cases import graph_of, matrix, people

from resight.calibrate import Calibration
from resight.errors import ConfigError
from resight.groups import places
from resight.groups.links import NO_GROUP, find_links, no_links
from resight.groups.places import Threshold, cut_where_unmatched, placed, scored
from resight.groups.thresholds import chosen_threshold

CALIBRATION = Calibration(0.8, 0.01, -2.0, 2.0, 0.1, "answers", 100, "model")


def test_confidence_by_hand():
    # Groups {0, 1, 2} and {3, 4}; 5 alone; eps 0.9, so that 0.1 is the least similarity.
    near = {(0, 1): 0.2, (0, 2): 0.4, (1, 2): 0.6, (3, 4): 0.5, (2, 3): 0.3, (2, 4): 0.9, (4, 5): 0.88}
    found = placed(graph_of(matrix(6, near)), np.array([0, 0, 0, 1, 1, 2]), no_links(6), 0.9)
    # 0: own (0.8 + 0.6)/2 = 0.7 against being alone, 0.1. 1: own (0.8 + 0.4)/2 = 0.6.
    # 2: own (0.6 + 0.4)/2 = 0.5 against (0.7 + 0.1)/2 = 0.4 to {3, 4}. 3: own 0.5 against 0.7/3 = 0.2333 to {0, 1, 2}.
    # 4: own 0.5 against 0.12 to {5}, more than 0.1/3. 5: 0.1 against 0.12/2 = 0.06 to {3, 4}.
    wanted = [0.7 / 0.8, 0.6 / 0.7, 0.5 / 0.9, 0.5 / (0.5 + 0.7 / 3), 0.5 / 0.62, 0.1 / 0.16]
    assert found.confidence == pytest.approx(wanted, abs=1e-6)
    assert found.rival.tolist() == [NO_GROUP, NO_GROUP, 1, 0, 2, 1]


def test_an_answer_makes_sure_and_what_is_kept_apart_is_no_rival():
    near = {(0, 1): 0.8, (1, 2): 0.3, (2, 3): 0.5}
    graph, cluster = graph_of(matrix(4, near)), np.array([0, 0, 1, 1])
    plain = placed(graph, cluster, no_links(4), 0.9)
    # 1: own 0.2 against 0.7/2 = 0.35 to {2, 3}.
    assert plain.confidence[1] == pytest.approx(0.2 / 0.55) and plain.rival[1] == 1
    sure = placed(graph, cluster, find_links(4, same=[(0, 1)], different=[(1, 2)]), 0.9)
    assert sure.confidence[1] == pytest.approx(1 / 1.1) and sure.rival[1] == NO_GROUP


@pytest.mark.parametrize("seed", range(20))
def test_scores_inside_groups_are_those_of_a_loop(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places, "SCORES_AT_ONCE", 7)
    generator = np.random.default_rng(seed)
    rows, n = people(4, 5, seed=seed, spread=1.0), 20
    cluster = generator.integers(0, 6, n)
    camids = torch.from_numpy(generator.integers(0, 2, n))
    threshold = Threshold(0.4, 0.6)
    found = scored(rows, cluster, camids, CALIBRATION, threshold)
    for crop in range(n):
        others = [other for other in range(n) if other != crop and cluster[other] == cluster[crop]]
        scores = torch.tensor([float(rows[crop] @ rows[other]) for other in others])
        same = torch.tensor([bool(camids[crop] == camids[other]) for other in others], dtype=torch.bool)
        if not others:
            assert np.isnan(found.probability[crop]) and found.best[crop] == -1 and not found.matched[crop]
            continue
        assert found.probability[crop] == pytest.approx(float(CALIBRATION.probability(scores).mean()), abs=1e-5)
        assert found.best[crop] == pytest.approx(float(scores.max()), abs=1e-5)
        assert found.matched[crop] == bool(((scores >= 0.6) & same | (scores >= 0.4) & ~same).any())


def test_groups_are_cut_where_no_pair_reaches_the_threshold():
    # On a line of angles 0°, 20°, 40°, 90°, 100°: neighbours 20° apart score 0.94, 40 and 90 score 0.64.
    angles = torch.deg2rad(torch.tensor([0.0, 20.0, 40.0, 90.0, 100.0]))
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    whole, camids, limit = np.zeros(5, dtype=np.int64), torch.zeros(5, dtype=torch.long), Threshold(0.9, 0.9)
    assert cut_where_unmatched(rows, whole, camids, limit, no_links(5)).tolist() == [0, 0, 0, 1, 1]
    known = find_links(5, same=[(2, 3)])
    assert cut_where_unmatched(rows, whole, camids, limit, known).tolist() == [0, 0, 0, 0, 0]
    assert cut_where_unmatched(rows, np.array([0, 1, 0, 1, 1]), camids, limit, no_links(5)).tolist() == [0, 1, 2, 3, 3]


def test_the_threshold_is_as_calibrated_or_as_asked():
    rows, camids = people(30, 8, spread=0.8), torch.arange(240) % 2
    images = (rows, camids)
    assert chosen_threshold(None, images) is None
    assert chosen_threshold(CALIBRATION, images) == Threshold(0.8, 0.8, 0.01)
    assert chosen_threshold(CALIBRATION, images, rate=0.01) == Threshold(0.8, 0.8, 0.01, strict=True)
    assert chosen_threshold(CALIBRATION, images, 0.3) == Threshold(0.3, 0.3, strict=True)
    low, high = (chosen_threshold(CALIBRATION, images, rate=rate) for rate in (0.05, 0.002))
    assert low is not None and high is not None and low.across < high.across and high.strict
    # At the threshold the different pairs, by the curve, that reach it are that share of all different ones.
    scores = (rows @ rows.T)[torch.ones(240, 240, dtype=torch.bool).triu(1)].double()
    different = 1 - CALIBRATION.probability(scores)
    assert float(different[scores >= low.across].sum() / different.sum()) == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize(
    ("calibration", "threshold", "rate", "words"),
    [
        (CALIBRATION, 0.5, 0.1, "exclude each other"),
        (CALIBRATION, 1.5, None, "must lie in -1..1, got 1.5"),
        (None, None, 0.1, "needs a calibration"),
        (CALIBRATION, None, 2.0, "between 0 and 1"),
        (CALIBRATION, None, 1e-9, "below what"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(calibration, threshold, rate, words: str):
    with pytest.raises(ConfigError, match=words):
        chosen_threshold(calibration, (people(4, 4), torch.zeros(16, dtype=torch.long)), threshold, rate)
