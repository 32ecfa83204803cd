"""Average linkage on sparse graphs: worked by hand, and against scikit-learn's dense form."""

import numpy as np
import pytest
import torch
from sklearn.cluster import AgglomerativeClustering

from groups.group_cases import drawn, graph_of
from resight.clustering import jaccard_of, numbered
from resight.errors import ConfigError
from resight.linkage import average_linkage
from resight.memory import FeatureMemory


def by_scikit(distance: np.ndarray, eps: float, reach: float) -> torch.Tensor:
    whole = np.where(distance <= reach, distance.astype(np.float32), 1.0)
    found = AgglomerativeClustering(None, distance_threshold=eps, metric="precomputed", linkage="average").fit(whole)
    labels, size = found.labels_, np.bincount(found.labels_)
    return numbered(np.where(size[labels] > 1, labels, -1))


def test_a_chain_does_not_join_two_groups():
    # 0-1 and 3-4 are 0.1 apart, 2 is 0.4 from 1 and from 3: single linkage at 0.5 would make one cluster of all.
    distance = np.ones((5, 5))
    for a, b, d in ((0, 1, 0.1), (3, 4, 0.1), (1, 2, 0.4), (2, 3, 0.45)):
        distance[a, b] = distance[b, a] = d
    np.fill_diagonal(distance, 0)
    # 2 with {0, 1}: mean of 1 and 0.4 = 0.7, too far at 0.5, near enough at 0.72; then {0,1,2} and {3,4}:
    # similarities sum to 0.55 of 6 pairs, 0.908 apart.
    assert average_linkage(graph_of(distance), 0.5).tolist() == [0, 0, -1, 1, 1]
    assert average_linkage(graph_of(distance), 0.72).tolist() == [0, 0, 0, 1, 1]
    assert average_linkage(graph_of(distance), 0.92).tolist() == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_dense_average_linkage(seed: int):
    distance = drawn(seed, 5 + seed)
    for eps in (0.4, 0.7, 0.9):
        assert torch.equal(average_linkage(graph_of(distance), eps), by_scikit(distance, eps, 0.95))


def test_it_is_the_dense_form_on_jaccard_distances():
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(25, 1, 24, generator=generator)
    rows = torch.nn.functional.normalize((centres + 0.9 * torch.randn(25, 8, 24, generator=generator)).flatten(0, 1))
    graph = jaccard_of(FeatureMemory.of(rows), k1=11, k2=3, reach=0.95)
    dense = np.ones((200, 200), dtype=np.float32)
    dense[graph.distances.row_of_entries(), graph.distances.columns] = graph.distances.values
    np.fill_diagonal(dense, 0)
    ours, theirs = average_linkage(graph, 0.8), by_scikit(np.minimum(dense, dense.T), 0.8, 0.95)
    assert torch.equal(ours, theirs)
    assert int(ours.max()) > 5


@pytest.mark.parametrize("seed", range(10))
def test_renumbering_images_renumbers_clusters(seed: int):
    distance, order = drawn(seed, 30), np.random.default_rng(seed).permutation(30)
    plain = average_linkage(graph_of(distance), 0.7)
    moved = average_linkage(graph_of(distance[order][:, order]), 0.7)
    assert torch.equal(numbered(plain[torch.from_numpy(order)].numpy()), moved)


@pytest.mark.parametrize("seed", range(20))
def test_a_camera_stands_in_a_cluster_once(seed: int):
    camids = torch.from_numpy(np.random.default_rng(seed).integers(0, 70, 40))  # more than one word of bits
    pseudo_pid = average_linkage(graph_of(drawn(seed, 40)), 0.95, camids=camids)
    for cluster in range(int(pseudo_pid.max()) + 1):
        cameras = camids[pseudo_pid == cluster]
        assert len(cameras) == len(cameras.unique()) > 1


def test_seen_once_the_second_best_camera_is_taken():
    # 0 and 1 are of camera 0 and nearest; 2 is of camera 1 and nearer to 0.
    distance = np.array([[0, 0.1, 0.2], [0.1, 0, 0.3], [0.2, 0.3, 0]])
    assert average_linkage(graph_of(distance), 0.5, camids=torch.tensor([0, 0, 1])).tolist() == [0, -1, 0]


def test_equal_distances_go_by_the_lowest_images():
    distance = np.full((4, 4), 0.5)
    np.fill_diagonal(distance, 0)
    camids = torch.tensor([0, 0, 1, 1])
    assert average_linkage(graph_of(distance), 0.6, camids=camids).tolist() == [0, 1, 0, 1]


def test_small_clusters_are_outliers_and_nothing_gives_nothing():
    distance = np.array([[0, 0.1, 1], [0.1, 0, 1], [1, 1, 0]])
    assert average_linkage(graph_of(distance), 0.5, 3).tolist() == [-1, -1, -1]
    assert average_linkage(graph_of(np.zeros((0, 0))), 0.5).tolist() == []
    with pytest.raises(ConfigError, match="eps of clustering"):
        average_linkage(graph_of(distance), 1.5)
