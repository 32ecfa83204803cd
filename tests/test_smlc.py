"""SMLC, and the choice of positives and hard negatives that all losses share."""

import pytest
import torch

from loss_cases import loss_case
from oracles import multilabel as oracle
from resight.errors import ConfigError, ShapeError
from resight.losses.parts import hardest_negatives, positive_columns, positives_and_hardest
from resight.losses.smlc import SMLC


def hardest(scores: torch.Tensor, positives: torch.Tensor, share: float) -> list[list[int]]:
    columns, valid = hardest_negatives(scores, positives, positives.sum(dim=1), share=share)
    return [row[used].tolist() for row, used in zip(columns, valid, strict=True)]


def test_the_hardest_two_of_three_negatives_are_taken():
    scores = torch.tensor([[0.9, 0.8, -0.2, 0.1]])  # own row, then three others
    positives = torch.tensor([[True, False, False, False]])
    assert hardest(scores, positives, share=2 / 3) == [[1, 3]]  # 2 of 3: 0.8 and 0.1, not -0.2


def test_a_share_below_one_image_still_takes_one():
    assert hardest(torch.tensor([[1.0, 0.2, 0.3]]), torch.tensor([[True, False, False]]), share=0.01) == [[2]]


def test_each_row_takes_its_own_share():
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 3)
    positives = torch.tensor([[True, False, False, False], [True, True, True, False], [True] * 4])
    # Two thirds of 3, 1 and 0 negatives: 2, 1 (at least one), 0.
    assert hardest(scores, positives, share=2 / 3) == [[3, 2], [3], []]


@pytest.mark.parametrize(("share", "count"), [(0.01, 3), (0.07, 21), (0.29, 87), (1.0, 300)])
def test_a_share_that_is_a_whole_number_of_images_is_not_rounded_down(share: float, count: int):
    scores, positives = torch.rand(1, 301), torch.zeros(1, 301, dtype=torch.bool)
    positives[0, 0] = True
    assert len(hardest(scores, positives, share)[0]) == count  # .29 · 300 is 86.99999999999999 in binary


def test_of_equal_scores_as_many_are_taken_as_are_due():
    positives = torch.tensor([[True, False, False, False, False]])
    taken = hardest(torch.full((1, 5), -0.5), positives, share=0.5)[0]
    assert len(set(taken)) == 2 and 0 not in taken


def test_positives_of_rows_of_different_length_are_packed_to_the_left():
    positives = torch.tensor([[False, True, False, True], [True, False, False, False], [False] * 4])
    columns, valid = positive_columns(positives)
    assert valid.tolist() == [[True, True], [True, False], [False, False]]
    assert columns[valid].tolist() == [1, 3, 0]


def test_the_chosen_scores_are_those_of_the_chosen_columns():
    scores = torch.tensor([[0.9, 0.8, -0.2, 0.1], [0.5, 0.6, 0.7, 0.8]])
    positives = torch.tensor([[True, False, False, False], [False, True, False, True]])
    near, hard = positives_and_hardest(scores, positives, share=1.0)
    assert [row[used].tolist() for row, used in zip(*near, strict=True)] == [
        pytest.approx([0.9]),
        pytest.approx([0.6, 0.8]),
    ]
    assert [row[used].tolist() for row, used in zip(*hard, strict=True)] == [
        pytest.approx([0.8, 0.1, -0.2]),
        pytest.approx([0.7, 0.5]),
    ]


def test_a_hand_worked_loss():
    scores = torch.tensor([[0.9, 0.5, -0.2, 0.1]])
    positives = torch.tensor([[True, True, False, False]])
    # pull: ((.9−1)² + (.5−1)²) / 2 = .13; push, hardest half of two negatives: (.1+1)² = 1.21; 5·.13 + 1.21 = 1.86
    assert float(SMLC(delta=5.0, hard_negative_share=0.5)(scores, positives)) == pytest.approx(1.86, abs=1e-6)


@pytest.mark.parametrize("seed", range(200))
def test_equals_the_loops(seed: int):
    scores, positives, share = loss_case(seed)
    expected = oracle.mmcl(scores, positives, 5.0, share)
    assert float(SMLC(5.0, share)(scores, positives)) == pytest.approx(expected, abs=1e-9)
    assert float(SMLC(5.0, share)(scores.float(), positives)) == pytest.approx(expected, abs=1e-4)


def test_gradients():
    scores = (
        torch.rand(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    ).requires_grad_()
    positives = torch.eye(3, 12, dtype=torch.bool)
    positives[1, 4:8] = True
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


def test_one_image_is_its_own_positive():
    assert float(SMLC(2.0)(torch.tensor([[-0.5]]), torch.tensor([[True]]))) == pytest.approx(4.5)  # 2 · 1.5²


def test_bad_input_is_refused(unchecked_shapes):
    with pytest.raises(ConfigError, match=r"loss.delta must be above 0, got 0.0"):
        SMLC(delta=0.0)
    with pytest.raises(ConfigError, match=r"loss.hard_negative_share must lie in \(0, 1\], got 1.5"):
        SMLC(hard_negative_share=1.5)
    with pytest.raises(ShapeError, match=r"must have one shape, got \(1, 3\) and \(1, 4\)"):
        SMLC()(torch.zeros(1, 3), torch.zeros(1, 4, dtype=torch.bool))
