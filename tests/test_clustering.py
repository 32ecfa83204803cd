"""The Jaccard graph and its clusters against their definitions, scikit-learn's DBSCAN, and hand-worked cases."""

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN
from torch import Generator

import resight.clustering
from memories import KINDS, clustered, drawn
from oracles import clustering as oracle
from resight.clustering import (
    OUTLIER,
    Graph,
    dbscan,
    infomap,
    jaccard_of,
    listed,
    lists_by_camera,
    numbered,
    sizes,
)
from resight.errors import ConfigError, ShapeError
from resight.memory import FeatureMemory
from resight.miners.cluster import ALGORITHMS
from resight.sparse_rows import SparseRows, starts

EXACT = ["tied", "duplicated", "antipodal", "identical", "orthogonal", "unwritten"]  # equal scores are equal everywhere


def graph_of(distance: np.ndarray, reach: float = 0.9) -> Graph:
    """A graph from a whole matrix."""
    row, column = np.nonzero(distance <= reach)
    offsets = starts(np.bincount(row, minlength=len(distance)))
    values = distance[row, column].astype(np.float32)
    return Graph(SparseRows(offsets, column.astype(np.int32), values, len(distance)), reach)


def matrix_of(graph: Graph) -> np.ndarray:
    """The whole matrix of a graph, 1 where it has no pair."""
    full, rows = np.ones((len(graph), len(graph))), graph.distances
    full[rows.row_of_entries(), rows.columns] = rows.values
    return full


def linked(n: int, edges: dict[tuple[int, int], float]) -> Graph:
    distance = np.ones((n, n))
    np.fill_diagonal(distance, 0)
    for (i, j), value in edges.items():
        distance[i, j] = distance[j, i] = value
    return graph_of(distance)


def random_distances(n: int, seed: int, *, steps: int = 0) -> np.ndarray:
    """Symmetric distances, most of them 1; in `steps` equal steps there are ties."""
    random = np.random.default_rng(seed)
    distance = random.random((n, n), dtype=np.float32)
    if steps:
        distance = np.ceil(distance * steps, dtype=np.float32) / np.float32(steps)
    distance = np.where(random.random((n, n)) < 3 / n, distance, np.float32(1))
    distance = np.minimum(distance, distance.T)
    np.fill_diagonal(distance, 0)
    return distance


# Six images: 0, 1, 2 all .2 apart; 3 is .3 from 2 and .4 from 4; 4 and 5 are .1 apart.
SIX = linked(6, {(0, 1): 0.2, (0, 2): 0.2, (1, 2): 0.2, (2, 3): 0.3, (3, 4): 0.4, (4, 5): 0.1})


@pytest.mark.parametrize(
    ("eps", "min_samples", "expected"),
    [
        (0.2, 3, [0, 0, 0, -1, -1, -1]),  # within .2: 3, 3, 3, 1, 2, 2 images: 0, 1, 2 are dense
        (0.2, 2, [0, 0, 0, -1, 1, 1]),
        (0.2, 1, [0, 0, 0, 1, 2, 2]),  # all are dense, 3 on its own
        (0.3, 3, [0, 0, 0, 0, -1, -1]),  # 3 is within .3 of 2, but has only two itself: it joins
        (0.4, 3, [0, 0, 0, 0, 0, 0]),  # 3 (itself, 2, 4) and 4 (itself, 3, 5) are dense now, and link all
        (0.4, 4, [0, 0, 0, 0, -1, -1]),  # within .4 of 2: 0, 1, 2, 3; only 2 is dense; 3 joins it, 4 does not reach it
        (0.1, 3, [-1] * 6),
    ],
)
def test_dbscan_worked_by_hand(eps: float, min_samples: int, expected: list[int]):
    assert dbscan(SIX, eps, min_samples).tolist() == expected


def test_an_image_between_two_clusters_joins_its_nearest_dense_image():
    # 0-1-2 and 3-4-5 are all .1 apart; 6 is .3 from 2 and .2 from 3, and has no third: not dense for 4.
    triples = {(i, j): 0.1 for k in (0, 3) for i, j in ((k, k + 1), (k, k + 2), (k + 1, k + 2))}
    edges = {**triples, (2, 6): 0.3, (3, 6): 0.2}
    assert dbscan(linked(7, edges), 0.3, 4).tolist() == [0, 0, 0, 1, 1, 1, 1]
    edges[2, 6] = 0.2  # as near: the first image
    assert dbscan(linked(7, edges), 0.3, 4).tolist() == [0, 0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("seed", range(60))
def test_dbscan_equals_its_definition(seed: int):
    distance = random_distances(20 + seed, seed, steps=5 if seed % 2 else 0)
    eps, min_samples = [0.2, 0.4, 0.6, 0.8][seed % 4], 1 + seed % 5
    given = dbscan(graph_of(distance), eps, min_samples).tolist()
    assert given == oracle.dbscan(distance, np.float32(eps), min_samples)


@pytest.mark.parametrize("seed", range(60))
def test_dbscan_equals_that_of_scikit_learn_save_between_clusters(seed: int):
    distance = random_distances(150, seed, steps=8 if seed % 3 == 0 else 0)
    eps, min_samples = 0.3 + 0.1 * (seed % 6), 2 + seed % 4
    theirs = DBSCAN(eps=np.float32(eps), min_samples=min_samples, metric="precomputed").fit(distance)
    ours = dbscan(graph_of(distance), eps, min_samples).numpy()
    dense = theirs.core_sample_indices_
    assert np.array_equal(ours == OUTLIER, theirs.labels_ == OUTLIER)
    assert numbered(theirs.labels_[dense].astype(np.int64)).equal(numbered(ours[dense]))
    for i in np.flatnonzero((ours != theirs.labels_) & (ours != OUTLIER)):
        near = dense[distance[i, dense] <= np.float32(eps)]
        assert ours[i] in ours[near]


@pytest.mark.parametrize("seed", range(30))
def test_a_larger_eps_only_merges(seed: int):
    graph = graph_of(random_distances(120, seed))
    for least in (1, 3):
        steps = [dbscan(graph, eps, least) for eps in (0.2, 0.4, 0.6, 0.8)]
        for small, large in pairwise(steps):
            assert not ((small != OUTLIER) & (large == OUTLIER)).any()
            if least == 1:  # no image that is not dense, which may change sides
                for cluster in range(int(small.max()) + 1):
                    assert large[small == cluster].unique().numel() == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("seed", range(10))
def test_renumbering_the_images_renumbers_the_clusters(algorithm: str, seed: int):
    features = clustered(120, 16, 10, 0.45, seed).double()
    order = torch.randperm(120, generator=Generator().manual_seed(seed))
    first, again = (
        ALGORITHMS[algorithm](jaccard_of(FeatureMemory.of(rows), k1=12, k2=3, reach=0.5), 0.5, 3)
        for rows in (features, features[order])
    )
    assert sizes(first).numel() > 3
    if algorithm == "dbscan":  # infomap is greedy: where it begins may matter
        assert torch.equal(numbered(first[order].numpy()), again)
    else:
        assert abs(sizes(first).numel() - sizes(again).numel()) <= 2


def test_clusters_are_numbered_by_their_first_member():
    assert numbered(np.array([7, -1, 3, 7, 9, 3])).tolist() == [0, -1, 1, 0, 2, 1]
    assert numbered(np.array([], dtype=np.int64)).tolist() == []
    assert sizes(torch.tensor([0, -1, 1, 0, 2, 1])).tolist() == [2, 2, 1]
    assert sizes(torch.tensor([-1, -1])).tolist() == []


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_equals_the_whole_matrix(kind: str, seed: int):
    generator = Generator().manual_seed(seed)
    images = drawn(generator, 1, 50)
    features = KINDS[kind](images, seed, generator)
    k1 = drawn(generator, 2, 25)
    k2, reach = drawn(generator, 1, min(7, k1)), [0.3, 0.6, 0.9][seed % 3]
    expected = oracle.jaccard_of(features, k1, k2)
    given = matrix_of(jaccard_of(FeatureMemory.of(features), k1=k1, k2=k2, reach=reach))
    clear = np.abs(expected - reach) > 1e-5
    assert np.array_equal((given < 1)[clear], (expected <= reach)[clear])
    assert np.abs(given - expected)[given < 1].max() < 1e-5


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["random_clusters", *EXACT])
def test_the_graph_by_cameras_equals_the_whole_matrix(kind: str, seed: int):
    generator = Generator().manual_seed(seed)
    images = drawn(generator, 2, 45)
    features = KINDS[kind](images, seed, generator)
    camids = torch.randint(-1, 3, (images,), generator=generator)
    k1 = drawn(generator, 2, 12)
    k2 = drawn(generator, 1, min(4, k1))
    scores = oracle.similarities(features)
    lists = oracle.lists_of_cameras(scores, camids.tolist(), k1)
    memory = FeatureMemory.of(features)
    assert lists_by_camera(memory, camids, k1).index.tolist() == lists
    short = oracle.lists_of_cameras(scores, camids.tolist(), round(k1 / 2) + 1)
    assert {len(line) for line in short} == {listed(camids, round(k1 / 2) + 1)}
    assert all(long[: len(line)] == line for long, line in zip(lists, short, strict=True))
    expected = oracle.jaccard(scores, lists, short, k2)
    given = matrix_of(jaccard_of(memory, k1=k1, k2=k2, reach=0.9, camids=camids))
    clear = np.abs(expected - 0.9) > 1e-5
    assert np.array_equal((given < 1)[clear], (expected <= 0.9)[clear])
    assert np.abs(given - expected)[given < 1].max() < 1e-5


def test_lists_by_camera_worked_by_hand():
    # Scores of image 0 with 0..5: 1, .9, .8, .1, .3, .2; cameras 0 0 0 1 1 2: the best of each: 0 (itself), 4 (.3),
    # 5 (.2); then the second best: 1 (.9), 3 (.1); camera 2 has no second.
    direction = torch.tensor([1.0, 0.9, 0.8, 0.1, 0.3, 0.2])
    features = torch.stack([direction, (1 - direction.square()).sqrt()], dim=1)
    lists = lists_by_camera(FeatureMemory.of(features), torch.tensor([0, 0, 0, 1, 1, 2]), 2)
    assert lists.index[0].tolist() == [0, 4, 5, 1, 3]
    assert lists.scores[0].tolist() == pytest.approx([1.0, 0.3, 0.2, 0.9, 0.1])


def test_identities_are_found_across_cameras_that_differ_more_than_they_do():
    # Four identities, three images of each in each of two cameras, whose own direction weighs more than an
    # identity's: the six most similar images are all of one camera, the three of each camera are the identity's.
    generator = Generator().manual_seed(0)
    camids = torch.arange(24) % 2
    pids = torch.arange(24) // 6
    rows = 1.2 * torch.eye(8)[camids] + torch.eye(8)[2 + pids] + 0.02 * torch.randn(24, 8, generator=generator)
    memory = FeatureMemory.of(torch.nn.functional.normalize(rows, dim=1))
    together = dbscan(jaccard_of(memory, k1=6, k2=1, reach=0.75), 0.75, 3)
    assert not any(set(camids[together == c].tolist()) == {0, 1} for c in range(8))
    assert torch.equal(dbscan(jaccard_of(memory, k1=3, k2=1, reach=0.75, camids=camids), 0.75, 3), pids)


def test_lists_that_are_there_are_used_and_short_ones_are_made_anew(monkeypatch: pytest.MonkeyPatch):
    features = clustered(80, 8, 6, 0.4, 0)
    expected = matrix_of(jaccard_of(FeatureMemory.of(features), k1=10, k2=3))
    for length, rows in ((20, None), (10, None), (5, None), (20, 40)):
        memory = FeatureMemory.of(features)
        memory.list_neighbours(length, rows=rows)
        before = memory.lists
        assert np.array_equal(matrix_of(jaccard_of(memory, k1=10, k2=3)), expected)
        assert (memory.lists is before) == (length >= 10 and rows is None)


@pytest.mark.parametrize("kind", ["random_clusters", "duplicated"])
def test_sizes_of_blocks_do_not_change_the_graph(kind: str, monkeypatch: pytest.MonkeyPatch):
    features = KINDS[kind](60, 1, Generator().manual_seed(5)).float()
    camids = torch.arange(60) % 3
    whole = [matrix_of(jaccard_of(FeatureMemory.of(features), k1=8, k2=3, camids=by)) for by in (None, camids)]
    monkeypatch.setattr(resight.reciprocal, "ENTRIES_AT_A_TIME", 57)
    monkeypatch.setattr(resight.memory, "PRODUCT_BYTES", 60 * 4 * 7)
    parts = [matrix_of(jaccard_of(FeatureMemory.of(features), k1=8, k2=3, camids=by)) for by in (None, camids)]
    assert np.allclose(whole, parts, atol=1e-6)


def test_a_graph_does_not_answer_beyond_its_reach():
    with pytest.raises(ConfigError, match="eps must be at most the 0.9 that the graph was built to reach, got 0.95"):
        dbscan(SIX, 0.95, 4)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_few_images_and_equal_images(algorithm: str):
    cluster = ALGORITHMS[algorithm]
    assert cluster(jaccard_of(FeatureMemory(0, 4)), 0.5, 2).tolist() == []
    assert cluster(jaccard_of(FeatureMemory.of(torch.eye(1, 4))), 0.5, 2).tolist() == [OUTLIER]
    equal = FeatureMemory.of(torch.eye(1, 4).repeat(12, 1))
    assert cluster(jaccard_of(equal), 0.5, 4).tolist() == [0] * 12
    apart = FeatureMemory.of(torch.eye(12))
    assert cluster(jaccard_of(apart, k1=2, k2=1), 0.5, 4).tolist() == [OUTLIER] * 12


def two_cliques() -> Graph:
    """Images 0..4 and 5..9 all .2 apart among themselves, joined by one edge of .3; 10 is alone."""
    groups = [(k + i, k + j) for k in (0, 5) for i in range(5) for j in range(i)]
    return linked(11, {**dict.fromkeys(groups, 0.2), (4, 5): 0.3})


def test_infomap_cuts_what_one_edge_joins():
    assert infomap(two_cliques(), 0.4).tolist() == [0] * 5 + [1] * 5 + [OUTLIER]
    assert dbscan(two_cliques(), 0.4, 4).tolist() == [0] * 10 + [OUTLIER]
    assert infomap(two_cliques(), 0.4, 6).tolist() == [OUTLIER] * 11
    assert infomap(two_cliques(), 0.1).tolist() == [OUTLIER] * 11


def test_infomap_gives_the_same_twice():
    graph = jaccard_of(FeatureMemory.of(clustered(300, 16, 25, 0.6, 2)), k1=15, reach=0.7)
    assert torch.equal(infomap(graph, 0.7), infomap(graph, 0.7))


def test_a_missing_infomap_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "infomap", None)
    with pytest.raises(ConfigError, match=r"pip install 'resight\[infomap\]', or choose"):
        infomap(two_cliques(), 0.4)


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda m: jaccard_of(m, k1=1), ConfigError, "k1 of clustering must be 2 or more images, .* got 1"),
        (lambda m: jaccard_of(m, k1=5, k2=6), ConfigError, r"k2 of clustering must lie in 1..k1, here 1..5, got 6"),
        (lambda m: jaccard_of(m, k2=0), ConfigError, "k2 .* got 0"),
        (lambda m: jaccard_of(m, reach=1.0), ConfigError, "must lie between 0 and 1, got 1"),
        (lambda m: dbscan(SIX, 0.0), ConfigError, "must lie between 0 and 1, got 0"),
        (lambda m: dbscan(SIX, float("nan")), ConfigError, "must lie between 0 and 1, got nan"),
        (lambda m: dbscan(SIX, 0.5, 0), ConfigError, "min_samples of clustering must be 1 or more, got 0"),
        (lambda m: infomap(SIX, 0.5, 0), ConfigError, "min_samples of clustering must be 1 or more, got 0"),
        (lambda m: jaccard_of(m, camids=torch.zeros(3, dtype=torch.long)), ShapeError, "camids must be 9, .* got 3"),
    ],
)
def test_what_cannot_be_used_is_refused(ask, error: type, words: str, unchecked_shapes: None):
    with pytest.raises(error, match=words):
        ask(FeatureMemory.of(torch.eye(9)))
