"""Average linkage under constraints: without any it is average linkage, with them a slow form of itself."""

import numpy as np
import pytest
import torch
from group_cases import as_sets, drawn, graph_of, matrix, slow_linkage

from resight.errors import ConfigError, ShapeError
from resight.groups.linkage import linked
from resight.groups.links import NO_GROUP, Links, find_links, no_links
from resight.linkage import average_linkage


def test_an_answer_is_worth_more_than_any_distance():
    # 0-1 and 2-3 are 0.1 apart, 1-2 are 0.2: at 0.75 all four would be one.
    distance = matrix(4, {(0, 1): 0.1, (2, 3): 0.1, (1, 2): 0.2, (0, 2): 0.8})
    assert linked(graph_of(distance), 0.75, no_links(4)).tolist() == [0, 0, 0, 0]
    assert linked(graph_of(distance), 0.75, find_links(4, different=[(0, 3)])).tolist() == [0, 0, 1, 1]
    # 0 and 3 are said to be the same: {0, 3} is (0.1 + 1)/2 = 0.55 from 1 and more from 2, so 1-2 go first, 0.2 apart;
    # {0, 3} and {1, 2} then are (0.1 + 0.8 + 1 + 0.1)/4 = 0.5 apart.
    assert linked(graph_of(distance), 0.45, find_links(4, same=[(0, 3)])).tolist() == [0, 1, 1, 0]
    assert linked(graph_of(distance), 0.51, find_links(4, same=[(0, 3)])).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(40))
def test_without_links_it_is_average_linkage(seed: int):
    graph = graph_of(drawn(seed, 5 + seed))
    camids = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, len(graph)))
    for eps in (0.4, 0.7, 0.9):
        for cameras in (None, camids):
            wanted = average_linkage(graph, eps, 1, camids=cameras)
            assert linked(graph, eps, no_links(len(graph)), cameras).tolist() == wanted.tolist()


def drawn_links(seed: int, n: int) -> Links:
    generator = np.random.default_rng(1000 + seed)
    pairs = [tuple(generator.choice(n, 2, replace=False).tolist()) for _ in range(6)]
    known = np.where(generator.random(n) < 0.4, generator.integers(1, 3, n), NO_GROUP)
    return find_links(n, same=pairs[:2], different=pairs[2:], known=known)


@pytest.mark.parametrize("seed", range(80))
def test_with_links_it_is_the_slow_form(seed: int):
    n = 6 + seed % 7
    try:
        links = drawn_links(seed, n)
    except ValueError:  # the drawn answers contradict each other
        return
    camids = np.random.default_rng(seed).integers(0, 4, n).tolist() if seed % 2 else None
    distance = drawn(seed, n)
    cameras = None if camids is None else torch.tensor(camids)
    for eps in (0.5, 0.8, 0.94):
        found = linked(graph_of(distance), eps, links, cameras)
        assert as_sets(found) == sorted(slow_linkage(distance, eps, links, camids), key=min)


def test_earlier_groups_never_become_one_and_new_crops_join_the_nearer():
    # 0, 1 are group 1; 2, 3 are group 2; 4 is new, 0.3 from 0 and 1, 0.2 from 2 and 3.
    near = {(0, 1): 0.1, (2, 3): 0.1, (1, 2): 0.05, (0, 4): 0.3, (1, 4): 0.3, (2, 4): 0.2, (3, 4): 0.2}
    links = find_links(5, known=np.array([1, 1, 2, 2, NO_GROUP]))
    assert linked(graph_of(matrix(5, near)), 0.9, links).tolist() == [0, 0, 1, 1, 1]


def test_a_camera_that_is_not_known_forbids_nothing():
    distance = matrix(3, {(0, 1): 0.1, (0, 2): 0.2, (1, 2): 0.2})
    assert linked(graph_of(distance), 0.5, no_links(3), torch.tensor([-1, -1, 0])).tolist() == [0, 0, 0]
    assert linked(graph_of(distance), 0.5, no_links(3), torch.tensor([0, 0, -1])).tolist() == [0, 1, 0]


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        linked(graph_of(matrix(2, {})), 1.5, no_links(2))
    with pytest.raises(ShapeError, match="2 images of the graph, got 3"):
        linked(graph_of(matrix(2, {})), 0.5, no_links(3))
