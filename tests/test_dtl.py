"""DTL as published and its triplet form: golden cases, oracles, gradients, edge cases."""

import pytest
import torch

from loss_cases import loss_case
from oracles import multilabel as oracle
from resight.errors import ConfigError, ShapeError
from resight.losses.dtl import DTL, DTLTriplet

OWN_ONLY = torch.tensor([[True, False, False, False]])
TWO_OF_FOUR = torch.tensor([[True, True, False, False]])


def test_the_defaults_are_the_published_settings():
    assert (DTL().delta, DTL().hard_negative_share) == (0.4, 0.01)


def test_a_hand_worked_loss():
    scores = torch.tensor([[0.9, 0.5, -0.2, 0.1]])
    # pull: (.1² + .5²) / 2 = .13; push, hardest half of two: 1.1² = 1.21; .13 + .4·1.21 = .614
    assert float(DTL(hard_negative_share=0.5)(scores, TWO_OF_FOUR)) == pytest.approx(0.614, abs=1e-6)


def test_a_hand_worked_triplet_loss():
    scores = torch.tensor([[0.9, 0.5, 0.7, 0.1]])
    # margin .3, pairs (p, h): (.9, .7) .1   (.9, .1) 0   (.5, .7) .5   (.5, .1) 0;  mean of the four: .6 / 4 = .15
    assert float(DTLTriplet(margin=0.3, hard_negative_share=1.0)(scores, TWO_OF_FOUR)) == pytest.approx(0.15, abs=1e-6)


@pytest.mark.parametrize("seed", range(200))
def test_equals_the_loops(seed: int):
    scores, positives, share = loss_case(seed + 2000)
    expected = oracle.dtl(scores, positives, 0.4, share)
    assert float(DTL(0.4, share)(scores, positives)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(200))
def test_the_triplet_form_equals_the_loops(seed: int):
    scores, positives, share = loss_case(seed + 3000)
    margin = [0.0, 0.3, 1.0, 2.0, 1 / 3][seed % 5]
    expected = oracle.dtl_triplet(scores, positives, margin, share)
    assert float(DTLTriplet(margin, share)(scores, positives)) == pytest.approx(expected, abs=1e-9)
    assert float(DTLTriplet(margin, share)(scores.float(), positives)) == pytest.approx(expected, abs=1e-5)


def test_the_triplet_form_keeps_its_digits_over_many_negatives():
    # 20,000 negatives a hair apart: float32 prefix sums of the scores themselves (to 14,000) lose a digit or two.
    scores = 0.7 + 1e-3 * torch.rand(2, 20_002, generator=torch.Generator().manual_seed(0))
    positives = torch.zeros(2, 20_002, dtype=torch.bool)
    positives[:, :2] = True
    scores[:, :2] = 0.7005
    exact = DTLTriplet(0.0, 1.0)(scores.double(), positives)
    assert float(DTLTriplet(0.0, 1.0)(scores, positives)) == pytest.approx(float(exact), rel=2e-6)


@pytest.mark.parametrize("loss", [DTL(0.4, 0.3), DTLTriplet(0.3, 0.3), DTLTriplet(0.3, 1.0)])
def test_gradients(loss: DTL | DTLTriplet):
    scores = (
        torch.rand(4, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    ).requires_grad_()
    positives = torch.eye(4, 12, dtype=torch.bool)
    positives[1, 4:8] = True
    positives[2] = True
    assert torch.autograd.gradcheck(lambda z: loss(z, positives), scores)


def test_only_positives_and_hard_negatives_receive_a_gradient():
    scores = torch.tensor([[0.9, 0.8, -0.2, 0.1]], requires_grad=True)
    DTL(0.5, 1 / 3)(scores, OWN_ONLY).backward()
    # own: 2(z−1) = −.2; the one hard negative: δ·2(z+1) = 1.8
    assert scores.grad is not None
    assert scores.grad[0].tolist() == pytest.approx([-0.2, 1.8, 0.0, 0.0], abs=1e-5)


def test_only_pairs_within_the_margin_receive_a_gradient():
    scores = torch.tensor([[0.9, 0.5, 0.7, 0.1]], requires_grad=True)
    DTLTriplet(0.3, 1.0)(scores, TWO_OF_FOUR).backward()
    # Of four pairs (.9, .7) and (.5, .7) count: −1/4 for each of those positives, 2/4 for .7, nothing for .1.
    assert scores.grad is not None
    assert scores.grad[0].tolist() == pytest.approx([-0.25, -0.25, 0.5, 0.0], abs=1e-6)


def test_a_negative_exactly_at_the_margin_costs_nothing_and_has_no_gradient():
    scores = torch.tensor([[0.75, 0.5, 0.25, -0.5]], requires_grad=True)
    loss = DTLTriplet(0.25, 1.0)(scores, OWN_ONLY)  # .5 − .75 + .25 = 0
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None and not scores.grad.any()


def test_equal_scores_cost_the_margin():
    scores = torch.full((3, 7), -0.4)
    positives = torch.eye(3, 7, dtype=torch.bool)
    assert float(DTLTriplet(0.3, 1.0)(scores, positives)) == pytest.approx(0.3, abs=1e-6)


def test_rows_without_negatives_have_no_push_and_no_triplets():
    scores, everyone = torch.tensor([[0.5, -0.5]]), torch.ones(1, 2, dtype=torch.bool)
    assert float(DTL()(scores, everyone)) == pytest.approx(1.25)  # (.5² + 1.5²) / 2
    assert float(DTLTriplet()(scores, everyone)) == 0
    # Beside a row that has one: (0 + max(0, .5 − .5 + .3)) / 2
    both = torch.tensor([[True, True], [True, False]])
    assert float(DTLTriplet(0.3)(torch.full((2, 2), 0.5), both)) == pytest.approx(0.15)


def test_one_image_is_its_own_positive():
    scores, own = torch.tensor([[0.5]], requires_grad=True), torch.tensor([[True]])
    assert float(DTL()(scores.detach(), own)) == pytest.approx(0.25)
    loss = DTLTriplet()(scores, own)
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None and float(scores.grad) == 0


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: DTL(delta=0.0), r"loss.delta must be above 0, got 0.0"),
        (lambda: DTL(hard_negative_share=2.0), r"loss.hard_negative_share must lie in \(0, 1\], got 2.0"),
        (lambda: DTLTriplet(hard_negative_share=-0.1), r"loss.hard_negative_share must lie in \(0, 1\], got -0.1"),
        (lambda: DTLTriplet(margin=-0.1), r"loss.margin must lie in \[0, 2\], a difference of two cosines, got -0.1"),
        (lambda: DTLTriplet(margin=30.0), r"loss.margin must lie in \[0, 2\]"),
    ],
)
def test_bad_settings_are_refused(build, words: str):
    with pytest.raises(ConfigError, match=words):
        build()


@pytest.mark.parametrize("loss", [DTL(), DTLTriplet()])
def test_two_shapes_are_refused(loss: DTL | DTLTriplet, unchecked_shapes):
    with pytest.raises(ShapeError, match=r"must have one shape, got \(1, 3\) and \(1, 4\)"):
        loss(torch.zeros(1, 3), torch.zeros(1, 4, dtype=torch.bool))
