"""GSMLP: golden case, oracle, properties."""

import pytest
import torch

from memories import clustered
from oracles import mining as oracle
from resight.errors import ConfigError
from resight.memory import FeatureMemory
from resight.miners.gsmlp import GSMLP


def sets(marks: torch.Tensor) -> list[set[int]]:
    return [set(row.nonzero().squeeze(1).tolist()) for row in marks]


def test_a_similar_image_that_stands_differently_to_the_rest_is_not_mined():
    # Images 0, 1 alike; 2 is as similar to 0 as 1 is (0.8), but lies towards 3, which 0 and 1 do not resemble.
    features = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.8, 0.0, 0.6], [0.0, 0.0, 1.0]])
    # S (diagonal 0):  s01 = .8  s02 = .8  s03 = 0   s12 = .64  s13 = 0  s23 = .6
    # d(0,1)² = (0−.8)² + (.8−0)² + (.8−.64)² + 0²   = 1.3056
    # d(0,2)² = (0−.8)² + (.8−.64)² + (.8−0)² + .6²  = 1.6656
    # d(0,3)² = 0² + .8² + (.8−.6)² + 0²             = 0.68
    memory, index = FeatureMemory.of(features), torch.tensor([0])
    distance = memory.adjacency_distance(index)
    assert distance[0].tolist() == pytest.approx([0, 1.3056, 1.6656, 0.68], abs=1e-6)
    # τ .7: k = 3 (0, 1, 2), K = 3: Top = {0, 1, 2}; Adj(0, 4) holds all four, so all of Top stays.
    assert sets(GSMLP(tau=0.7, min_candidates=1)(memory, index)) == [{0, 1, 2}]
    # A fifth image, a twin of 3, makes 4 the next nearest row: Adj(0, 4) = {0, 3, 4, 1} and 2 falls out.
    memory = FeatureMemory.of(torch.cat([features, torch.tensor([[0.0, 0.0, 1.0]])]))
    assert sets(GSMLP(tau=0.7, min_candidates=1)(memory, index)) == [{0, 1}]


@pytest.mark.parametrize("seed", range(150))
def test_equals_the_n_by_n_definition(seed: int):
    generator = torch.Generator().manual_seed(seed)
    images = int(torch.randint(1, 60, (), generator=generator))
    dim = int(torch.randint(2, 24, (), generator=generator))
    tau = float(torch.rand((), generator=generator)) * 0.9 + 0.05
    least = int(torch.randint(1, 15, (), generator=generator))
    most = least + seed % 3 if seed % 2 else 0
    features = clustered(images, dim, 5, 0.5, seed).double()
    features[torch.rand(images, generator=generator) < 0.1] = 0  # rows not yet written
    index = torch.randperm(images, generator=generator)[:16]
    mined = GSMLP(tau, least, most)(FeatureMemory.of(features), index)
    s = oracle.similarity(features.tolist())
    assert sets(mined) == [oracle.gsmlp(s, i, tau, least, most) for i in index.tolist()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_direct_form_on_a_larger_memory(dtype: torch.dtype):
    features = clustered(900, 64, 60, 0.35, 3).to(dtype)
    index = torch.arange(0, 900, 45)
    mined = GSMLP()(FeatureMemory.of(features), index)
    s = features.double() @ features.double().T
    zero_diagonal = s.clone().fill_diagonal_(0)
    for i, found in zip(index.tolist(), sets(mined), strict=True):
        width = max(10, int((s[i] >= 0.6).sum()))
        distance = (zero_diagonal[i] - zero_diagonal).norm(dim=1)
        assert found == {*s[i].topk(width).indices.tolist()} & {
            *distance.topk(width + 1, largest=False).indices.tolist()
        }


def test_identical_images_keep_their_order_and_the_own_index():
    features = torch.nn.functional.normalize(torch.ones(30, 4), dim=1)
    index = torch.tensor([0, 29])
    mined = GSMLP(tau=0.9, min_candidates=3, max_candidates=3)(FeatureMemory.of(features), index)
    assert sets(mined) == [{0, 1, 2}, {0, 1, 29}]
    assert GSMLP(tau=0.9, min_candidates=3)(FeatureMemory.of(features), index).all()


def test_an_image_that_nothing_resembles_keeps_itself_only():
    mined = GSMLP(tau=0.5, min_candidates=10)(FeatureMemory.of(torch.eye(12)), torch.arange(12))
    assert torch.equal(mined, torch.eye(12, dtype=torch.bool))


def test_an_empty_memory_gives_self_only_labels():
    mined = GSMLP()(FeatureMemory(20, 8), torch.arange(20))
    assert torch.equal(mined, torch.eye(20, dtype=torch.bool))


@pytest.mark.parametrize("seed", range(20))
def test_renumbering_the_images_renumbers_the_answer(seed: int):
    features = clustered(80, 16, 8, 0.4, seed).double()
    order = torch.randperm(80, generator=torch.Generator().manual_seed(seed))
    everyone = torch.arange(80)
    mined = GSMLP()(FeatureMemory.of(features), everyone)
    again = GSMLP()(FeatureMemory.of(features[order]), everyone)
    assert torch.equal(mined[order][:, order], again)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tau": 60.0}, r"miner.tau is a cosine and must lie in \(0, 1\], got 60"),
        ({"min_candidates": 0}, "at least 1"),
        ({"max_candidates": 5}, r"must be 0 \(no bound\) or at least miner.min_candidates = 10, got 5"),
    ],
)
def test_bad_settings_are_refused(settings: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        GSMLP(**settings)
