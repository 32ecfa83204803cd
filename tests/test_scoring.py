"""Scores as they are asked for: tests of a data set, tracklets, junk, query expansion, re-ranking."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from resight.errors import ConfigError, DataError
from resight.evaluate import evaluate
from resight.protocols import EvaluationProtocol
from resight.rerank import KReciprocal, expand_queries
from resight.scoring import (
    Scoring,
    keep_tests,
    own_rows,
    pick_tests,
    pool_tracklets,
    score,
    score_tests,
    without_cameras,
    without_junk,
)
from resight.types import Dataset, Sample, Split, TestSet
from test_evaluate import at_angles, random_labelled, split


def test_tracklets_are_searched_by_their_mean():
    gallery = Split(
        "gallery",
        (
            Sample(Path("a.jpg"), 1, 1, tracklet=7),
            Sample(Path("b.jpg"), 2, 1),
            Sample(Path("c.jpg"), 1, 1, tracklet=7),
            Sample(Path("d.jpg"), 2, 1, tracklet=3),
        ),
    )
    rows, pooled = pool_tracklets(2 * at_angles(0, 30, 40, 90), gallery)
    # Rows of 0° and 40° are tracklet 7: their mean points to 20°. The others stay as they are.
    assert torch.allclose(rows, at_angles(20, 30, 90), atol=1e-6)
    assert [sample.path.name for sample in pooled] == ["a.jpg", "b.jpg", "d.jpg"]
    query = split("query", (1, 0))
    # By image 30° (wrong) is nearer to 31° than 40° is; by tracklet 20° (right) is 11 away, 30° only 1: still second.
    result = score((at_angles(24), at_angles(0, 30, 40, 90)), query, gallery, scoring=Scoring(by_tracklet=True))
    assert result.first_rank.tolist() == [1]
    assert score((at_angles(24), at_angles(0, 30, 40, 90)), query, gallery).first_rank.tolist() == [2]


def test_tracklets_must_be_known():
    q, g, query, gallery = random_labelled(1)
    with pytest.raises(DataError, match="--by-tracklet needs tracklets, but none of the 41 gallery images has one"):
        score((q, g), query, gallery, scoring=Scoring(by_tracklet=True))


def test_junk_stands_among_nothings_neighbours():
    q, g, query, gallery = random_labelled(2)
    rows, kept = without_junk(g, gallery)
    assert [s.pid for s in kept] == [s.pid for s in gallery if s.pid != -1]
    assert len(kept) < len(gallery)
    assert torch.equal(rows, g[[i for i, s in enumerate(gallery) if s.pid != -1]])
    same, whole = without_junk(rows, kept)
    assert same is rows
    assert whole is kept
    for scoring in (Scoring(rerank=True, k1=5, k2=2), Scoring(expand=3)):
        assert score((q, g), query, gallery, scoring=scoring) == score((q, rows), query, kept, scoring=scoring)


def test_re_ranking_is_evaluated_on_the_scores_that_it_gives():
    q, g, query, gallery = random_labelled(3)
    g, gallery = without_junk(g, gallery)
    result = score((q, g), query, gallery, scoring=Scoring(rerank=True, k1=6, k2=3, lambda_=0.4))
    scores = KReciprocal.of(q, g, k1=6, k2=3, lambda_=0.4).rescore(0, normalize(q) @ normalize(g).T)

    class Known:
        def rescore(self, first, scores_before):
            return scores[first : first + len(scores_before)].clone()

    from resight.evaluate import Options

    assert evaluate(q, g, query, gallery, options=Options(rescorer=Known()), block_size=2) == result
    assert result != score((q, g), query, gallery)


def test_lambda_one_changes_no_ranking():
    q, g, query, gallery = random_labelled(4)
    plain, same = (score((q, g), query, gallery, scoring=s) for s in (Scoring(), Scoring(rerank=True, lambda_=1.0)))
    assert same.mAP == pytest.approx(plain.mAP)
    assert same.cmc == plain.cmc


def test_queries_are_expanded_before_the_search():
    q, g, query, gallery = random_labelled(5)
    g, gallery = without_junk(g, gallery)
    expanded = expand_queries(q, g, k=4, alpha=2.0)
    assert score((q, g), query, gallery, scoring=Scoring(expand=4, alpha=2.0)) == score((expanded, g), query, gallery)


def test_drawn_galleries_are_not_re_ranked():
    q, g, query, gallery = random_labelled(6)
    protocol = EvaluationProtocol("vehicleid", cameras="none", shots=1, draws=10)
    with pytest.raises(ConfigError, match="--rerank needs one gallery, but protocol 'vehicleid' draws 10 of them"):
        score((q, g), query, gallery, protocol=protocol, scoring=Scoring(rerank=True))
    with pytest.raises(ConfigError, match="--query-expansion needs one gallery, but protocol 'vehicleid'"):
        score((q, g), query, gallery, protocol=protocol, scoring=Scoring(expand=2))
    with pytest.raises(ConfigError, match="--rerank needs one gallery, but --single-shot draws several"):
        score((q, g), query, gallery, scoring=Scoring(rerank=True, single_shot_draws=3))


def test_what_was_done_stands_beside_the_figures():
    q, g, query, gallery = random_labelled(6)
    assert "scoring" not in score((q, g), query, gallery).to_json()
    scoring = Scoring(rerank=True, k1=5, k2=2, lambda_=0.4, expand=3, alpha=1.5)
    result = score((q, g), query, gallery, scoring=scoring)
    told = {"query expansion": {"k": 3, "alpha": 1.5}, "re-ranked": {"k1": 5, "k2": 2, "lambda": 0.4}}
    assert result.to_json()["scoring"] == told
    assert result.lines()[0] == "query expansion (k 3, alpha 1.5); re-ranked (k1 5, k2 2, lambda 0.4)"


def test_cameras_must_be_known_to_be_told_apart():
    query, gallery = split("query", (1, None)), split("gallery", (1, None), (2, None))
    with pytest.raises(DataError, match="--camera-pairs needs cameras, but none of the 2 gallery images has one"):
        score((at_angles(0), at_angles(1, 2)), query, gallery, scoring=Scoring(camera_pairs=True))


def test_a_query_in_a_pooled_tracklet_does_not_find_itself():
    gallery = Split("gallery", tuple(Sample(Path(f"{n}.jpg"), p, tracklet=t) for n, p, t in (
        ("a", 1, 5), ("b", 1, 5), ("c", 1, 6), ("d", 2, 7))))  # fmt: skip
    query = Split("query", (Sample(Path("b.jpg"), 1),))
    result = score((at_angles(10), at_angles(9, 10, 40, 20)), query, gallery, scoring=Scoring(by_tracklet=True))
    # Tracklet 5 is left out as a whole: of 6 (30 away) and 7 (10 away) the wrong one comes first.
    assert result.first_rank.tolist() == [2]


def test_a_query_in_the_gallery_is_encoded_once_and_not_added_to_itself():
    q, g, query, gallery = random_labelled(9)
    both = Split("gallery", (*gallery.samples, *query.samples))
    rows = torch.cat([g, q])
    kept, without = without_junk(rows, both)
    own = torch.tensor([next((i for i, s in enumerate(without) if s is t), -1) for t in query])
    expanded = expand_queries(q, kept, k=3, alpha=1.0, own=own)
    assert score((q, rows), query, both, scoring=Scoring(expand=3, alpha=1.0)) == score(
        (expanded, kept), query, without
    )
    assert not torch.allclose(expanded, expand_queries(q, kept, k=3, alpha=1.0), atol=1e-3)


# --- several tests


def two_tests() -> tuple[tuple[torch.Tensor, torch.Tensor], Dataset]:
    q, g, query, gallery = random_labelled(8)
    tests = (TestSet("small", (0, 2, 5), tuple(range(0, 41, 2))), TestSet("large"))
    return (q, g), Dataset(Path("x"), "manifest", Split("train"), query, gallery, tests=tests)


def test_each_test_is_scored_on_its_own_images():
    (q, g), dataset = two_tests()
    results = score_tests((q, g), dataset)
    assert list(results) == ["small", "large"]
    at = list(range(0, 41, 2))
    small = [
        Split(s.name, tuple(s.samples[i] for i in part))
        for s, part in zip(dataset.splits[1:], ([0, 2, 5], at), strict=True)
    ]
    assert results["small"] == evaluate(q[[0, 2, 5]], g[at], *small)
    assert results["large"] == evaluate(q, g, dataset.query, dataset.gallery)


def test_tests_are_picked_by_name():
    _, dataset = two_tests()
    assert [test.name for test in pick_tests(dataset, "large").tests] == ["large"]
    assert pick_tests(dataset, None) is dataset
    with pytest.raises(ConfigError, match="--tests must name some of small, large, got 'medium'"):
        pick_tests(dataset, "medium")


def test_only_the_images_of_the_picked_tests_are_kept():
    (q, g), dataset = two_tests()
    small = pick_tests(dataset, "small")
    assert small.query.samples == tuple(dataset.query.samples[i] for i in (0, 2, 5))
    assert small.gallery.samples == dataset.gallery.samples[::2]
    assert small.tests == (TestSet("small"),)
    assert score_tests((q[[0, 2, 5]], g[::2]), small) == {"small": score_tests((q, g), dataset)["small"]}
    parts = (TestSet("one", (1, 3), (0, 2)), TestSet("two", (3, 8), (2, 4)))
    kept = keep_tests(dataset, parts)
    assert [len(kept.query), len(kept.gallery)] == [3, 3]
    assert kept.tests == (TestSet("one", (0, 1), (0, 1)), TestSet("two", (1, 2), (1, 2)))


def two_cameras(seed: int, shift: float) -> tuple[torch.Tensor, torch.Tensor, Split, Split]:
    """Identities in two cameras, one of which shifts what it sees; queries are of camera 0."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, 1, 1, 16, generator=generator)
    rows = centres + 0.3 * torch.randn(12, 2, 3, 16, generator=generator)
    rows = rows + shift * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1) * torch.randn(16, generator=generator)
    samples = tuple(Sample(Path(f"{p}-{c}-{i}.jpg"), p, c) for p in range(12) for c in range(2) for i in range(3))
    rows = normalize(rows.flatten(0, 2), dim=1)
    asked = [i for i, s in enumerate(samples) if s.camid == 0 and s.path.stem.endswith("0")]
    query = Split("query", tuple(samples[i] for i in asked))
    return rows[asked], rows, query, Split("gallery", samples)


def test_what_a_camera_shares_is_taken_out():
    q, g, query, gallery = two_cameras(0, 6.0)
    plain, apart = score((q, g), query, gallery), score((q, g), query, gallery, scoring=Scoring(by_camera=True))
    assert plain.mAP < 0.6 < 0.9 < apart.mAP
    assert apart.scoring == {"standardised per camera by the gallery": True}


def test_standardising_by_the_gallery_is_done_camera_by_camera():
    q, g, query, gallery = two_cameras(1, 1.0)
    camid = torch.tensor(gallery.camids)
    expected = torch.empty_like(g)
    for camera in (0, 1):
        rows = g[camid == camera].double()
        standard = (rows - rows.mean(0)) / rows.std(0)
        expected[camid == camera] = normalize(standard, dim=1).float()
    place = own_rows(query, gallery)
    found = without_cameras(q, g, query, gallery)
    assert torch.allclose(found[1], expected, atol=1e-5)
    assert torch.allclose(found[0], expected[place], atol=1e-5)


def test_cameras_must_be_known_to_be_taken_out():
    q, g, query, gallery = two_cameras(2, 1.0)
    nowhere = Split("gallery", tuple(dataclasses.replace(s, camid=None) for s in gallery))
    with pytest.raises(DataError, match="--by-camera needs cameras, but none of the 72 gallery images has one"):
        score((q, g), query, nowhere, scoring=Scoring(by_camera=True))
    drawn = EvaluationProtocol("drawn", shots=1, draws=2)
    with pytest.raises(ConfigError, match="--by-camera needs one gallery"):
        score((q, g), query, gallery, protocol=drawn, scoring=Scoring(by_camera=True))


def test_a_query_from_a_camera_that_the_gallery_lacks_stays_as_it_is():
    q, g, query, gallery = two_cameras(3, 1.0)
    elsewhere = Split("query", tuple(dataclasses.replace(s, camid=9) for s in query))
    assert torch.allclose(without_cameras(q, g, elsewhere, gallery)[0], q)
