"""Drawn galleries, camera pairs and intervals: worked by hand, and against plain loops."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles.retrieval import slow_draw, slow_metrics, slow_protocol
from resight.answers import Answers
from resight.breakdown import DrawnGalleries, bootstrap_intervals
from resight.errors import ConfigError, DataError
from resight.evaluate import Options, evaluate
from resight.protocols import EvaluationProtocol
from resight.types import Sample, Split
from test_evaluate import PROTOCOLS, at_angles, case_of_everything, random_labelled, split

VEHICLEID = EvaluationProtocol("vehicleid", cameras="none", shots=1, draws=10)


def images(*pids: int) -> tuple[Split, Split]:
    """The same images as query and as gallery, no cameras."""
    samples = tuple(Sample(Path(f"{i}.jpg"), pid) for i, pid in enumerate(pids))
    return Split("query", samples), Split("gallery", samples)


def test_two_identities_of_two_images_worked_by_hand():
    # Angles 0 and 20 are identity 1, 10 and 50 identity 2. A draw puts one image of each into the gallery; the other
    # two are queries. Gallery {0, 10}: query 20 finds 10 first, 0 second: rank 2; query 50 finds 10 first: rank 1.
    # {0, 50}: query 20 finds 0 first: 1; query 10 finds 0 first, 50 second: 2. {20, 10}: query 0 finds 10 first: 2;
    # query 50 finds 20 first (30 away, against 40): 2. {20, 50}: query 0 finds 20 first: 1; query 10 finds 20: 2.
    ranks = {(0, 1): {2: 2, 3: 1}, (0, 3): {2: 1, 1: 2}, (2, 1): {0: 2, 3: 2}, (2, 3): {0: 1, 1: 2}}
    query, gallery = images(1, 2, 1, 2)
    rows = at_angles(0, 10, 20, 50)
    answers = Answers(query, gallery, VEHICLEID)
    drawn = DrawnGalleries(answers, 1, 40)
    scores = rows @ rows.T
    scores.fill_diagonal_(-torch.inf)
    drawn.watch(0, scores)
    seen = set()
    for keys, metrics in zip(drawn.keys, drawn.metrics(), strict=True):
        in_gallery = tuple(min(pair, key=lambda i: keys[i]) for pair in ((0, 2), (1, 3)))
        expected = [ranks[in_gallery].get(i, 0) for i in range(4)]
        assert metrics.first_rank.tolist() == expected
        seen.add(in_gallery)
    assert len(seen) == 4
    result = evaluate(rows, rows, query, gallery, protocol=VEHICLEID)
    assert result.draws == 10
    assert (result.queries, result.left_out) == (4, 0)
    assert "mean of 10 drawn galleries" in str(result)


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_drawn_galleries_equal_plain_loops(protocol, shots):
    counted = 0
    for seed in range(60):
        q, g, query, gallery = case_of_everything(seed)
        answers = Answers(query, gallery, protocol)
        drawn = DrawnGalleries(answers, shots, 2, seed=seed)
        scores = q @ g.T
        _, left_out = slow_protocol(query, gallery, protocol)
        for first in range(0, len(query), 3):  # in blocks
            drawn.watch(
                first, scores[first : first + 3].masked_fill(torch.tensor(left_out[first : first + 3]), -torch.inf)
            )
        for keys, metrics in zip(drawn.keys, drawn.metrics(), strict=True):
            slow = slow_draw(scores.tolist(), query, gallery, protocol, keys.tolist(), shots)
            assert metrics.first_rank.tolist() == [(row.ranks or [0])[0] for row in slow], f"seed {seed}"
            assert metrics.ap.tolist() == pytest.approx([row.ap for row in slow], nan_ok=True)
            counted += sum(bool(row.ranks) for row in slow)
    assert counted > 50


def test_single_shot_cmc_is_the_mean_over_the_draws():
    q, g, query, gallery = random_labelled(7)
    result = evaluate(q, g, query, gallery, options=Options(single_shot_draws=5))
    answers = Answers(query, gallery, EvaluationProtocol("general"))
    keys = DrawnGalleries(answers, 1, 5).keys
    scores = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(g).T
    shares = []
    for order in keys:
        slow = slow_draw(scores.tolist(), query, gallery, EvaluationProtocol("general"), order.tolist(), 1)
        ranks = [row.ranks[0] for row in slow if row.ranks]
        shares.append(sum(rank == 1 for rank in ranks) / len(ranks))
    assert result.single_shot is not None
    assert result.single_shot[1] == pytest.approx(sum(shares) / 5)
    assert result.to_json()["cmc_single_shot"]["1"] == result.single_shot[1]


def test_one_image_of_each_identity_leaves_nothing_to_draw():
    query = split("query", (0, 0), (1, 0))
    gallery = split("gallery", (0, 1), (1, 1), (2, 1))
    rows = at_angles(0, 10, 20)
    whole = evaluate(at_angles(1, 2), rows, query, gallery)
    drawn = evaluate(at_angles(1, 2), rows, query, gallery, protocol=dataclasses.replace(VEHICLEID, cameras="own"))
    assert (drawn.mAP, drawn.cmc, drawn.mINP) == (whole.mAP, whole.cmc, whole.mINP)


def test_draws_in_which_nothing_counts_are_left_out_of_the_single_shot_cmc():
    query, gallery = images(1)[0], images(1, 1)[1]
    result = evaluate(at_angles(0), at_angles(0, 5), query, gallery, options=Options(single_shot_draws=10))
    assert result.single_shot == {1: 1.0, 5: 1.0, 10: 1.0, 20: 1.0}


def test_draws_without_any_answer_are_refused():
    query, gallery = images(1, 2, 3)
    with pytest.raises(DataError, match="no query has a right answer"):
        evaluate(at_angles(0, 1, 2), at_angles(0, 1, 2), query, gallery, protocol=VEHICLEID)


# --- pairs of cameras


def test_camera_pairs_worked_by_hand():
    query = split("query", (1, 0), (2, 0))
    gallery = split("gallery", (1, 1), (2, 1), (1, 2), (1, 0))
    # Query 0 (0°): camera 1 holds 10° right, 5° wrong: rank 2, AP 1/2; camera 2 only 3°, right: AP 1; camera 0 holds
    # only its own identity by its own camera, left out. Query 1 (6°): camera 1: 5° right, first: AP 1.
    result = evaluate(at_angles(0, 6), at_angles(10, 5, 3, 1), query, gallery, options=Options(camera_pairs=True))
    assert [dataclasses.astuple(pair) for pair in result.camera_pairs] == [(0, 1, 2, 0.75, 0.5), (0, 2, 1, 1.0, 1.0)]
    assert result.to_json()["camera_pairs"][0] == {"query": 0, "gallery": 1, "queries": 2, "mAP": 0.75, "cmc1": 0.5}
    assert any(line.split() == ["0", "1", "2", "75.00", "50.00"] for line in result.lines())


@pytest.mark.parametrize("block_size", [None, 2])
def test_camera_pairs_equal_a_gallery_of_one_camera(block_size):
    compared = 0
    for seed in range(80):
        q, g, query, gallery = case_of_everything(seed)
        try:
            result = evaluate(q, g, query, gallery, options=Options(camera_pairs=True), block_size=block_size)
        except DataError:
            continue
        found = {(pair.query_camid, pair.gallery_camid): pair for pair in result.camera_pairs}
        right, left_out = slow_protocol(query, gallery)
        expected = {}
        for camera in {s.camid for s in gallery if s.camid is not None}:
            elsewhere = [s.camid != camera for s in gallery]
            for i, sample in enumerate(query):
                out = [a or b for a, b in zip(left_out[i], elsewhere, strict=True)]
                slow = slow_metrics((q[i] @ g.T).tolist(), right[i], out)
                if slow.ranks:
                    key = (-1 if sample.camid is None else sample.camid, camera)
                    expected.setdefault(key, []).append((slow.ap, slow.ranks[0] == 1))
        assert found.keys() == expected.keys()
        for key, values in expected.items():
            assert found[key].queries == len(values)
            assert found[key].mAP == pytest.approx(np.mean([ap for ap, _ in values]))
            assert found[key].cmc1 == pytest.approx(np.mean([hit for _, hit in values]))
            compared += 1
    assert compared > 80


# --- intervals


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(3)
    inside = 0
    for seed in range(200):
        sample = random.beta(2, 5, 80)  # its mean is 2 / 7
        low, high = bootstrap_intervals({"mAP": sample[None]}, repeats=300, seed=seed)["mAP"]
        inside += low <= 2 / 7 <= high
    assert 178 <= inside <= 199  # 190 are expected, a little fewer at 80 queries


def test_queries_that_do_not_count_are_not_drawn():
    with_gaps = np.array([[0.2, np.nan, 0.4, np.nan, 0.9]])
    without = np.array([[0.2, 0.4, 0.9]])
    assert bootstrap_intervals({"x": with_gaps}) == bootstrap_intervals({"x": without})


def test_alike_queries_leave_no_doubt():
    assert bootstrap_intervals({"x": np.full((1, 20), 0.25)})["x"] == (0.25, 0.25)


def test_with_draws_the_interval_is_of_the_figure():
    """Queries of rare identities count in fewer draws, so that a plain mean over queries is another figure."""
    random = np.random.default_rng(0)
    rare, common = [], []
    for i in range(60):  # two alike queries each, hard; and twelve each, easy
        rare += [2 * i] * 2
        common += [2 * i + 1] * 12
    query, gallery = images(*rare, *common)
    centres = torch.from_numpy(random.standard_normal((120, 16), dtype=np.float32))
    noise = torch.from_numpy(random.standard_normal((len(query), 16), dtype=np.float32))
    spread = torch.tensor([2.0] * len(rare) + [0.1] * len(common)).unsqueeze(1)
    rows = torch.nn.functional.normalize(centres[[s.pid for s in query]] + spread * noise)
    result = evaluate(rows, rows, query, gallery, protocol=VEHICLEID)
    assert float(result.ap.nanmean()) < result.mAP - 0.01
    for name, value in (("mAP", result.mAP), ("mINP", result.mINP), ("CMC@1", result.cmc[1])):
        low, high = result.intervals[name]
        assert low < value < high
        assert (low + high) / 2 == pytest.approx(value, abs=0.01)


def test_the_result_holds_the_intervals():
    q, g, query, gallery = random_labelled(2)
    result = evaluate(q, g, query, gallery)
    for name, value in (("mAP", result.mAP), ("mINP", result.mINP), ("CMC@1", result.cmc[1])):
        low, high = result.intervals[name]
        assert low <= value <= high
    assert "95 % interval" in str(result)
    assert result.to_json()["intervals_95"].keys() == {"mAP", "mINP", "CMC@1"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cameras": "some"}, "must be one of own, all, none, got 'some'"),
        ({"shots": -1}, "shots of 0 or more"),
        ({"draws": 0}, "at least one draw"),
        ({"seconds": -2.0}, "seconds"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        EvaluationProtocol("x", **change)
