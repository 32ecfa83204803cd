"""CMC, AP and INP on plain tensors: a block of queries against the whole gallery.

The gallery is never sorted. A query has few right answers, so every gallery row is only placed among *their* scores,
and the rank of a right answer is a count of the rows placed above it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.errors import DataError


@dataclass(frozen=True)
class QueryMetrics:
    """How well each query of a block was answered.

    `ap`, `inp`: fractions in 0..1, larger is better, NaN where the query has no right answer. `first_rank`: rank of
    the first right answer, 1 is best, 0 where there is none.
    """

    ap: Float[Tensor, " q"]
    inp: Float[Tensor, " q"]
    first_rank: Int[Tensor, " q"]


def retrieval_metrics(
    scores: Float[Tensor, "q g"], right: Bool[Tensor, "q g"], left_out: Bool[Tensor, "q g"]
) -> QueryMetrics:
    """Give AP, INP and the first right rank of each query.

    `scores`: larger is closer, any sign. `right`: gallery rows of the query's identity. `left_out`: rows that are
    neither right nor wrong and take no rank; a row that is both right and left out is left out. AP is the step sum of
    precision at each right answer, over all right answers; INP is right answers / rank of the last one.

    Raises:
        DataError: a score is NaN.
    """
    ranks = right_ranks(scores, right, left_out)
    found = ranks > 0
    counts = found.sum(dim=1)
    nth = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
    precision = torch.where(found, nth / ranks.double(), 0.0)
    # A query without right answers divides 0 by 0: the NaN is meant.
    ap = precision.sum(dim=1) / counts
    inp = counts.double() / ranks.amax(dim=1)
    return QueryMetrics(ap=ap, inp=inp, first_rank=ranks[:, 0])


def right_ranks(
    scores: Float[Tensor, "q g"], right: Bool[Tensor, "q g"], left_out: Bool[Tensor, "q g"]
) -> Int[Tensor, "q r"]:
    """Give the ranks of each query's right answers, ascending, filled up with 0.

    Ranks start at 1 and pass over the rows left out; equal scores rank in gallery order. `r` is the most right
    answers that a query of the block has, at least 1. Memory is a fixed number of (q, g) tensors.

    Raises:
        DataError: a score is NaN.
    """
    if scores.isnan().any():
        row = int(scores.isnan().any(dim=1).nonzero()[0])
        raise DataError(f"scores must be numbers, got NaN in row {row}; check the embeddings for NaN")
    right = right & ~left_out
    counts = right.sum(dim=1)
    rows, columns = right.nonzero(as_tuple=True)
    levels = _one_row_each(rows, scores[rows, columns], counts, fill=float("inf")).sort(dim=1).values

    # Rows left out fall below every level, where they stand above no right answer.
    ranked_scores = scores.masked_fill(left_out, float("-inf"))
    level = torch.searchsorted(levels, ranked_scores)
    tied = (levels.gather(1, level.clamp(max=levels.shape[1] - 1)) == scores) & ~left_out
    ranks = _ranks_at_levels(level, tied, right, width=levels.shape[1] + 1)
    last = scores.shape[1] + 1
    packed = _one_row_each(rows, ranks, counts, fill=last).sort(dim=1).values
    return packed.masked_fill(packed == last, 0)


def cmc_at(first_rank: Int[Tensor, " q"], k: int) -> float:
    """Give CMC@k: the share, 0..1, of queries with a right answer in the first `k`.

    Queries without a right answer (`first_rank` 0) do not count; NaN where none counts.
    """
    counted = first_rank[first_rank > 0]
    return float((counted <= k).double().mean())


def _ranks_at_levels(
    level: Int[Tensor, "q g"], tied: Bool[Tensor, "q g"], right: Bool[Tensor, "q g"], *, width: int
) -> Int[Tensor, " m"]:
    """Give the rank of each right answer, listed row by row.

    `level`: how many right answers score below each gallery row, 0..width-1. `tied`: rows that score as much as some
    right answer, those themselves included.
    """
    queries = level.shape[0]
    group = level + torch.arange(queries, device=level.device)[:, None] * width
    held = torch.bincount(group.flatten(), minlength=queries * width).view(queries, width)
    above = held.flip(1).cumsum(dim=1).flip(1) - held

    # nonzero lists the tied rows in gallery order; a stable sort by group keeps that order among equal scores.
    tied_group = group[tied]
    sorted_group, order = tied_group.sort(stable=True)
    place = torch.arange(len(order), device=order.device) - torch.searchsorted(sorted_group, sorted_group)
    ranks = above.flatten()[sorted_group] + place + 1
    return ranks[right[tied][order]]


def _one_row_each(rows: Int[Tensor, " m"], values: Tensor, counts: Int[Tensor, " q"], *, fill: int | float) -> Tensor:
    """Lay `values`, listed row by row, out as a (q, r) tensor whose rows are filled up with `fill`."""
    width = max(1, int(counts.max())) if len(counts) else 1
    starts = counts.cumsum(dim=0) - counts
    place = torch.arange(len(rows), device=rows.device) - starts[rows]
    table = values.new_full((len(counts), width), fill)
    table[rows, place] = values
    return table
