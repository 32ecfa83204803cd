"""Doubts about members of clusters against their definitions, hand-worked cases, and what is done about them."""

import pytest
import torch
from torch import Generator, Tensor

import resight.refiners
from memories import KINDS, clustered, drawn
from oracles import clustering as oracle
from resight.clustering import OUTLIER, dbscan, jaccard_of, numbered
from resight.errors import ConfigError, ShapeError
from resight.memory import FeatureMemory
from resight.refiners import (
    adjacency_doubt,
    agreement,
    independent_share,
    instability,
    rank_doubt,
    refine,
    reliable,
)
from test_clustering import linked

DOUBTS = {"adjacency": adjacency_doubt, "rank": rank_doubt}
SLOW = {"adjacency": oracle.adjacency_doubt, "rank": oracle.rank_doubt}


def drawn_clusters(images: int, generator: Generator) -> Tensor:
    """Any clusters at all, some images in none."""
    labels = torch.randint(-1, max(1, images // 4), (images,), generator=generator)
    return numbered(labels.numpy())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DOUBTS)
def test_equals_the_definition(name: str, kind: str, seed: int):
    generator = Generator().manual_seed(seed)
    images = drawn(generator, 1, 45)
    features = KINDS[kind](images, seed, generator)
    pseudo_pid = drawn_clusters(images, generator)
    memory = FeatureMemory.of(features)
    if seed % 2:
        memory.list_neighbours(drawn(generator, 2, 12))
    expected = SLOW[name](oracle.similarities(features), pseudo_pid.tolist())
    assert DOUBTS[name](memory, pseudo_pid).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", DOUBTS)
def test_sizes_of_blocks_do_not_change_the_doubt(name: str, monkeypatch: pytest.MonkeyPatch):
    features = clustered(90, 8, 6, 0.6, 3).double()
    pseudo_pid = drawn_clusters(90, Generator().manual_seed(1))
    whole = DOUBTS[name](FeatureMemory.of(features), pseudo_pid)
    assert 0 < whole.mean() < 1
    monkeypatch.setattr(resight.refiners, "PAIRS_AT_ONCE", 40)
    assert torch.equal(DOUBTS[name](FeatureMemory.of(features), pseudo_pid), whole)


@pytest.mark.parametrize("name", DOUBTS)
def test_who_was_put_into_the_wrong_cluster_is_doubted_most(name: str):
    features = clustered(200, 32, 10, 0.2, 4)
    right = dbscan(jaccard_of(FeatureMemory.of(features)), 0.6, 4)
    wrong = right.clone()
    moved = torch.arange(0, 200, 25)
    wrong[moved] = (right[moved] + 1) % 10
    doubt = DOUBTS[name](FeatureMemory.of(features), wrong)
    assert int(right.min()) >= 0 and int(right.max()) == 9
    others = torch.ones(200, dtype=torch.bool)
    others[moved] = False
    assert doubt[moved].min() > 0.9 and doubt[others].max() < 0.4
    assert torch.equal(refine(wrong, doubt, "drop").pseudo_pid[moved], torch.full((8,), OUTLIER))


@pytest.mark.parametrize("name", DOUBTS)
def test_no_cluster_no_doubt(name: str):
    memory = FeatureMemory.of(clustered(20, 8, 3, 0.5, 0))
    assert DOUBTS[name](memory, torch.full((20,), OUTLIER)).tolist() == [0.0] * 20
    assert DOUBTS[name](memory, torch.arange(20)).tolist() == [0.0] * 20
    assert DOUBTS[name](FeatureMemory(0, 4), torch.zeros(0, dtype=torch.long)).tolist() == []
    assert DOUBTS[name](memory, torch.zeros(20, dtype=torch.long)).tolist() == [0.0] * 20  # nobody else there is


def test_ranks_worked_by_hand():
    # On a line of angles 0, 10, 20, 25, 26, 27 the cluster {0, 2} (0 and 20 degrees; m = 2): nearer to 2 than 0 are 2,
    # 1, 3, 4, 5: place 5 > 2. Nearer to 0 than 2 are 0 and 1: place 2 is not beyond 2. So 0 is doubted, 2 is not.
    angles = torch.tensor([0.0, 10, 20, 25, 26, 27]).double().deg2rad()
    memory = FeatureMemory.of(torch.stack([angles.cos(), angles.sin()], dim=1))
    assert rank_doubt(memory, torch.tensor([0, -1, 0, -1, -1, -1])).tolist() == [1, 0, 0, 0, 0, 0]


def test_agreement_worked_by_hand():
    ours, theirs = torch.tensor([0, 0, 0, -1, 1, 1]), torch.tensor([0, 0, 1, 1, -1, 2])
    # 0: {0 1 2} and {0 1}: 2/3. 2: {0 1 2} and {2 3}: 1/4. 3: {3} and {2 3}: 1/2. 4: {4 5} and {4}: 1/2, 5 alike.
    assert agreement(ours, theirs).tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 4, 1 / 2, 1 / 2, 1 / 2])
    assert torch.equal(agreement(ours, theirs), agreement(theirs, ours))
    assert agreement(ours, ours).tolist() == [1.0] * 6


@pytest.mark.parametrize("seed", range(40))
def test_agreement_equals_its_definition(seed: int):
    generator = Generator().manual_seed(seed)
    one, other = drawn_clusters(seed, generator), drawn_clusters(seed, generator)
    assert agreement(one, other).tolist() == pytest.approx(oracle.agreement(one.tolist(), other.tolist()))


def test_clusters_that_change_with_eps_are_doubted():
    # At .5: {0 1 2}, {3 4 5}, {6 7 8}, 9 alone. At .6 the first two are one: independence 3/6. At .4 image 8 is out:
    # compactness 2/3 for 6 and 7, and 1/3 for 8.
    triples = {(i, j): 0.2 for k in (0, 3) for i, j in ((k, k + 1), (k, k + 2), (k + 1, k + 2))}
    graph = linked(10, {**triples, (2, 3): 0.55, (6, 7): 0.2, (7, 8): 0.45, (6, 8): 0.45})
    at = dbscan(graph, 0.5, 2)
    assert at.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, -1]
    doubt = instability(graph, at, 0.5, delta=0.1, min_samples=2)
    assert doubt.tolist() == pytest.approx([0.5] * 6 + [1 / 3, 1 / 3, 2 / 3, 0])
    assert instability(graph, at, 0.5, delta=0.02, min_samples=2).tolist() == [0.0] * 10
    with pytest.raises(ConfigError, match="eps must be at most the 0.9 that the graph was built to reach"):
        instability(graph, at, 0.89)


def test_who_is_reliable_as_published():
    pseudo_pid = torch.tensor([0, 0, 0, 1, 1, 2, 2, -1])
    independence = torch.tensor([0.2, 0.9, 0.2, 0.5, 0.5, 1.0, 1.0, 0.1])
    compactness = torch.tensor([1.0, 1.0, 0.3, 1.0, 1.0, 0.6, 0.6, 0.1])
    # Best independence .9, .5 and 1; of the clusters 0 and 2 those with the best compactness of their cluster.
    assert reliable(pseudo_pid, independence, compactness, 0.6).tolist() == [1, 1, 0, 0, 0, 1, 1, 1]
    # Falling: 1, .9, .5; place round(3 · .9) = 3 is beyond the last, so the last; round(3 · .5) = 2; round(3 · .3) = 1.
    assert independent_share(pseudo_pid, independence) == pytest.approx(0.5)
    assert independent_share(pseudo_pid, independence, 0.3) == pytest.approx(0.9)
    assert independent_share(torch.tensor([-1, -1]), torch.ones(2)) == 0.0


PSEUDO_PID = torch.tensor([0, 0, 0, 0, 1, 1, -1, 0])
DOUBT = torch.tensor([0.1, 0.9, 0.5, 0.8, 0.2, 0.9, 0.0, 0.7])


def test_doubtful_members_are_dropped():
    refined = refine(PSEUDO_PID, DOUBT, "drop")
    # 1, 3 and 7 leave cluster 0, and 5 leaves 4 alone in cluster 1; a doubt of exactly .5 is none.
    assert refined.pseudo_pid.tolist() == [0, -1, 0, -1, -1, -1, -1, -1]
    assert refined.weights.tolist() == [1.0] * 8
    assert refine(PSEUDO_PID, DOUBT, "drop", above=0.85).pseudo_pid.tolist() == [0, -1, 0, 0, -1, -1, -1, 0]


def test_doubtful_members_leave_together():
    assert refine(PSEUDO_PID, DOUBT, "split").pseudo_pid.tolist() == [0, 1, 0, 1, -1, -1, -1, 1]
    finer = torch.tensor([0, 1, 0, 2, 3, 3, -1, 2])
    assert refine(PSEUDO_PID, DOUBT, "split", finer=finer).pseudo_pid.tolist() == [0, -1, 0, 1, -1, -1, -1, 1]
    alone = torch.full_like(finer, OUTLIER)
    dropped = refine(PSEUDO_PID, DOUBT, "drop").pseudo_pid
    assert torch.equal(refine(PSEUDO_PID, DOUBT, "split", finer=alone).pseudo_pid, dropped)


def test_a_cluster_that_is_doubtful_throughout_is_not_split_but_by_a_finer_one():
    pseudo_pid, doubt = torch.zeros(4, dtype=torch.long), torch.ones(4)
    assert refine(pseudo_pid, doubt, "split").pseudo_pid.tolist() == [0, 0, 0, 0]
    assert refine(pseudo_pid, doubt, "split", finer=torch.tensor([0, 1, 0, 1])).pseudo_pid.tolist() == [0, 1, 0, 1]


def test_doubtful_members_weigh_less():
    refined = refine(PSEUDO_PID, DOUBT, "weigh")
    assert torch.equal(refined.pseudo_pid, PSEUDO_PID)
    assert refined.weights.tolist() == pytest.approx([0.9, 0.1, 0.5, 0.2, 0.8, 0.1, 1.0, 0.3])


@pytest.mark.parametrize("how", ["drop", "split", "weigh"])
@pytest.mark.parametrize("seed", range(10))
def test_a_refinement_only_takes_apart(how: str, seed: int):
    generator = Generator().manual_seed(seed)
    pseudo_pid = drawn_clusters(60, generator)
    labels, weights = refine(pseudo_pid, torch.rand(60, generator=generator), how)
    assert weights.min() >= 0 and weights.max() <= 1
    assert (labels[pseudo_pid == OUTLIER] == OUTLIER).all()
    for cluster in range(int(labels.max()) + 1):
        assert pseudo_pid[labels == cluster].unique().numel() == 1
    assert torch.equal(numbered(labels.numpy()), labels)


def test_what_does_not_fit_is_refused(unchecked_shapes: None):
    memory = FeatureMemory.of(torch.eye(4))
    with pytest.raises(ConfigError, match="clusters can be refined by drop, split, weigh, got 'melt'"):
        refine(PSEUDO_PID, DOUBT, "melt")
    with pytest.raises(ShapeError, match=r"doubt must be \(8,\), one for each image, got \(7,\)"):
        refine(PSEUDO_PID, DOUBT[:7])
    for doubt in DOUBTS.values():
        with pytest.raises(ShapeError, match=r"pseudo_pid must be \(4,\), one for each image, got \(8,\)"):
            doubt(memory, PSEUDO_PID)
