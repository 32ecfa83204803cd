"""SMLC: golden case, oracle, gradient, edge cases."""

import pytest
import torch

from oracles import smlc as oracle
from resight.errors import ConfigError, ShapeError
from resight.losses.smlc import SMLC, hardest_negatives


def test_the_hardest_two_of_three_negatives_are_marked():
    scores = torch.tensor([[0.9, 0.8, -0.2, 0.1]])  # own row, then three others
    positives = torch.tensor([[True, False, False, False]])
    marked = hardest_negatives(scores, positives, share=2 / 3)  # 2 of 3: 0.8 and 0.1, not -0.2
    assert marked.tolist() == [[False, True, False, True]]


def test_a_share_below_one_image_still_takes_one():
    marked = hardest_negatives(torch.tensor([[1.0, 0.2, 0.3]]), torch.tensor([[True, False, False]]), share=0.01)
    assert marked.tolist() == [[False, False, True]]


def test_a_hand_worked_loss():
    scores = torch.tensor([[0.9, 0.5, -0.2, 0.1]])
    positives = torch.tensor([[True, True, False, False]])
    # pull: ((.9−1)² + (.5−1)²) / 2 = .13; push, hardest half of two negatives: (.1+1)² = 1.21; 5·.13 + 1.21 = 1.86
    assert float(SMLC(delta=5.0, hard_negative_share=0.5)(scores, positives)) == pytest.approx(1.86, abs=1e-6)


@pytest.mark.parametrize("seed", range(200))
def test_equals_the_loops(seed: int):
    generator = torch.Generator().manual_seed(seed)
    b, n = (int(torch.randint(1, high, (), generator=generator)) for high in (9, 70))
    scores = torch.rand(b, n, generator=generator, dtype=torch.float64) * 2 - 1
    if seed % 3 == 0:
        scores = (scores * 3).round() / 3  # ties
    positives = torch.rand(b, n, generator=generator) < [0.05, 0.5, 0.95][seed % 3]
    positives[:, 0] = True
    share = [0.01, 0.1, 0.5, 1.0][seed % 4]
    expected = oracle.loss(scores, positives, 5.0, share)
    assert float(SMLC(5.0, share)(scores, positives)) == pytest.approx(expected, abs=1e-9)


def test_gradients():
    scores = (
        torch.rand(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    ).requires_grad_()
    positives = torch.eye(3, 12, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda z: SMLC(5.0, 0.2)(z, positives), scores)


def test_only_positives_and_hard_negatives_receive_a_gradient():
    scores = torch.tensor([[0.9, 0.8, -0.2, 0.1]], requires_grad=True)
    SMLC(5.0, 1 / 3)(scores, torch.tensor([[True, False, False, False]])).backward()
    # own: δ·2(z−1) = 10·(−.1) = −1; the one hard negative: 2(z+1) = 3.6
    assert scores.grad is not None
    assert scores.grad[0].tolist() == pytest.approx([-1.0, 3.6, 0.0, 0.0], abs=1e-5)


def test_all_positive_rows_have_no_push():
    scores = torch.tensor([[0.5, 0.5]])
    assert float(SMLC(2.0)(scores, torch.ones(1, 2, dtype=torch.bool))) == pytest.approx(0.5)  # 2 · .25


def test_bad_input_is_refused(unchecked_shapes):
    with pytest.raises(ConfigError, match="loss.delta must be above 0"):
        SMLC(delta=0.0)
    with pytest.raises(ConfigError, match="hard_negative_share must lie in"):
        SMLC(hard_negative_share=1.5)
    with pytest.raises(ShapeError, match="must have one shape"):
        SMLC()(torch.zeros(1, 3), torch.zeros(1, 4, dtype=torch.bool))
