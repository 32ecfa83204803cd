"""CMC, AP and INP on plain tensors: a block of queries against the whole gallery.

A query has few right answers, so only their ranks are asked for. Rows of plain numbers are sorted without an argsort,
and a rank is a binary search in the sorted row.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.errors import DataError

SORTED_AT_ONCE = 2**21
"""Scores that one thread sorts at a time."""


@dataclass(frozen=True)
class QueryMetrics:
    """How well each query of a block was answered.

    `ap`, `trapezoid_ap`, `inp`: fractions in 0..1, larger is better, NaN where the query has no right answer.
    `first_rank`: rank of the first right answer, 1 is best, 0 where there is none.
    """

    ap: Float[Tensor, " q"]
    trapezoid_ap: Float[Tensor, " q"]
    inp: Float[Tensor, " q"]
    first_rank: Int[Tensor, " q"]


def retrieval_metrics(ranks: Int[Tensor, "q r"]) -> QueryMetrics:
    """Give AP, INP and the first right rank of each query from the ranks that `right_ranks` gives.

    AP is the step sum of precision at each right answer, over all right answers; INP is right answers / rank of the
    last one. `trapezoid_ap` is the area under straight lines between the points (recall, precision), which begin at (0,
    1): what older versions of scikit-learn call average precision, and Market-1501's and Oxford's own scripts compute.
    MMCL, GSMLP and SSML-FD report through it. Where a query has many right answers it is close to AP; of a single one
    that does not come first it is half of AP.
    """
    found = ranks > 0
    counts = found.sum(dim=1)
    nth = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
    precision = torch.where(found, nth / ranks.double(), 0.0)
    # Of the point before: (n - 1) right answers among rank - 1; before rank 1 the curve stands at 1.
    before = torch.where(ranks > 1, (nth - 1) / (ranks - 1).double(), 1.0)
    trapezoid = torch.where(found, (precision + before) / 2, 0.0)
    # A query without right answers divides 0 by 0: the NaN is meant.
    return QueryMetrics(
        ap=precision.sum(dim=1) / counts,
        trapezoid_ap=trapezoid.sum(dim=1) / counts,
        inp=counts.double() / ranks.amax(dim=1),
        first_rank=ranks[:, 0],
    )


def right_ranks(
    scores: Float[Tensor, "q g"], rows: Int[Tensor, " p"], columns: Int[Tensor, " p"]
) -> Int[Tensor, "q r"]:
    """Give the ranks of each query's right answers, ascending, filled up with 0.

    `scores`: larger is closer, any sign; minus infinity where a gallery row is left out. The right answers stand at
    `rows`, ascending, and `columns`, and none of them is left out. Ranks start at 1; equal scores rank in gallery
    order. `r` is the most right answers that a query of the block has, at least 1.

    Raises:
        DataError: a score is NaN.
    """
    gallery = scores.shape[1]
    counts = torch.bincount(rows, minlength=len(scores))
    in_order = sorted_rows(scores)
    if gallery and bool(in_order[:, -1].isnan().any()):
        row = int(in_order[:, -1].isnan().nonzero()[0])
        raise DataError(f"scores must be numbers, got NaN in row {row}; check the embeddings for NaN")
    values = scores[rows, columns]
    wanted = _one_row_each(rows, values, counts, fill=float("inf"))
    above = gallery - torch.searchsorted(in_order, wanted, right=True)
    equal = gallery - above - torch.searchsorted(in_order, wanted)
    place = _places(rows, counts)
    ranks = above[rows, place] + 1
    tied = (equal[rows, place] > 1).nonzero().squeeze(1)
    for part in tied.split(max(1, SORTED_AT_ONCE // max(1, gallery))):
        same = scores[rows[part]] == values[part].unsqueeze(1)
        earlier = torch.arange(gallery, device=scores.device) < columns[part].unsqueeze(1)
        ranks[part] += (same & earlier).sum(dim=1)
    last = gallery + 1
    packed = _one_row_each(rows, ranks, counts, fill=last).sort(dim=1).values
    return packed.masked_fill(packed == last, 0)


def sorted_rows(scores: Float[Tensor, "q g"]) -> Float[Tensor, "q g"]:
    """Sort each row, smallest first, NaN last.

    On a CPU by NumPy, whose vectorised sort of plain numbers was seen to be 18 times as fast as torch's, which also
    keeps track of where they came from.
    """
    if scores.device.type != "cpu":
        return scores.sort(dim=1).values
    copy = scores.numpy().copy()
    step = max(1, SORTED_AT_ONCE // max(1, scores.shape[1]))
    parts = [copy[first : first + step] for first in range(0, len(copy), step)]
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(np.ndarray.sort, parts, itertools.repeat(1)))
    return torch.from_numpy(copy)


def cmc_at(first_rank: Int[Tensor, " q"], k: int) -> float:
    """Give CMC@k: the share, 0..1, of queries with a right answer in the first `k`.

    Queries without a right answer (`first_rank` 0) do not count; NaN where none counts.
    """
    counted = first_rank[first_rank > 0]
    return float((counted <= k).double().mean())


def _places(rows: Int[Tensor, " m"], counts: Int[Tensor, " q"]) -> Int[Tensor, " m"]:
    """Number the entries of each row from 0, where `rows` is ascending."""
    starts = counts.cumsum(dim=0) - counts
    return torch.arange(len(rows), device=rows.device) - starts[rows]


def _one_row_each(rows: Int[Tensor, " m"], values: Tensor, counts: Int[Tensor, " q"], *, fill: int | float) -> Tensor:
    """Lay `values`, listed row by row, out as a (q, r) tensor whose rows are filled up with `fill`."""
    width = max(1, int(counts.max())) if len(counts) else 1
    table = values.new_full((len(counts), width), fill)
    table[rows, _places(rows, counts)] = values
    return table
