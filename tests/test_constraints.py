"""Tracklets and moments as constraints on positives: by hand, against the loops, and in whole runs."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from memories import drawn
from oracles.constraints import Known
from resight.constraints import Constraints, Lists, find_constraints, refuse_other_constraints, tell
from resight.errors import CheckpointError, ConfigError
from resight.recipes import load_recipe
from resight.types import UnlabelledImages

NAN = math.nan


def images(camids: list[int], tracklets: list[int], timestamps: list[float]) -> UnlabelledImages:
    paths = tuple(Path(f"{i}.jpg") for i in range(len(camids)))
    return UnlabelledImages(paths, tuple(camids), tuple(tracklets), tuple(timestamps))


def constrain(constraints: Constraints, *positives: set[int]) -> list[set[int]]:
    """Apply to the positives of all images at once."""
    index = torch.arange(len(positives))
    return sets(constraints.apply(dense(positives), index))


def dense(positives: tuple[set[int], ...] | list[set[int]], count: int | None = None) -> Tensor:
    marks = torch.zeros(len(positives), count or len(positives), dtype=torch.bool)
    for row, columns in enumerate(positives):
        marks[row, sorted(columns)] = True
    return marks


def sets(marks: Tensor) -> list[set[int]]:
    return [set(row.nonzero().squeeze(1).tolist()) for row in marks]


def alone(count: int) -> list[set[int]]:
    return [{i} for i in range(count)]


def everybody(count: int) -> list[set[int]]:
    return [set(range(count)) for _ in range(count)]


def test_images_of_one_tracklet_are_positives_of_each_other():
    found = find_constraints(images([0] * 5, [7, -1, 7, 3, -1], [NAN] * 5), tracklets=True, same_time=False)
    assert constrain(found, *alone(5)) == [{0, 2}, {1}, {0, 2}, {3}, {4}]  # -1 is no tracklet
    assert constrain(found, {0, 1}, {1}, {2}, {0, 3}, {4}) == [{0, 1, 2}, {1}, {0, 2}, {0, 3}, {4}]
    assert found.record() == {"tracklets": 2, "in_tracklets": 3, "pairs_apart": 0}


def test_a_tracklet_number_in_another_camera_is_another_tracklet():
    found = find_constraints(images([0, 0, 1, 1, -1], [4] * 5, [NAN] * 5), tracklets=True, same_time=False)
    assert constrain(found, *alone(5)) == [{0, 1}, {0, 1}, {2, 3}, {2, 3}, {4}]
    assert found.record() == {"tracklets": 3, "in_tracklets": 5, "pairs_apart": 0}


def test_an_unknown_camera_is_the_only_one_of_the_tracklet():
    # Images 0 and 1 are tracklet 4, so 1 too was taken by camera 2, at the moment of image 2.
    found = find_constraints(images([2, -1, 2], [4, 4, -1], [0, 7, 7]), tracklets=True, same_time=True)
    assert constrain(found, *everybody(3)) == [{0, 1}, {0, 1}, {2}]


def test_images_of_one_moment_are_never_positives_of_each_other():
    # Camera 0 at 10: images 0 and 1. Camera 1 at 10: image 2 alone. Image 3 has no time, image 4 another one.
    found = find_constraints(images([0, 0, 1, 0, 0], [-1] * 5, [10, 10, 10, NAN, 11]), tracklets=True, same_time=True)
    assert constrain(found, *everybody(5)) == [{0, 2, 3, 4}, {1, 2, 3, 4}, *everybody(5)[2:]]
    assert constrain(found, *alone(5)) == alone(5)
    assert found.record() == {"tracklets": 0, "in_tracklets": 0, "pairs_apart": 1}


def test_tracklets_that_overlap_in_time_are_apart_throughout():
    # Tracklet 1: images 0, 1, 2 at 1, 2, 3; tracklet 2: images 3, 4 at 3, 4; image 5 of none at 4; tracklet 3 at 9.
    known = images([0] * 7, [1, 1, 1, 2, 2, -1, 3], [1, 2, 3, 3, 4, 4, 9])
    found = find_constraints(known, tracklets=True, same_time=True)
    one, two = {0, 1, 2}, {3, 4}
    expected = [one | {5, 6}] * 3 + [two | {6}] * 2 + [one | {5, 6}, set(range(7))]
    assert constrain(found, *everybody(7)) == expected
    assert constrain(found, *alone(7)) == [one] * 3 + [two] * 2 + [{5}, {6}]
    assert found.pairs_apart == 3 * 2 + 2 * 1  # 1 with 2, and 2 with image 5
    assert found.sentence() == "tracklets: 3 over 6 images; seen at the same time: 8 pairs kept apart"


def test_a_tracklet_that_is_twice_in_one_frame_is_believed():
    found = find_constraints(images([0] * 3, [1, 1, -1], [5, 5, 5]), tracklets=True, same_time=True)
    assert constrain(found, *everybody(3)) == [{0, 1}, {0, 1}, {2}]


def test_tracklets_that_are_switched_off_join_nothing_and_hold_nothing_together():
    found = find_constraints(images([0] * 3, [1, 1, 1], [5, 5, 6]), tracklets=False, same_time=True)
    assert constrain(found, *everybody(3)) == [{0, 2}, {1, 2}, {0, 1, 2}]


def test_where_no_camera_is_known_all_images_come_from_one():
    times = [5.0, 5.0, 5.0]
    nowhere = find_constraints(images([-1] * 3, [-1] * 3, times), tracklets=True, same_time=True)
    assert constrain(nowhere, *everybody(3)) == alone(3)
    partly = find_constraints(images([-1, -1, 0], [-1] * 3, times), tracklets=True, same_time=True)
    assert constrain(partly, *everybody(3)) == everybody(3)


def test_times_before_zero_and_fractions_are_times():
    found = find_constraints(images([0] * 4, [-1] * 4, [0.0, -0.0, -2.5, -2.5]), tracklets=True, same_time=True)
    assert constrain(found, *everybody(4)) == [{0, 2, 3}, {1, 2, 3}, {0, 1, 2}, {0, 1, 3}]


@pytest.mark.parametrize("same_time", [False, True])
def test_where_nothing_is_known_the_positives_are_handed_back(same_time: bool):
    found = find_constraints(images([0, 1, 1], [-1] * 3, [NAN] * 3), tracklets=True, same_time=same_time)
    positives = dense(everybody(3))
    assert found.apply(positives, torch.arange(3)) is positives
    assert found.digest() is None
    assert found.sentence() == ("seen at the same time: 0 pairs kept apart" if same_time else "")


def test_what_is_known_is_told_where_anything_is():
    said: list[str] = []
    nothing = find_constraints(images([0, 1], [-1] * 2, [1, 1]), tracklets=True, same_time=False)
    assert tell(nothing, said.append) == {} and not said
    something = find_constraints(
        images([0] * 2400, list(range(1200)) * 2, [NAN] * 2400), tracklets=True, same_time=False
    )
    counts = {"tracklets": 1200, "in_tracklets": 2400, "pairs_apart": 0}
    assert tell(something, said.append) == {"constraints": counts}
    assert said == ["tracklets: 1,200 over 2,400 images"]


def case(seed: int) -> tuple[Known, list[set[int]]]:
    """Few cameras, tracklets and moments, so that they meet in every way; and positives at random."""
    generator = torch.Generator().manual_seed(seed)
    count = drawn(generator, 1, 18)
    low = -1 if seed % 3 else 0

    def column(least: int, most: int) -> list[int]:
        return [drawn(generator, least, most) for _ in range(count)]

    camids = [-1] * count if seed % 7 == 0 else column(low, drawn(generator, 0, 2))
    times = [NAN if t < 0 else t / 2 for t in column(low, drawn(generator, 0, 12))]
    known = Known(camids, column(-1, drawn(generator, -1, 6)), times, seed % 2 == 0, seed % 5 != 0)
    share = torch.rand((), generator=generator)
    marks = torch.rand(count, count, generator=generator) < share
    return known, sets(marks | torch.eye(count, dtype=torch.bool))


def found_in(known: Known) -> Constraints:
    unlabelled = images(list(known.camids), list(known.tracklets), list(known.timestamps))
    return find_constraints(unlabelled, tracklets=known.use_tracklets, same_time=known.same_time)


@pytest.mark.parametrize("seed", range(300))
def test_equals_the_loops(seed: int):
    known, mined = case(seed)
    found = found_in(known)
    expected = [known.constrained(positives, i) for i, positives in enumerate(mined)]
    assert constrain(found, *mined) == expected
    apart = sum(known.apart(i, j) for i in range(len(mined)) for j in range(i))
    assert found.pairs_apart == apart


@pytest.mark.parametrize("seed", range(60))
def test_properties(seed: int, monkeypatch: pytest.MonkeyPatch):
    known, mined = case(seed)
    found, count = found_in(known), len(mined)
    positives, everyone = dense(mined), torch.arange(count)
    before = positives.clone()
    whole = found.apply(positives, everyone)
    assert torch.equal(positives, before)  # what the miner gave is not written to
    assert bool(whole.diagonal().all())
    assert torch.equal(found.apply(whole, everyone), whole)
    allowed = found.apply(torch.ones_like(whole), everyone)
    assert torch.equal(allowed, allowed.T)
    assert bool((whole & ~allowed).sum() == 0)
    # Blocks of any rows in any order, pairs spelt out a few at a time.
    monkeypatch.setattr("resight.constraints.PAIRS_AT_ONCE", 1 + seed)
    again, index = found_in(known), torch.randperm(count)[: 1 + seed % count]
    assert again.digest() == found.digest()
    assert torch.equal(again.apply(positives[index], index), whole[index])
    # The order of the images does not matter.
    order = torch.randperm(count)
    moved = dataclasses.replace(
        known,
        camids=[known.camids[i] for i in order],
        tracklets=[known.tracklets[i] for i in order],
        timestamps=[known.timestamps[i] for i in order],
    )
    assert torch.equal(found_in(moved).apply(positives[order][:, order], everyone), whole[order][:, order])


def test_lists_are_read_in_the_order_asked_for():
    lists = Lists.from_sorted(torch.tensor([0, 0, 2]), torch.tensor([5, 6, 7]), 4)
    position, item = lists.of(torch.tensor([2, 1, 0, 2]))
    assert (position.tolist(), item.tolist()) == ([0, 2, 2, 3], [7, 5, 6, 7])


def test_one_moment_for_too_many_images_is_refused(monkeypatch: pytest.MonkeyPatch):
    crowd = images([0] * 9, [-1] * 9, [0.0] * 9)  # 36 pairs
    monkeypatch.setattr("resight.constraints.MOST_APART", 36)
    find_constraints(crowd, tracklets=True, same_time=True)
    monkeypatch.setattr("resight.constraints.MOST_APART", 35)
    with pytest.raises(ConfigError, match=r"more than 35 pairs here: .* or set miner.same_time=false"):
        find_constraints(crowd, tracklets=True, same_time=True)
    find_constraints(crowd, tracklets=True, same_time=False)


def test_memory_grows_with_images_and_pairs_not_with_their_square():
    count = 60_000  # dense, 3.6 GB
    tracklets = (torch.arange(count) // 10).tolist()  # each is seen with the one that begins 30,000 images later
    times = (torch.arange(count) // 2 % 15_000).double().tolist()
    found = find_constraints(images([0] * count, tracklets, times), tracklets=True, same_time=True)
    stored = [found.group, *(t for lists in (found.members, found.apart) for t in (lists.offsets, lists.items))]
    assert sum(t.numel() for t in stored) < 3 * count
    index = torch.tensor([5, 59_999])
    marks = found.apply(torch.ones(2, count, dtype=torch.bool), index)
    assert sets(~marks) == [set(range(30_000, 30_010)), set(range(29_990, 30_000))]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("seed", range(10))
def test_the_gpu_gives_what_the_cpu_gives(seed: int):
    known, mined = case(seed)
    found, index = found_in(known), torch.arange(len(mined))
    expected = found.apply(dense(mined), index)
    for there in (found, found.to("cuda")):
        assert torch.equal(there.apply(dense(mined).cuda(), index.cuda()).cpu(), expected)


def test_the_settings_stand_in_every_recipe():
    for name in ("gsmlp", "ssml", "mmcl"):
        miner = load_recipe(name, overrides=["miner.name=knn"]).miner
        assert (miner.tracklets, miner.same_time) == (True, False)
    assert load_recipe("gsmlp", overrides=["miner.same_time=true"]).miner.same_time
    with pytest.raises(ConfigError, match="miner.same_time must be of the kind of its default False, got 1"):
        load_recipe("gsmlp", overrides=["miner.same_time=1"])
    with pytest.raises(ConfigError, match="no setting named 'miner.tracklet'; did you mean 'miner.tracklets'?"):
        load_recipe("gsmlp", overrides=["miner.tracklet=true"])


def test_other_tracklets_than_those_of_the_checkpoint_are_refused():
    refuse_other_constraints(Path("epoch-1"), "ab", "ab")
    refuse_other_constraints(Path("epoch-1"), None, None)
    with pytest.raises(CheckpointError, match="epoch-1 was trained with other tracklets, cameras or timestamps"):
        refuse_other_constraints(Path("epoch-1"), "ab", None)
