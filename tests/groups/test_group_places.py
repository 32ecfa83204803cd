"""Confidence worked by hand; probabilities and matches against loops; groups cut where nothing matches."""

import tracemalloc

import numpy as np
import pytest
import torch
from group_cases import graph_of, matrix, people

from resight.calibrate import Calibration, Curve
from resight.groups import places
from resight.groups.links import NO_GROUP, find_links, no_links
from resight.groups.places import cut_where_unmatched, placed, scored
from resight.matching import Thresholds, same_camera

CALIBRATION = Calibration(
    *(0.8, 0.01, -2.0, 2.0, 0.1, "answers", 100, "model"),
    across=Curve(0.7, -1.0, 2.0, 0.1),
    within=Curve(0.9, -4.0, 2.0, 0.1),
)


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
    camids = torch.from_numpy(generator.integers(-1, 2, n))  # −1: not known
    threshold = Thresholds(0.4, 0.6)
    found = scored(rows, cluster, camids, CALIBRATION, threshold)
    for crop in range(n):
        others = [other for other in range(n) if other != crop and cluster[other] == cluster[crop]]
        scores = torch.tensor([float(rows[crop] @ rows[other]) for other in others])
        known = int(camids[crop]) >= 0
        same = torch.tensor([known and int(camids[crop]) == int(camids[other]) for other in others], dtype=torch.bool)
        if not others:
            assert np.isnan(found.probability[crop]) and found.best[crop] == -1 and not found.matched[crop]
            continue
        assert found.probability[crop] == pytest.approx(float(CALIBRATION.probability(scores, same).mean()), abs=1e-5)
        assert found.best[crop] == pytest.approx(float(scores.max()), abs=1e-5)
        assert found.matched[crop] == bool(((scores >= 0.6) & same | (scores >= 0.4) & ~same).any())


def test_groups_are_cut_where_no_pair_reaches_the_threshold():
    # On a line of angles 0°, 20°, 40°, 90°, 100°: neighbours 20° apart score 0.94, 40 and 90 score 0.64.
    angles = torch.deg2rad(torch.tensor([0.0, 20.0, 40.0, 90.0, 100.0]))
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    whole, camids, limit = np.zeros(5, dtype=np.int64), torch.zeros(5, dtype=torch.long), Thresholds(0.9, 0.9)
    assert cut_where_unmatched(rows, whole, camids, limit, no_links(5)).tolist() == [0, 0, 0, 1, 1]
    known = find_links(5, same=[(2, 3)])
    assert cut_where_unmatched(rows, whole, camids, limit, known).tolist() == [0, 0, 0, 0, 0]
    assert cut_where_unmatched(rows, np.array([0, 1, 0, 1, 1]), camids, limit, no_links(5)).tolist() == [0, 1, 2, 3, 3]


def test_two_unknown_cameras_are_not_one_camera():
    # Two crops of cosine 0.8: a match across cameras (0.7), none within one (0.9).
    rows = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    together, limits = np.zeros(2, dtype=np.int64), Thresholds(0.7, 0.9)
    for camids, matched in (([-1, -1], True), ([-1, 3], True), ([2, 3], True), ([3, 3], False)):
        cameras = torch.tensor(camids)
        found = scored(rows, together, cameras, CALIBRATION, limits)
        curve = CALIBRATION.within if camids == [3, 3] else CALIBRATION.across
        assert curve is not None
        assert found.matched.tolist() == [matched] * 2
        wanted = float(curve.log_odds(torch.tensor(0.8, dtype=torch.float64)).sigmoid())
        assert found.probability == pytest.approx([wanted] * 2, abs=1e-6)
        assert len(set(cut_where_unmatched(rows, together, cameras, limits, no_links(2)).tolist())) == 2 - matched


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_cut_as_a_walk_along_all_matching_pairs_does(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places, "SCORES_AT_ONCE", 7)
    generator = np.random.default_rng(seed)
    rows, n = people(4, 6, seed=seed, spread=1.0), 24
    cluster = generator.integers(0, 3, n)
    cluster[1] = cluster[0]
    links = find_links(n, same=[(0, 1)])
    camids = torch.from_numpy(generator.integers(-1, 2, n))
    limits = Thresholds(0.4, 0.6)
    found = cut_where_unmatched(rows, cluster, camids, limits, links)
    reached = limits.reached(rows @ rows.T, same_camera(camids.unsqueeze(1), camids)).numpy()
    reached &= cluster[:, None] == cluster
    reached[0, 1] = reached[1, 0] = True
    for crop in range(n):
        walked, ahead = {crop}, [crop]
        while ahead:
            fresh = set(np.flatnonzero(reached[ahead.pop()]).tolist()) - walked
            walked |= fresh
            ahead += fresh
        assert set(np.flatnonzero(found == found[crop]).tolist()) == walked


def test_the_matching_pairs_of_a_large_group_are_not_all_held_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places, "SCORES_AT_ONCE", 2**16)
    n = 2000
    rows, whole = torch.ones(n, 1), np.zeros(n, dtype=np.int64)
    tracemalloc.start()
    try:
        found = cut_where_unmatched(rows, whole, torch.zeros(n, dtype=torch.long), Thresholds(0.9, 0.9), no_links(n))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not found.any() and peak < 16 * n * n / 4  # all pairs take 16 bytes each
