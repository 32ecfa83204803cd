"""The cluster miner: labels of all images at once, in batches and as lists; and clusters under constraints."""

from pathlib import Path

import pytest
import torch
from torch import Generator

import resight.clustering
import resight.miners.cluster
from memories import clustered
from resight.cluster_constraints import obey
from resight.clustering import OUTLIER, jaccard_of, numbered
from resight.constraints import Constraints, find_constraints
from resight.errors import ConfigError, ResightError
from resight.memory import FeatureMemory
from resight.miners.cluster import Cluster, positives_of
from resight.types import UnlabelledImages
from test_clustering import linked

FEATURES = clustered(120, 16, 10, 0.8, 0)


def known(tracklets: list[int], times: list[float] | None = None) -> Constraints:
    """Constraints of images of one camera; -1: in no tracklet."""
    count = len(tracklets)
    moments = times or [float(i) for i in range(count)]
    images = UnlabelledImages((Path("x.jpg"),) * count, (0,) * count, tuple(tracklets), tuple(moments))
    return find_constraints(images, tracklets=True, same_time=times is not None)


def test_positives_are_the_cluster_or_the_image_alone():
    pseudo_pid = torch.tensor([0, -1, 1, 0, -1, 1, 0])
    positives = positives_of(pseudo_pid)
    assert positives.offsets.tolist() == [0, 3, 4, 6, 9, 10, 12, 15]
    assert positives.columns.tolist() == [0, 3, 6, 1, 2, 5, 0, 3, 6, 4, 2, 5, 0, 3, 6]
    dense = positives.dense(torch.arange(7))
    assert torch.equal(dense, dense.T)
    assert len(positives_of(torch.zeros(0, dtype=torch.long))) == 0


def test_batches_and_lists_say_the_same():
    miner, memory = Cluster(eps=0.5, k1=12, k2=3), FeatureMemory.of(FEATURES)
    pseudo_pid = miner.cluster(memory)
    assert (pseudo_pid == OUTLIER).any() and int(pseudo_pid.max()) > 3
    order = torch.randperm(120, generator=Generator().manual_seed(0))
    assert torch.equal(miner(memory, order), positives_of(pseudo_pid).dense(order))


def test_clusters_are_made_once_and_again_when_a_row_has_changed(monkeypatch: pytest.MonkeyPatch):
    made = []
    plain = resight.miners.cluster.jaccard_of
    monkeypatch.setattr(resight.miners.cluster, "jaccard_of", lambda *a, **k: made.append(1) or plain(*a, **k))
    miner, memory = Cluster(), FeatureMemory.of(FEATURES.clone())
    for part in torch.arange(120).split(50):
        miner(memory, part)
    assert len(made) == 1
    memory.update(torch.tensor([0]), FEATURES[60:61], 0.0)
    assert miner(memory, torch.tensor([0]))[0, 60]
    assert len(made) == 2
    miner(FeatureMemory.of(FEATURES), torch.tensor([0]))
    assert len(made) == 3


def test_rows_not_yet_written_are_outliers():
    rows = FEATURES.clone()
    rows[::7] = 0
    pseudo_pid = Cluster(eps=0.5, k1=12).cluster(FeatureMemory.of(rows))
    assert (pseudo_pid[::7] == OUTLIER).all()
    assert torch.equal(numbered(pseudo_pid.numpy()), pseudo_pid)
    assert (Cluster().cluster(FeatureMemory(20, 4)) == OUTLIER).all()


def test_camids_count_across_cameras_only():
    memory, camids = FeatureMemory.of(FEATURES), torch.arange(120) % 2
    plain, across = Cluster(k1=8, k2=2), Cluster(k1=8, k2=2, across_cameras=True)
    assert torch.equal(plain.cluster(memory, camids), plain.cluster(memory))
    assert torch.equal(across.cluster(memory), plain.cluster(memory))
    assert not torch.equal(across.cluster(memory, camids), plain.cluster(memory))
    assert (plain.list_length, across.list_length) == (8, 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eps": 1.5}, "must lie between 0 and 1, got 1.5"),
        ({"min_samples": 0}, "min_samples .* got 0"),
        ({"k1": 1}, "k1 of clustering must be 2 or more"),
        ({"k1": 4}, r"k2 .* 1..4, got 6"),
        ({"algorithm": "dbscam"}, "no clustering algorithm named 'dbscam'; did you mean 'dbscan'"),
    ],
)
def test_bad_settings_are_refused(settings: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        Cluster(**settings)


def test_a_cluster_too_large_to_write_down_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resight.miners.cluster, "MOST_POSITIVES", 100)
    with pytest.raises(ResightError, match="the largest cluster holds 11 of 11 images, .* lower miner.eps"):
        positives_of(torch.zeros(11, dtype=torch.long))


NONE = linked(6, {})


def test_a_tracklet_goes_where_most_of_it_is():
    # Tracklet 0: images 0, 1, 2, of which two are in cluster 1; tracklet 1: images 3, 4, both outliers.
    clusters = torch.tensor([0, 1, 1, -1, -1, 0])
    assert obey(clusters, NONE, known([0, 0, 0, 1, 1, -1])).tolist() == [0, 0, 0, 1, 1, 2]
    assert obey(clusters, NONE, known([0, 0, -1, -1, -1, -1])).tolist() == [0, 0, 1, -1, -1, 0]  # as many: the first


def test_of_two_images_of_one_moment_the_one_less_tied_leaves():
    # All in one cluster; 0 and 1 at one moment; 0 is tied by .8 + .6, 1 by .8.
    graph = linked(4, {(0, 2): 0.2, (0, 3): 0.4, (1, 2): 0.2, (2, 3): 0.2})
    clusters = torch.zeros(4, dtype=torch.long)
    assert obey(clusters, graph, known([-1] * 4, [5.0, 5.0, 6.0, 7.0])).tolist() == [0, -1, 0, 0]
    even = linked(4, {(0, 2): 0.2, (1, 2): 0.2, (2, 3): 0.2})
    assert obey(clusters, even, known([-1] * 4, [5.0, 5.0, 6.0, 7.0])).tolist() == [0, -1, 0, 0]  # the first stays


def test_a_tracklet_that_must_leave_is_a_cluster_of_its_own():
    # Tracklets 0 (images 0, 1) and 1 (images 2, 3) meet at moment 5; 4 ties 1 more.
    graph = linked(5, {(0, 2): 0.3, (2, 4): 0.1, (1, 4): 0.8})
    clusters = torch.zeros(5, dtype=torch.long)
    assert obey(clusters, graph, known([0, 0, 1, 1, -1], [5.0, 6.0, 5.0, 7.0, 8.0])).tolist() == [0, 0, 1, 1, 1]


def test_one_that_leaves_lets_its_enemies_stay():
    # 0 and 1 at one moment, 2 and 3 at another; 1 is kept apart from 0 only. Ties: 0 .9+.5, 1 .5, 2 .9, 3 0.
    graph = linked(4, {(0, 2): 0.1, (0, 1): 0.5})
    given = obey(torch.zeros(4, dtype=torch.long), graph, known([-1] * 4, [5.0, 5.0, 6.0, 6.0]))
    assert given.tolist() == [0, -1, 0, -1]


@pytest.mark.parametrize("seed", range(30))
def test_clusters_agree_with_what_is_known(seed: int):
    generator = Generator().manual_seed(seed)
    tracklets = torch.randint(-1, 15, (80,), generator=generator).tolist()
    times = torch.randint(0, 40, (80,), generator=generator).double().tolist()
    constraints = known(tracklets, times)
    features = clustered(80, 8, 6, 0.6, seed)
    graph = jaccard_of(FeatureMemory.of(features), k1=12, k2=3, reach=0.7)
    given = obey(resight.clustering.dbscan(graph, 0.6, 3), graph, constraints)
    assert constraints.pairs_apart > 0
    group = constraints.group
    for i in range(80):
        for j in range(80):
            if group[i] == group[j] and i != j:
                assert given[i] == given[j] != OUTLIER
    owner, other = constraints.apart.of(torch.arange(len(constraints.members.lengths)))
    first = constraints.members.items[constraints.members.offsets[:-1]]
    shared = given[first[owner]] == given[first[other]]
    assert not (shared & (given[first[owner]] != OUTLIER)).any()


def test_where_nothing_is_known_clusters_come_back_as_they_are():
    clusters = torch.tensor([0, 1, 1, -1, 0, -1])
    assert obey(clusters, NONE, known([-1] * 6)) is clusters
    miner, memory = Cluster(eps=0.5, k1=12), FeatureMemory.of(FEATURES)
    together = [0] * 3 + [-1] * 117
    given = miner.cluster(memory, constraints=known(together))
    assert given[0] == given[1] == given[2] != OUTLIER
