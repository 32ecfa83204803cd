"""InfoNCE: golden cases, oracle, cross entropy, gradients, masked columns and rows without positives."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from loss_cases import loss_case
from oracles import contrast as oracle
from resight.errors import ConfigError, ShapeError
from resight.losses.infonce import InfoNCE


def test_a_hand_worked_loss():
    scores = torch.tensor([[0.5, 0.1, 0.3, 0.2]])
    positives = torch.tensor([[True, False, True, False]])
    # T = .1: negatives e¹ + e²; each positive against those alone:
    # −log(e⁵/(e⁵ + e + e²)) = .065884, −log(e³/(e³ + e + e²)) = .407606; their mean .236745
    assert float(InfoNCE(0.1)(scores, positives)) == pytest.approx(0.236745, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0])
def test_one_positive_a_row_is_cross_entropy(temperature: float):
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(16, 40, generator=generator, dtype=torch.float64) * 2 - 1
    cluster, weights = torch.randint(40, (16,), generator=generator), torch.rand(16, generator=generator).double()
    ours, theirs = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    loss = InfoNCE(temperature)(ours, one_hot(cluster, 40).bool())
    expected = cross_entropy(theirs / temperature, cluster)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    each = cross_entropy(scores / temperature, cluster, reduction="none")
    weighed = InfoNCE(temperature)(scores, one_hot(cluster, 40).bool(), weights=weights)
    assert float(weighed) == pytest.approx(float((each * weights).sum() / weights.sum()), rel=1e-12)


@pytest.mark.parametrize("seed", range(200))
def test_equals_the_loops(seed: int):
    scores, positives, _ = loss_case(seed)
    generator = torch.Generator().manual_seed(seed)
    if seed % 2:
        positives &= torch.rand(positives.shape, generator=generator) < 0.5  # rows without positives among them
        scores = scores.masked_fill(torch.rand(scores.shape, generator=generator) < 0.2, -torch.inf)
    weights = torch.rand(len(scores), generator=generator).double() if seed % 4 else None
    temperature = [0.01, 0.05, 0.5][seed % 3]
    expected = oracle.infonce(
        scores, positives, temperature, [1.0] * len(scores) if weights is None else weights.tolist()
    )
    assert float(InfoNCE(temperature)(scores, positives, weights=weights)) == pytest.approx(expected, abs=1e-9)
    assert float(InfoNCE(temperature)(scores.float(), positives, weights=weights)) == pytest.approx(
        expected, rel=1e-4, abs=1e-4
    )


def test_gradients():
    scores = (torch.rand(5, 12, dtype=torch.float64) * 2 - 1).requires_grad_()
    positives = torch.eye(5, 12, dtype=torch.bool)
    positives[1, 4:8] = True
    positives[2] = True
    positives[3] = False
    gone = torch.zeros(5, 12, dtype=torch.bool)
    gone[0, 3:6] = gone[1, 4] = True
    weights = torch.tensor([1.0, 0.3, 0.5, 0.7, 0.0], dtype=torch.float64)
    loss = InfoNCE(0.1)
    assert torch.autograd.gradcheck(lambda z: loss(z.masked_fill(gone, -torch.inf), positives, weights=weights), scores)


def test_the_lowest_temperature_stays_finite_in_float32():
    # z/T = ±100 and e²⁰⁰ is beyond float32: the loss is 200 + log 2, by the two negatives at 1.
    scores = torch.tensor([[-1.0, 1.0, 1.0]], requires_grad=True)
    loss = InfoNCE(0.01)(scores, torch.tensor([[True, False, False]]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(200 + math.log(2), rel=1e-6)
    assert scores.grad is not None and scores.grad[0].tolist() == pytest.approx([-100, 50, 50], rel=1e-5)


def test_a_positive_is_never_pushed_away_for_another_s_sake():
    scores = torch.tensor([[0.9, 0.1, 0.0]], requires_grad=True)
    InfoNCE(0.1)(scores, torch.tensor([[True, True, False]])).backward()
    assert scores.grad is not None and (scores.grad[0, :2] < 0).all() and scores.grad[0, 2] > 0


def test_rows_without_positives_are_left_out_of_the_mean():
    scores = torch.tensor([[0.5, 0.1], [0.9, 0.8]])
    with_one = InfoNCE()(scores[:1], torch.tensor([[True, False]]))
    both = InfoNCE()(scores, torch.tensor([[True, False], [False, False]]))
    assert float(both) == pytest.approx(float(with_one))
    # A positive that is not there (−inf) is no positive.
    hidden = InfoNCE()(torch.tensor([[0.5, 0.1], [-torch.inf, 0.8]]), torch.tensor([[True, False], [True, False]]))
    assert float(hidden) == pytest.approx(float(with_one))


@pytest.mark.parametrize(
    ("scores", "positives", "weights"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool), None),
        (torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), None),
        (torch.zeros(2, 3), torch.eye(2, 3, dtype=torch.bool), torch.zeros(2)),
        (torch.full((2, 3), -torch.inf), torch.eye(2, 3, dtype=torch.bool), None),
        (torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool), None),
    ],
    ids=["no positives", "no negatives", "no weight", "no columns left", "no columns"],
)
def test_nothing_to_learn_is_a_loss_of_0_with_no_gradient(scores, positives, weights):
    scores = scores.clone().requires_grad_()
    loss = InfoNCE(0.01)(scores, positives, weights=weights)
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None and not scores.grad.any()


def test_a_score_that_is_no_number_is_not_hidden():
    scores = torch.tensor([[0.5, torch.nan, 0.1]])
    assert InfoNCE()(scores, torch.tensor([[True, False, False]])).isnan()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_bad_temperatures_are_refused(temperature: float):
    with pytest.raises(ConfigError, match=r"loss.temperature must be above 0, got"):
        InfoNCE(temperature)


def test_shapes_that_do_not_fit_are_refused(unchecked_shapes):
    with pytest.raises(ShapeError, match=r"scores and positives must have one shape, got \(1, 3\) and \(1, 4\)"):
        InfoNCE()(torch.zeros(1, 3), torch.zeros(1, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"weights must be \(1,\), one per row of scores, got \(2,\)"):
        InfoNCE()(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool), weights=torch.ones(2))
