"""What every miner and every loss must do; new entries of the tables join by themselves."""

import pytest
import torch
from torch.nn.functional import normalize

from resight.losses import LOSSES
from resight.memory import FeatureMemory
from resight.miners import MINERS
from resight.types import SparsePositives


def memory_of(images: int, seed: int) -> FeatureMemory:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(6, 16, generator=generator)
    rows = centres[torch.randint(6, (images,), generator=generator)] + 0.4 * torch.randn(
        images, 16, generator=generator
    )
    return FeatureMemory.of(normalize(rows, dim=1).double())


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("images", [1, 2, 7, 60])
def test_the_own_index_is_always_positive(name: str, images: int):
    everyone = torch.arange(images)
    mined = MINERS[name]()(memory_of(images, images), everyone)
    assert mined.shape == (images, images)
    assert mined.diagonal().all()


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("block", [1, 7, 60])
def test_blocks_of_any_size_give_the_same_labels(name: str, block: int):
    miner, everyone = MINERS[name](), torch.arange(60)
    whole = miner(memory_of(60, 3), everyone)
    sparse = SparsePositives.from_blocks(miner(memory_of(60, 3), part) for part in everyone.split(block))
    order = torch.randperm(60)
    assert torch.equal(sparse.dense(order), whole[order])


@pytest.mark.parametrize("name", MINERS)
def test_an_unwritten_memory_can_be_mined(name: str):
    mined = MINERS[name]()(FeatureMemory(5, 4), torch.arange(5))
    assert mined.diagonal().all()


@pytest.mark.parametrize("name", MINERS)
def test_mining_leaves_the_memory_alone(name: str):
    memory = memory_of(20, 1)
    before = memory.features.clone()
    MINERS[name]()(memory, torch.arange(20))
    assert torch.equal(memory.features, before)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_finite_and_falls_when_positives_come_closer(name: str):
    scores = torch.full((2, 10), 0.1, dtype=torch.float64)
    positives = torch.eye(2, 10, dtype=torch.bool)
    closer = scores + 0.3 * positives
    loss = LOSSES[name]()
    assert torch.isfinite(loss(scores, positives))
    assert loss(closer, positives) < loss(scores, positives)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_every_loss(name: str):
    scores = (torch.rand(3, 20, dtype=torch.float64) * 2 - 1).requires_grad_()
    positives = torch.rand(3, 20) < 0.2
    positives[:, 0] = True
    assert torch.autograd.gradcheck(lambda z: LOSSES[name]()(z, positives), scores)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("miner", MINERS)
def test_any_miner_runs_with_any_loss(miner: str, loss: str):
    memory, index = memory_of(60, 4), torch.tensor([3, 50, 17])
    embeddings = normalize(memory.read(index) + 0.3, dim=1).requires_grad_()
    value = LOSSES[loss]()(memory.scores(embeddings), MINERS[miner]()(memory, index))
    value.backward()
    assert torch.isfinite(value)
    assert embeddings.grad is not None and torch.isfinite(embeddings.grad).all() and embeddings.grad.abs().sum() > 0
