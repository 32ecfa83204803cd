"""Groups of drawn people: found without their number, numbered, gone on from; and what to review first."""

import dataclasses

import numpy as np
import pytest
import torch
from group_cases import as_sets, people

from resight.errors import ConfigError, DataError
from resight.groups.grouping import Grouping, group_crops, numbered
from resight.groups.links import NO_GROUP, find_links
from resight.groups.review import crops_to_review, groups_to_review, pairs_to_review
from resight.groups.settings import Asked, Rules, settled
from resight.matching import Thresholds

RULES = Rules(k1=5, k2=2, eps=0.9, by_camera=False, camera_once=False)
STRICT = dataclasses.replace(RULES, strict=True)


def nowhere(n: int) -> torch.Tensor:
    return torch.full((n,), -1)


def test_people_are_found_without_their_number_and_strangers_stay_alone():
    rows = torch.cat([people(12, 6), people(1, 1, seed=9)])
    found = group_crops(rows, nowhere(73), STRICT, thresholds=Thresholds(0.6, 0.6))
    assert found.groups == 12 and found.alone == 1
    assert found.group.tolist() == [1 + at // 6 for at in range(72)] + [NO_GROUP]
    assert found.matched.tolist() == [True] * 72 + [False]


def test_renumbering_the_crops_renumbers_the_groups():
    rows = people(8, 5, spread=0.9)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    one, other = group_crops(rows, nowhere(40), RULES), group_crops(rows[order], nowhere(40), RULES)
    back = np.empty(40, dtype=np.int64)
    back[order.numpy()] = other.group
    assert as_sets(clusters(one.group)) == as_sets(clusters(back))
    assert one.confidence[order.numpy()] == pytest.approx(other.confidence)


def clusters(group: np.ndarray) -> np.ndarray:
    return np.where(group == NO_GROUP, 1000 + np.arange(len(group)), group)


def test_numbers_by_hand():
    cluster = np.array([0, 0, 1, 1, 2, 3, 3])
    assert numbered(cluster, np.full(7, NO_GROUP)).tolist() == [1, 1, 2, 2, -1, 3, 3]
    # Crops 2 and 3 were group 4, crop 0 group 9: these stay; {5, 6} is new, after the highest.
    assert numbered(cluster, np.array([9, -1, 4, 4, -1, -1, -1])).tolist() == [9, 9, 4, 4, -1, 10, 10]
    # Group 2 was taken apart: most of it is in cluster 0; clusters of two earlier groups take the lower number.
    assert numbered(cluster, np.array([2, 2, 2, 5, 3, 7, 6])).tolist() == [2, 2, 5, 5, -1, 6, 6]


@pytest.mark.parametrize("seed", range(10))
def test_going_on_from_a_result_changes_no_number_and_again_changes_nothing(seed: int):
    rows = people(10, 6, spread=1.2, seed=seed)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    first = group_crops(rows[order[:35]], nowhere(35), RULES).group
    known = np.concatenate([first, np.full(25, NO_GROUP)])
    links = find_links(60, known=known, earlier=np.arange(60) < 35)
    both = group_crops(rows[order], nowhere(60), RULES, links=links).group
    had = first != NO_GROUP
    assert np.array_equal(both[:35][had], first[had])
    alone = both[:35][~had]  # these may found groups with new crops, never join earlier ones
    assert not set(alone[alone != NO_GROUP].tolist()) & set(first[had].tolist())
    again = find_links(60, known=both, earlier=np.ones(60, dtype=bool))
    assert np.array_equal(group_crops(rows[order], nowhere(60), RULES, links=again).group, both)


@pytest.mark.parametrize("seed", range(15))
def test_answers_are_obeyed_whatever_the_scores(seed: int):
    rows = people(8, 5, spread=1.0, seed=seed)
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 8, 40)  # not at all what the scores say
    pairs = [tuple(generator.choice(40, 2, replace=False).tolist()) for _ in range(40)]
    same = [pair for pair in pairs if truth[pair[0]] == truth[pair[1]]]
    different = [pair for pair in pairs if truth[pair[0]] != truth[pair[1]]]
    links = find_links(40, same=same, different=different)
    for thresholds in (None, Thresholds(0.9, 0.9)):
        group = clusters(group_crops(rows, nowhere(40), STRICT, links=links, thresholds=thresholds).group)
        assert all(group[one] == group[other] for one, other in same)
        assert all(group[one] != group[other] for one, other in different)


def test_each_camera_sees_an_identity_once():
    rows, camids = people(10, 4, spread=0.3), torch.arange(40) % 2
    rules = dataclasses.replace(RULES, k1=2, eps=0.8, camera_once=True)
    group = group_crops(rows, camids, rules).group
    for number in set(group.tolist()) - {NO_GROUP}:
        cameras = camids[torch.from_numpy(group == number)].tolist()
        assert len(cameras) == len(set(cameras))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_crops_are_enough(n: int):
    found = group_crops(people(1, n), torch.zeros(n, dtype=torch.long), settled(Asked(), people(1, n), nowhere(n)))
    assert len(found) == n and ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_nothing_to_group_is_said():
    with pytest.raises(DataError, match="nothing to group"):
        group_crops(torch.zeros(0, 4), nowhere(0), RULES)


def test_settings_follow_the_data_and_what_the_user_says():
    rows, camids = people(60, 4), torch.arange(240) % 2
    plain = settled(Asked(), rows, nowhere(240))
    assert (plain.k1, plain.k2, plain.eps, plain.by_camera, plain.camera_once) == (11, 3, 0.9, False, False)
    cameras = settled(Asked(), rows, camids)
    assert cameras.by_camera and not cameras.camera_once
    asked = settled(Asked(neighbours=4, distance=0.5, by_camera=False, camera_once=True), rows, camids)
    assert (asked.k1, asked.k2, asked.eps, asked.by_camera, asked.camera_once) == (4, 2, 0.5, False, True)
    # Two images of everybody in each camera: whatever the model was trained under, the own camera holds their like.
    twice = settled(Asked(), people(60, 4, spread=0.1), (torch.arange(240) % 4) // 2, trained_once=True)
    assert not twice.camera_once or "--no-camera-once" in twice.said[0]
    with pytest.raises(ConfigError, match="--by-camera needs images of known cameras, and there are 0"):
        settled(Asked(by_camera=True), rows, nowhere(240))
    with pytest.raises(ConfigError, match="--neighbours must be 2 or more"):
        Asked(neighbours=1)


GROUPING = Grouping(
    group=np.array([1, 1, 1, 2, 2, NO_GROUP]),
    confidence=np.array([0.9, 0.8, 0.4, 0.7, 0.6, 0.55]),
    rival=np.array([2, 2, 2, 1, 1, NO_GROUP]),
    probability=np.full(6, np.nan),
    best=np.zeros(6),
    matched=np.zeros(6, dtype=bool),
)


def test_the_most_doubtful_come_first():
    groups = groups_to_review(GROUPING)
    assert [(group.number, group.members) for group in groups] == [(1, (2, 1, 0)), (2, (4, 3))]
    assert groups[0].doubt == pytest.approx(0.6) and groups[0].mean_confidence == pytest.approx(0.7)
    assert crops_to_review(GROUPING) == [2, 5, 4, 3, 1, 0]


def test_a_doubtful_crop_is_asked_about_with_its_own_group_and_with_its_rival():
    rows = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 1.0], [0.1, 1.0], [0.0, 1.0], [-1.0, 0.0]]), dim=1
    )
    pairs = pairs_to_review(GROUPING, rows, count=4)
    # 2 with 1, the closer of its group, and with 3, the closer of the rival; then 4 with 3, and with 2 of its rival.
    assert [(pair.left, pair.right, pair.together) for pair in pairs] == [
        (2, 1, True),
        (2, 3, False),
        (4, 3, True),
        (4, 2, False),
    ]
    assert pairs[0].doubt == pytest.approx(0.6) and pairs[0].score == pytest.approx(float(rows[2] @ rows[1]))
    every = pairs_to_review(GROUPING, rows, count=1000)
    assert len({frozenset((pair.left, pair.right)) for pair in every}) == len(every)
