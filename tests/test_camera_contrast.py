"""The camera contrast: golden cases, oracle, gradients, what is and is not compared, edge cases."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from loss_cases import loss_case
from oracles import contrast as oracle
from resight.errors import ConfigError, ShapeError
from resight.losses.camera import CameraContrast

# Rows of identities A A B B C in cameras 0 1 0 1 1, seen by an image of A in camera 0.
SCORES = torch.tensor([[0.6, 0.2, 0.5, 0.3, 0.1]])
OF_A = torch.tensor([[True, True, False, False, False]])
CAMERA_0 = torch.tensor([[True, False, True, False, False]])


def test_a_hand_worked_loss():
    # T = .1, two hard negatives. Within camera 0: −log(e⁶/(e⁶ + e⁵)) = .313262.
    # Across: log(e⁶ + e² + e⁵ + e³) = log 579.317 = 6.361849 less the mean (6 + 2)/2 (C's .1 is no hard negative).
    for across in (0.0, 0.25, 1.0):
        expected = (1 - across) * 0.313262 + across * 2.361849
        loss = CameraContrast(0.1, across, 2)(SCORES, OF_A, same_camera=CAMERA_0)
        assert float(loss) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(200))
def test_equals_the_loops(seed: int):
    scores, positives, _ = loss_case(seed + 500)
    generator = torch.Generator().manual_seed(seed)
    same = torch.rand(scores.shape, generator=generator) < 0.4
    if seed % 2:
        positives &= torch.rand(positives.shape, generator=generator) < 0.5
        scores = scores.masked_fill(torch.rand(scores.shape, generator=generator) < 0.2, -torch.inf)
    weights = torch.rand(len(scores), generator=generator).double() if seed % 4 else None
    settings = (
        [0.01, 0.07, 0.5][seed % 3],
        [0.0, 0.3, 0.5, 1.0][seed % 4],
        [1, 5, 50, 3, 100][seed % 5],
        [0, 1, 2][seed % 3],
    )
    given = [1.0] * len(scores) if weights is None else weights.tolist()
    loss = CameraContrast(*settings)
    expected = oracle.camera(scores, positives, same, given, settings)
    assert float(loss(scores, positives, same_camera=same, weights=weights)) == pytest.approx(expected, abs=1e-9)
    one = oracle.camera(scores, positives, torch.ones_like(same), given, settings)
    assert float(loss(scores, positives, weights=weights)) == pytest.approx(one, abs=1e-9)
    assert float(loss(scores.float(), positives, same_camera=same, weights=weights)) == pytest.approx(
        expected, rel=1e-4, abs=1e-4
    )


def test_gradients():
    scores = (torch.rand(5, 12, dtype=torch.float64) * 2 - 1).requires_grad_()
    positives = torch.eye(5, 12, dtype=torch.bool)
    positives[1, 4:8] = True
    positives[2] = True
    positives[3] = False
    same, gone = torch.rand(5, 12) < 0.5, torch.zeros(5, 12, dtype=torch.bool)
    same[4] = False
    gone[0, 3:6] = gone[1, 4] = True
    weights = torch.tensor([1.0, 0.3, 0.5, 0.7, 0.2], dtype=torch.float64)
    loss = CameraContrast(0.2, 0.3, 4)
    assert torch.autograd.gradcheck(
        lambda z: loss(z.masked_fill(gone, -torch.inf), positives, same_camera=same, weights=weights), scores
    )


def test_where_no_camera_is_known_and_all_negatives_are_hard_it_is_cross_entropy():
    scores, cluster = torch.rand(8, 20, dtype=torch.float64), torch.randint(20, (8,))
    expected = cross_entropy(scores / 0.07, cluster)
    for across in (0.0, 0.5, 1.0):
        loss = CameraContrast(0.07, across, 19)(scores, one_hot(cluster, 20).bool())
        assert float(loss) == pytest.approx(float(expected), rel=1e-12)


def test_each_term_moves_only_what_it_compares():
    def gradient(loss: CameraContrast) -> list[bool]:
        scores = SCORES.clone().requires_grad_()
        loss(scores, OF_A, same_camera=CAMERA_0).backward()
        assert scores.grad is not None
        return (scores.grad[0] != 0).tolist()

    assert gradient(CameraContrast(0.1, 0.0)) == [True, False, True, False, False]  # camera 0 alone
    assert gradient(CameraContrast(0.1, 1.0, 1)) == [True, True, True, False, False]  # and the one hardest negative


def test_the_hardest_positive_is_of_another_camera():
    # Identity A has a row in each of the cameras 0, 1, 2; its own camera's scores lowest and is no hard one.
    scores = torch.tensor([[0.1, 0.3, 0.6, 0.5]])
    positives, same = torch.tensor([[True, True, True, False]]), torch.tensor([[True, False, False, True]])
    loss = CameraContrast(0.1, 1.0, 1, 1)
    expected = math.log(math.exp(3) + math.exp(5)) - 3
    assert float(loss(scores, positives, same_camera=same)) == pytest.approx(expected, abs=1e-5)
    alone = torch.tensor([[True, False, False, False]])  # no other camera has one: the own is what there is
    expected = math.log(math.exp(1) + math.exp(5)) - 1
    only = torch.tensor([[0.1, 0.0, 0.0, 0.5]])
    assert float(loss(only, alone, same_camera=same)) == pytest.approx(expected, abs=1e-5)


def test_an_identity_that_its_camera_has_no_row_of_counts_across_cameras_only():
    nowhere = torch.zeros_like(CAMERA_0)
    loss = CameraContrast(0.1, 0.25, 2)
    across_only = float(CameraContrast(0.1, 1.0, 2)(SCORES, OF_A, same_camera=nowhere))
    assert float(loss(SCORES, OF_A, same_camera=nowhere)) == pytest.approx(0.25 * across_only)
    # Beside another image the first term is that one's alone, not half of it.
    both = loss(SCORES.repeat(2, 1), OF_A.repeat(2, 1), same_camera=torch.cat([nowhere, CAMERA_0]))
    assert float(both) == pytest.approx(float(loss(SCORES, OF_A, same_camera=CAMERA_0)), rel=1e-6)


@pytest.mark.parametrize(
    ("scores", "positives", "weights"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool), None),
        (torch.zeros(2, 3), torch.eye(2, 3, dtype=torch.bool), torch.zeros(2)),
        (torch.full((2, 3), -torch.inf), torch.eye(2, 3, dtype=torch.bool), None),
        (torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool), None),
        (torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool), None),
    ],
    ids=["no positives", "no weight", "no columns left", "no columns", "one cluster"],
)
def test_nothing_to_learn_is_a_loss_of_0_with_no_gradient(scores, positives, weights):
    scores = scores.clone().requires_grad_()
    loss = CameraContrast(0.01)(scores, positives, weights=weights)
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None and not scores.grad.any()


def test_a_score_that_is_no_number_is_not_hidden():
    assert CameraContrast()(torch.tensor([[0.5, torch.nan, 0.1]]), torch.tensor([[True, False, False]])).isnan()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: CameraContrast(temperature=0.0), r"loss.temperature must be above 0, got 0.0"),
        (lambda: CameraContrast(across=1.5), r"loss.across must lie in \[0, 1\], got 1.5"),
        (lambda: CameraContrast(across=math.nan), r"loss.across must lie in \[0, 1\], got nan"),
        (lambda: CameraContrast(hard_negatives=0), r"loss.hard_negatives must be 1 or more, got 0"),
    ],
)
def test_bad_settings_are_refused(build, words: str):
    with pytest.raises(ConfigError, match=words):
        build()


def test_shapes_that_do_not_fit_are_refused(unchecked_shapes):
    with pytest.raises(ShapeError, match=r"scores and same_camera must have one shape, got \(1, 5\) and \(1, 2\)"):
        CameraContrast()(SCORES, OF_A, same_camera=CAMERA_0[:, :2])
