"""MMCL: golden case, oracle, edge cases; the choice of hard negatives is tested with SMLC."""

import pytest
import torch

from loss_cases import loss_case
from oracles import multilabel as oracle
from resight.errors import ConfigError, ShapeError
from resight.losses.mmcl import MMCL


def test_the_defaults_are_the_published_settings():
    assert (MMCL().delta, MMCL().hard_negative_share) == (5.0, 0.01)


def test_a_hand_worked_loss():
    scores = torch.tensor([[0.8, 0.2, -0.4, 0.5]])
    positives = torch.tensor([[True, True, False, False]])
    # pull: (.2² + .8²) / 2 = .34; push, both negatives: (.6² + 1.5²) / 2 = 1.305; 5·.34 + 1.305 = 3.005
    assert float(MMCL(hard_negative_share=1.0)(scores, positives)) == pytest.approx(3.005, abs=1e-6)


@pytest.mark.parametrize("seed", range(200))
def test_equals_the_loops(seed: int):
    scores, positives, share = loss_case(seed + 1000)
    expected = oracle.mmcl(scores, positives, 3.0, share)
    assert float(MMCL(3.0, share)(scores, positives)) == pytest.approx(expected, abs=1e-9)


def test_gradients():
    scores = torch.linspace(-1, 1, 24, dtype=torch.float64).view(2, 12).flip(1).requires_grad_()
    positives = torch.eye(2, 12, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda z: MMCL(5.0, 0.3)(z, positives), scores)


def test_all_positive_rows_have_no_push_and_scores_may_lie_below_zero():
    scores = torch.tensor([[-0.5, -1.0]])
    # pull: (1.5² + 2²) / 2 = 3.125; 2 · 3.125 = 6.25
    assert float(MMCL(2.0)(scores, torch.ones(1, 2, dtype=torch.bool))) == pytest.approx(6.25)


def test_bad_input_is_refused(unchecked_shapes):
    with pytest.raises(ConfigError, match=r"loss.delta must be above 0, got -1"):
        MMCL(delta=-1.0)
    with pytest.raises(ConfigError, match=r"loss.hard_negative_share must lie in \(0, 1\], got 0.0"):
        MMCL(hard_negative_share=0.0)
    with pytest.raises(ShapeError, match="must have one shape"):
        MMCL()(torch.zeros(2, 3), torch.zeros(1, 3, dtype=torch.bool))
