"""FeatureMemory slot by slot, the kept Gram matrix against rebuilt ones, per-camera standardisation."""

import pytest
import torch
from torch.nn.functional import normalize

from resight.by_camera import standardise_by_camera
from resight.errors import ConfigError, ShapeError
from resight.memory import FeatureMemory
from resight.miners import MINERS
from resight.storage import Rows


def random_rows(images: int, dim: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return normalize(torch.randn(images, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=1)


def standardised(features: torch.Tensor, camids: torch.Tensor) -> torch.Tensor:
    out = Rows(torch.empty_like(features))
    standardise_by_camera(Rows(features), camids, out)
    return out.data


def test_an_empty_row_takes_the_embedding_and_the_others_stay():
    memory = FeatureMemory(3, 2)
    memory.update(torch.tensor([1]), torch.tensor([[0.6, 0.8]]), momentum=0.5)
    assert memory.features.tolist() == [[0, 0], [pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


def test_momentum_is_the_share_of_the_old_row():
    memory = FeatureMemory.of(torch.tensor([[1.0, 0.0]]))
    memory.update(torch.tensor([0]), torch.tensor([[0.0, 1.0]]), momentum=0.75)
    # .75 · (1, 0) + .25 · (0, 1) = (.75, .25), length √.625 = .790569
    assert memory.features[0].tolist() == pytest.approx([0.948683, 0.316228], abs=1e-6)


def test_half_momentum_is_the_published_rule():
    old, new = random_rows(5, 8, 0), random_rows(5, 8, 1)
    memory = FeatureMemory.of(old.clone())
    memory.update(torch.arange(5), new, momentum=0.5)
    assert torch.allclose(memory.features, normalize(old + new, dim=1), atol=1e-6)


@pytest.mark.parametrize("given", [True, False])
def test_kept_gram_and_energy_follow_updates_within_a_bound(given: bool):
    memory = FeatureMemory.of(random_rows(400, 32, 0))
    index = torch.arange(10)
    memory.adjacency_distance(index)
    for step in range(200):  # ten epochs of 20 batches without a rebuild
        index = torch.randperm(400, generator=torch.Generator().manual_seed(step))[:20]
        embeddings = random_rows(20, 32, 1000 + step)
        memory.adjacency_distance(index)
        memory.update(index, embeddings, 0.5, scores=memory.scores(embeddings) if given else None)
    kept, everyone = memory.adjacency_distance(index), torch.arange(400)
    mined = MINERS["gsmlp"](0.3)(memory, everyone)
    memory.forget()
    fresh = memory.adjacency_distance(index)
    assert (kept - fresh).abs().max() < 1e-4 * fresh.max()
    assert torch.equal(mined, MINERS["gsmlp"](0.3)(memory, everyone))


@pytest.mark.parametrize("dim", [32, 128])
def test_distances_of_features_that_are_all_alike_keep_their_order_in_float32(dim: int):
    # What a network gives before it has learnt: one direction that all share, mean cosine about 0.9.
    generator = torch.Generator().manual_seed(dim)
    common = 3 * normalize(torch.randn(1, dim, generator=generator), dim=1)
    features = normalize(common + random_rows(2000, dim, 0), dim=1)
    assert (features @ features.T).mean() > 0.85
    index = torch.arange(0, 2000, 40)
    exact = FeatureMemory.of(normalize(features.double(), dim=1)).adjacency_distance(index)
    rough = FeatureMemory.of(features).adjacency_distance(index).double()
    assert (rough - exact).abs().max() < 2e-4  # 2e-3 with nothing taken out, which puts half of these rows wrong
    nearest = [{*row.tolist()} for row in exact.topk(11, dim=1, largest=False).indices]
    found = [{*row.tolist()} for row in rough.topk(11, dim=1, largest=False).indices]
    assert sum(one != other for one, other in zip(nearest, found, strict=True)) <= 2


def test_adjacency_distance_equals_the_rows_of_s():
    features = random_rows(50, 12, 2, torch.float64)
    s = (features @ features.T).fill_diagonal_(0)
    memory, index = FeatureMemory.of(features), torch.tensor([4, 0, 49])
    direct = ((s[index].unsqueeze(1) - s.unsqueeze(0)) ** 2).sum(dim=2)
    assert torch.allclose(memory.adjacency_distance(index), direct, atol=1e-12)


def test_refill_replaces_all_rows_and_drops_the_gram():
    memory = FeatureMemory.of(random_rows(6, 4, 0))
    index = torch.arange(6)
    memory.adjacency_distance(index)
    fresh = random_rows(6, 4, 1)
    memory.refill(fresh)
    assert torch.equal(memory.features, fresh)
    assert memory.gram is None


def test_scores_send_no_gradient_into_the_memory():
    memory = FeatureMemory.of(random_rows(6, 4, 0))
    embeddings = random_rows(2, 4, 1).requires_grad_()
    memory.scores(embeddings).sum().backward()
    assert embeddings.grad is not None
    assert memory.features.grad is None


def test_bad_updates_are_refused(unchecked_shapes):
    memory = FeatureMemory(3, 2)
    with pytest.raises(ConfigError, match=r"momentum must lie in \[0, 1\), got 1"):
        memory.update(torch.tensor([0]), torch.ones(1, 2), momentum=1.0)
    with pytest.raises(ShapeError, match=r"must be \(2, 2\)"):
        memory.update(torch.tensor([0, 1]), torch.ones(3, 2), momentum=0.5)
    with pytest.raises(ShapeError, match="one row per training image"):
        memory.refill(torch.ones(2, 2))


def test_standardising_takes_a_camera_s_shift_and_scale_away():
    identity = random_rows(40, 16, 3)
    shifted = normalize(identity * torch.linspace(0.2, 3, 16) + 5, dim=1)
    features, camids = torch.cat([identity, shifted]), torch.tensor([1] * 40 + [2] * 40)
    standard = standardised(features, camids)
    twin = torch.arange(80).roll(40)  # the same identity in the other camera

    def nearest(rows: torch.Tensor) -> torch.Tensor:
        return (rows @ rows.T).fill_diagonal_(-1).argmax(dim=1)

    assert (nearest(features) == twin).float().mean() < 0.1  # strangers of the own camera look closer
    assert (nearest(standard) == twin).float().mean() > 0.8
    assert torch.allclose(standard.norm(dim=1), torch.ones(80), atol=1e-5)


def test_standardising_leaves_unwritten_rows_and_lonely_cameras_alone():
    features = random_rows(5, 4, 0)
    features[1] = 0
    out = standardised(features, torch.tensor([1, 1, 1, 1, 2]))
    assert out[1].abs().sum() == 0
    assert torch.equal(out[4], features[4])


def test_an_index_changed_in_place_is_not_answered_from_before():
    memory, index = FeatureMemory.of(random_rows(6, 4, 0)), torch.tensor([0, 1])
    memory.similarity(index)
    index += 2
    assert torch.allclose(memory.similarity(index), memory.features[index] @ memory.features.T)


def test_scores_under_autocast_stay_in_the_precision_of_the_rows():
    memory = FeatureMemory.of(random_rows(6, 4, 0))
    embeddings = random_rows(2, 4, 1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        scores = memory.scores(embeddings)
        distance = memory.adjacency_distance(torch.tensor([0]))
    scores.sum().backward()
    assert scores.dtype == distance.dtype == torch.float32


def test_an_update_before_the_backward_pass_is_an_error_not_a_wrong_gradient():
    memory = FeatureMemory.of(random_rows(6, 4, 0))
    embeddings = random_rows(2, 4, 1).requires_grad_()
    loss = memory.scores(embeddings).sum()
    memory.update(torch.tensor([0]), random_rows(1, 4, 2), 0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
