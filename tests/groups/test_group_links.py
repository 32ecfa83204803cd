"""What answers, tracklets and earlier groups say of who is the same: by hand, and against a slow closure."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from group_cases import as_sets

from resight.constraints import Constraints, find_constraints
from resight.errors import DataError
from resight.groups.links import NO_GROUP, Parts, find_links, no_links
from resight.types import UnlabelledImages


def seen(tracklets: list[int], times: list[float] | None = None) -> Constraints:
    n = len(tracklets)
    moments = (float("nan"),) * n if times is None else tuple(times)
    images = UnlabelledImages((Path("x.jpg"),) * n, (0,) * n, tuple(tracklets), moments)
    return find_constraints(images, tracklets=True, same_time=times is not None)


def test_without_any_knowledge_everything_is_by_itself():
    links = no_links(3)
    assert links.together.tolist() == [0, 1, 2] and not links.fixed.any() and not len(links.apart)


def test_same_is_carried_on_and_different_holds_for_all_that_is_the_same():
    # 0 = 1 = 2 and 3 = 4; 2 is not 4, so {0, 1, 2} and {3, 4} are apart; 5 is by itself.
    links = find_links(6, same=[(0, 1), (1, 2), (4, 3)], different=[(2, 4)])
    assert links.together.tolist() == [0, 0, 0, 1, 1, 2]
    assert links.apart.tolist() == [[0, 1]]


def test_a_contradiction_is_one_sentence_that_names_both_and_the_way_between_them():
    with pytest.raises(DataError, match="a.jpg and c.jpg are said to be different, and to be the same through b.jpg;"):
        find_links(3, same=[(0, 1), (1, 2)], different=[(0, 2)], names=["a.jpg", "b.jpg", "c.jpg"])
    with pytest.raises(DataError, match="crop 1 and crop 0 are said to be different, and to be the same; correct"):
        find_links(2, same=[(0, 1)], different=[(1, 0)])


@pytest.mark.parametrize("seed", range(50))
def test_answers_close_as_a_slow_closure_does(seed: int):
    generator = np.random.default_rng(seed)
    n = 8
    pairs = [tuple(sorted(generator.choice(n, 2, replace=False).tolist())) for _ in range(7)]
    same, different = pairs[:4], pairs[4:]
    reach = np.eye(n, dtype=bool)
    for one, other in same:
        reach[one, other] = reach[other, one] = True
    for _ in range(n):
        reach = reach | (reach.astype(int) @ reach.astype(int) > 0)
    if any(reach[one, other] for one, other in different):
        with pytest.raises(DataError, match="contradict"):
            find_links(n, same=same, different=different)
        return
    links = find_links(n, same=same, different=different)
    assert np.array_equal(links.together[:, None] == links.together, reach)
    apart = {frozenset(pair) for pair in links.apart.tolist()}
    for one, other in itertools.combinations(range(n), 2):
        wanted = any((reach[one, a] and reach[other, b]) or (reach[one, b] and reach[other, a]) for a, b in different)
        assert (frozenset((int(links.together[one]), int(links.together[other]))) in apart) == wanted


def test_a_tracklet_goes_together_unless_answers_take_it_apart():
    links = find_links(6, different=[(3, 5)], seen=seen([7, 7, -1, 9, 9, 9]))
    assert links.together.tolist() == [0, 0, 1, 2, 3, 4]
    assert links.broken_tracklets == 1


def test_images_of_one_moment_are_apart_unless_they_are_known_to_be_the_same():
    links = find_links(4, same=[(0, 1)], seen=seen([-1] * 4, [1.0, 1.0, 1.0, 2.0]))
    assert links.together.tolist() == [0, 0, 1, 2]
    assert links.apart.tolist() == [[0, 1]]


def test_earlier_groups_stand_and_what_was_alone_stands_alone():
    known = np.array([5, 5, NO_GROUP, NO_GROUP, 8, 8])
    links = find_links(6, known=known, earlier=np.array([True, True, True, False, True, True]))
    assert links.together.tolist() == [0, 0, 1, 2, 3, 3]
    assert links.fixed.tolist() == [True, True, False, True]
    assert links.certain.tolist() == [0, 1, 2, 3, 4, 5]  # an earlier result is no certainty


def test_an_earlier_group_that_answers_take_apart_is_made_anew():
    links = find_links(4, different=[(0, 2)], known=np.array([1, 1, 1, 2]))
    assert links.broken_groups == 1
    assert links.together.tolist() == [0, 1, 2, 3]
    assert links.fixed.tolist() == [False, False, False, True]


@pytest.mark.parametrize("seed", range(30))
def test_parts_never_hold_what_was_separated(seed: int):
    generator = np.random.default_rng(seed)
    parts, apart = Parts(10), []
    for _ in range(40):
        one, other = generator.choice(10, 2, replace=False).tolist()
        if generator.random() < 0.5:
            before = parts.numbered()
            if not parts.unite(one, other):
                assert np.array_equal(before, parts.numbered())
        elif parts.separate(one, other):
            apart.append((one, other))
        assert all(parts.find(a) != parts.find(b) for a, b in apart)
    assert sum(map(len, as_sets(parts.numbered()))) == 10


def test_numbers_are_by_the_first_crop():
    parts = Parts(5)
    parts.unite(4, 1)
    assert parts.numbered().tolist() == [0, 1, 2, 3, 1]
