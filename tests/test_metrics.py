"""Ranks, AP, INP and CMC: worked by hand, and against plain loops."""

import math

import pytest
import torch
from torch import Tensor

from oracles.retrieval import slow_metrics
from resight import metrics
from resight.errors import DataError
from resight.metrics import QueryMetrics, cmc_at


def marks(*rows: str) -> Tensor:
    """Turn "x..x" into [True, False, False, True]."""
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


def right_ranks(scores: Tensor, right: Tensor, left_out: Tensor) -> Tensor:
    """Call it with masks: what is left out stands at minus infinity, and is no right answer."""
    return metrics.right_ranks(scores.masked_fill(left_out, -torch.inf), *(right & ~left_out).nonzero(as_tuple=True))


def retrieval_metrics(scores: Tensor, right: Tensor, left_out: Tensor) -> QueryMetrics:
    return metrics.retrieval_metrics(right_ranks(scores, right, left_out))


def random_case(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw scores (about half the cases full of ties, many below zero), right answers and rows left out."""
    draw = torch.Generator().manual_seed(seed)
    queries, gallery = (int(torch.randint(1, high, (), generator=draw)) for high in (7, 40))
    scores = torch.rand(queries, gallery, generator=draw) * 2 - 1
    if seed % 2:
        scores = (scores * (1 + seed % 5)).round() / 4
    if seed % 3 == 0:
        scores -= 2
    right_share, out_share = torch.rand(2, generator=draw)
    right = torch.rand(queries, gallery, generator=draw) < right_share * 0.6
    left_out = torch.rand(queries, gallery, generator=draw) < out_share * 0.6
    return scores, right, left_out


def test_one_query_worked_by_hand():
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])
    right = marks("x.x..x")
    left_out = marks(".x....")
    # Without column 1 the order is 0 2 3 4 5: right answers at ranks 1, 2 and 5.
    assert right_ranks(scores, right, left_out).tolist() == [[1, 2, 5]]
    found = retrieval_metrics(scores, right, left_out)
    assert found.ap.item() == pytest.approx((1 / 1 + 2 / 2 + 3 / 5) / 3)
    assert found.inp.item() == pytest.approx(3 / 5)
    assert found.first_rank.tolist() == [1]
    # Precision over recall: (0, 1) (1/3, 1) (2/3, 1), then 2/3 and 2/4 at recall 2/3, then (1, 3/5).
    # Area: 1/3 · 1 + 1/3 · 1 + 1/3 · (2/4 + 3/5) / 2.
    assert found.trapezoid_ap.item() == pytest.approx((1 + 1 + (2 / 4 + 3 / 5) / 2) / 3)


def test_scores_below_zero_count_like_any_other():
    scores = torch.tensor([[-0.9, -0.1, -0.5]])
    # Order: 1, 2, 0. The right answer, column 2, is second.
    found = retrieval_metrics(scores, marks("..x"), marks("..."))
    assert (found.ap.item(), found.inp.item(), found.first_rank.item()) == (0.5, 0.5, 2)


def test_equal_scores_rank_in_gallery_order():
    scores = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    assert right_ranks(scores, marks(".x.x"), marks("....")).tolist() == [[2, 4]]
    # The first of the equals is left out and takes no rank.
    assert right_ranks(scores, marks(".x.x"), marks("x...")).tolist() == [[1, 3]]


def test_zero_and_minus_zero_are_equal():
    scores = torch.tensor([[0.0, -0.0, 0.0]])
    assert right_ranks(scores, marks(".x."), marks("...")).tolist() == [[2]]


def test_a_row_both_right_and_left_out_is_left_out():
    scores = torch.tensor([[0.9, 0.8, 0.1]])
    assert right_ranks(scores, marks("x.x"), marks("x..")).tolist() == [[2]]


def test_ranks_of_a_block_are_filled_up_with_zeros():
    scores = torch.tensor([[0.3, 0.2, 0.1], [0.3, 0.2, 0.1]])
    assert right_ranks(scores, marks("xx.", "..x"), marks("...", "...")).tolist() == [[1, 2], [3, 0]]


def test_a_query_without_right_answers_is_nan():
    scores = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
    found = retrieval_metrics(scores, marks("..", ".x"), marks("..", ".."))
    assert math.isnan(found.ap[0])
    assert math.isnan(found.inp[0])
    assert found.first_rank.tolist() == [0, 2]
    assert found.ap[1] == 0.5


@pytest.mark.parametrize("shape", [(2, 0), (0, 3)])
def test_no_gallery_and_no_queries(shape):
    none = torch.zeros(shape, dtype=torch.bool)
    found = retrieval_metrics(torch.zeros(shape), none, none)
    assert found.ap.shape == (shape[0],)
    assert found.first_rank.tolist() == [0] * shape[0]


def test_all_rows_right_is_perfect():
    scores = torch.tensor([[0.1, 0.9, 0.5]])
    found = retrieval_metrics(scores, marks("xxx"), marks("..."))
    assert (found.ap.item(), found.inp.item(), found.first_rank.item()) == (1.0, 1.0, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_cases_equal_plain_loops(dtype):
    for seed in range(1000):
        scores, right, left_out = random_case(seed)
        scores = scores.to(dtype)
        ranks = right_ranks(scores, right, left_out)
        found = retrieval_metrics(scores, right, left_out)
        for row in range(len(scores)):
            slow = slow_metrics(scores[row].tolist(), right[row].tolist(), left_out[row].tolist())
            assert [rank for rank in ranks[row].tolist() if rank] == slow.ranks, f"seed {seed}"
            assert found.ap[row].item() == pytest.approx(slow.ap, nan_ok=True)
            assert found.trapezoid_ap[row].item() == pytest.approx(slow.trapezoid_ap, nan_ok=True)
            assert found.inp[row].item() == pytest.approx(slow.inp, nan_ok=True)
            assert found.first_rank[row].item() == (slow.ranks or [0])[0]


def test_sorting_in_parts_and_on_several_threads_changes_nothing(monkeypatch):
    scores = torch.randn(37, 53)
    whole = scores.sort(dim=1).values
    monkeypatch.setattr(metrics, "SORTED_AT_ONCE", 3 * 53)
    kept = scores.clone()
    assert torch.equal(metrics.sorted_rows(scores), whole)
    assert torch.equal(scores, kept)


def test_raising_a_right_answer_never_lowers_ap():
    for seed in range(100):
        scores, right, left_out = random_case(seed)
        before = retrieval_metrics(scores, right, left_out).ap
        rows, columns = (right & ~left_out).nonzero(as_tuple=True)
        if len(rows) == 0:
            continue
        chosen = seed % len(rows)
        scores[rows[chosen], columns[chosen]] += 0.25 * (1 + seed % 4)
        after = retrieval_metrics(scores, right, left_out).ap
        assert (after[rows[chosen]] >= before[rows[chosen]] - 1e-12).all(), f"seed {seed}"


def test_cmc_counts_only_queries_that_have_an_answer():
    first_rank = torch.tensor([1, 3, 0, 7, 1])
    # Four count; in the first one: 2 of 4, in the first five: 3 of 4.
    assert [cmc_at(first_rank, k) for k in (1, 5, 10)] == [0.5, 0.75, 1.0]


def test_cmc_of_no_counted_query_is_nan():
    assert math.isnan(cmc_at(torch.tensor([0, 0]), 1))


def test_nan_scores_are_refused():
    scores = torch.tensor([[0.1, 0.2], [math.nan, 0.2]])
    with pytest.raises(DataError, match="scores must be numbers, got NaN in row 1"):
        retrieval_metrics(scores, marks("x.", "x."), marks("..", ".."))
