"""Where a calibration learns from: answers, tracklets, the images alone, identities."""

import dataclasses

import pytest
import torch

from calibration_cases import ROOT, Scored, scored
from resight.calibration_check import check_by_identity
from resight.calibration_sources import (
    count_by_identity,
    from_answers,
    from_identities,
    from_images,
    from_tracklets,
    intervals,
)
from resight.errors import ConfigError, DataError
from resight.pair_answers import PairAnswer, picture_name
from resight.score_counts import share_from
from resight.types import Sample, Split


def without(images: Scored, *facts: str) -> Scored:
    """The images with some facts not known."""
    samples = tuple(dataclasses.replace(s, **dict.fromkeys(facts)) for s in images.split)
    return dataclasses.replace(images, split=Split("train", samples))


def answered(images: Scored, count: int = 200, seed: int = 0) -> list[PairAnswer]:
    """Right answers to pairs, half of them drawn among the best-scoring tenth."""
    generator = torch.Generator().manual_seed(seed)
    n = len(images.split)
    i, j = torch.triu_indices(n, n, 1)
    scores = (images.embeddings[i] * images.embeddings[j]).sum(dim=1)
    order = scores.argsort(descending=True)
    top = order[: len(order) // 10]
    chosen = torch.cat(
        [part[torch.randperm(len(part), generator=generator)[: count // 2]] for part in (top, order[len(top) :])]
    )
    weight = torch.cat([torch.full((count // 2,), float(len(top))), torch.full((count // 2,), float(9 * len(top)))])
    pids = images.split.pids or ()
    names = [picture_name(s, ROOT) for s in images.split]
    return [
        PairAnswer(names[a], names[b], pids[a] == pids[b], w / (count // 2))
        for a, b, w in zip(i[chosen].tolist(), j[chosen].tolist(), weight.tolist(), strict=True)
    ]


def test_identities_give_the_asked_rate_and_right_probabilities():
    images = scored()
    learnt = from_identities(images, 1e-2)
    check = check_by_identity(images, learnt.calibration("identities", 1e-2, "f"))
    assert check.false_match_rate == pytest.approx(1e-2, rel=0.01) and check.errors[0] < 0.1
    # 40 identities of 8: 40 · 28 same pairs of 320 · 319 / 2
    assert learnt.pairs == 51_040 and learnt.overall.same_share == pytest.approx(1120 / 51_040)
    assert learnt.across is not None and learnt.within is not None


def test_counts_by_identity_tell_cameras_apart():
    counts = count_by_identity(scored(40, 8)).sum(2)
    # an identity's 8 images: 4 in each camera; 16 pairs across, 12 within
    assert counts[:, 1].tolist() == [40 * 16, 40 * 12] and counts.sum() == 51_040


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [1e-2, 1e-3])
def test_images_alone_never_let_through_more_than_asked(rate: float, seed: int):
    images = scored(seed=seed)
    counts = count_by_identity(images)
    learnt = from_images(without(images, "pid", "timestamp"), rate)
    for kind, curve in zip((counts.sum(0), counts[0], counts[1]), (learnt.overall, learnt.across, learnt.within)):  # noqa: B905
        assert curve is not None and share_from(kind[0], curve.threshold) <= rate * 1.001
    # groups of 64 hold 8 identities here: what stands out is right within a factor of four
    true = float(counts[:, 1].sum() / counts.sum())
    assert true / 4 < learnt.overall.same_share < true * 4


def test_images_alone_read_no_identity():
    images = scored()
    assert from_images(images, 1e-2) == from_images(without(images, "pid"), 1e-2)


@pytest.mark.parametrize("cameras", [0, 1])
def test_one_camera_or_none_known_gives_one_curve(cameras: int):
    images = scored(cameras=cameras)
    learnt = from_images(images, 1e-2)
    assert learnt.across is None and learnt.within is None
    assert not learnt.calibration("cameras", 1e-2, "f").camera_aware
    assert not from_identities(images, 1e-2).calibration("identities", 1e-2, "f").camera_aware


def test_images_of_partly_unknown_camera_give_one_curve():
    images = scored()
    samples = (dataclasses.replace(images.split.samples[0], camid=None), *images.split.samples[1:])
    assert from_images(dataclasses.replace(images, split=Split("train", samples)), 1e-2).across is None


@pytest.mark.parametrize("count", [1, 40])
def test_a_handful_of_images_is_one_sentence(count: int):
    with pytest.raises(DataError, match=f"at least 128 images .* got {count}"):
        from_images(scored(count, 1), 1e-2)


def test_a_rate_that_so_few_pairs_cannot_tell_is_refused():
    with pytest.raises(ConfigError, match=r"--false-match-rate 1e-06 is below what 49,939 different pairs can tell"):
        from_images(scored(), 1e-6)


def test_two_hundred_answers_come_near_the_asked_rate():
    images = scored()
    truth = count_by_identity(images).sum(0)
    learnt = from_answers(images, answered(images), 1e-2)
    assert learnt.pairs == 200
    assert 0.004 < share_from(truth[0], learnt.overall.threshold) < 0.025
    assert learnt.overall.same_share == pytest.approx(float(truth[1].sum() / truth.sum()), rel=0.6)


def test_open_answers_do_not_count_and_scores_are_computed_anew():
    images = scored()
    answers = answered(images)
    more = [*(dataclasses.replace(a, score=-0.5) for a in answers), PairAnswer("crops/000_0.jpg", "crops/039_7.jpg")]
    assert from_answers(images, more, 1e-2) == from_answers(images, answers, 1e-2)


def test_an_answer_about_another_image_is_refused():
    with pytest.raises(DataError, match=r"name elsewhere.jpg, which is not among the 320 train images"):
        from_answers(scored(), [PairAnswer("crops/000_0.jpg", "elsewhere.jpg", True)], 1e-2)


def test_tracklets_seen_together_are_strangers_and_inside_one_the_same():
    images = scored(tracklets=True)
    learnt = from_tracklets(images, 1e-2)
    truth = count_by_identity(images)
    # tracklets of one camera all overlap: C(160, 2) pairs in each of 2 cameras, less the 480 inside a tracklet
    assert learnt.pairs == 2 * 160 * 159 // 2 and learnt.notes[0].startswith("480 pairs inside a tracklet, 24,960 of")
    assert learnt.within is not None and learnt.across is not None
    # within cameras every pair is known, so the rate is met, not only kept
    assert share_from(truth[1, 0], learnt.within.threshold) == pytest.approx(1e-2, rel=0.02)
    assert share_from(truth[0, 0], learnt.across.threshold) <= 1e-2
    assert learnt.within.same_share == pytest.approx(480 / 25_440, rel=0.5)


def test_tracklets_without_times_take_simulated_strangers():
    learnt = from_tracklets(without(scored(tracklets=True), "timestamp"), 1e-2)
    assert learnt.pairs == 480 and "simulated" in learnt.notes[1]


def test_times_of_cameras_that_are_not_known_say_nothing_among_known_ones():
    images = scored(tracklets=True)
    samples = tuple(dataclasses.replace(s, camid=None, tracklet=None) if s.camid else s for s in images.split)
    learnt = from_tracklets(dataclasses.replace(images, split=Split("train", samples)), 1e-2)
    assert learnt.notes[0].startswith("240 pairs inside a tracklet, 12,480 of")


def test_no_tracklets_is_one_sentence():
    with pytest.raises(DataError, match="--source tracklets needs tracklets, but none of the 320 train images"):
        from_tracklets(scored(), 1e-2)


def test_intervals_are_of_the_whole_group():
    start, end = intervals(torch.tensor([0, 1, 0, 2]), torch.tensor([5.0, 7.0, 2.0, torch.nan]).double())
    assert start.tolist()[:3] == [2, 7, 2] and end.tolist()[:3] == [5, 7, 5] and bool(start[3].isnan())


def test_identities_that_are_not_known_are_one_sentence():
    images = scored()
    for pid in (None, -1):
        samples = (Sample(ROOT / "new.jpg", pid=pid), *images.split.samples[1:])
        with pytest.raises(DataError, match="identities must be known for all 320 train images"):
            from_identities(dataclasses.replace(images, split=Split("train", samples)), 1e-2)


def test_answers_across_cameras_alone_are_of_such_pairs_alone():
    images = scored()
    camera = {picture_name(s, ROOT): s.camid for s in images.split}
    mixed = answered(images, 400)
    across = [a for a in mixed if camera[a.left] != camera[a.right]]
    learnt = from_answers(images, across, 1e-2)
    assert learnt.across == learnt.overall and learnt.within is None and "two cameras" in learnt.notes[0]
    found = learnt.calibration("answers", 1e-2, "f")
    check = check_by_identity(images, found)
    # 40 identities of 4 images in each camera: 40 · 16 same pairs of 160 · 160 across
    assert found.across_alone and not found.camera_aware and check.same_share == pytest.approx(640 / 25_600)
    assert 0.5e-2 <= check.false_match_rate <= 2e-2 and "pairs across cameras" in check.lines(found)[0]
    assert from_answers(images, mixed, 1e-2).across is None
