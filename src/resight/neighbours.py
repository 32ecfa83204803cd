"""Exact neighbours in the similarity graph of a feature memory, without its N×N matrix.

All works on blocks of rows of that matrix, (b, n), on any device. Nothing sorts N: lists are selections, ranks are
counts, so the cost grows with N as the products do.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.storage import Rows, product
from resight.types import Candidates

COLUMNS = 8192
"""Columns that are compared at a time: few enough to stay in a CPU's cache."""


def top_k(
    scores: Float[Tensor, "b n"], own: Int[Tensor, " b"], count: int
) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]:
    """The `count` best scores of each row and their columns: the own column first, then falling, ties by column.

    `count` is cut to n. `scores` is changed and restored in its own columns.
    """
    rows = torch.arange(len(own), device=own.device)
    kept = scores[rows, own]
    scores[rows, own] = torch.inf  # nothing comes before the image itself
    values, columns = largest(scores, count)
    scores[rows, own] = kept
    values[:, 0] = kept
    return values, columns


def largest(scores: Float[Tensor, "b n"], count: int) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]:
    """The `count` best scores of each row and their columns: falling, ties by column. `count` is cut to n."""
    n = scores.shape[1]
    count = min(count, n)
    values, columns = _any_largest(scores, min(count + 1, n))
    if count < n:
        tied = (values[:, count - 1] == values[:, count]).nonzero().squeeze(1)
        values, columns = values[:, :count], columns[:, :count]
        # The selection took any of the equals; take those that come first.
        for at in tied.split(max(1, TIED_ELEMENTS // n)) if len(tied) else ():
            marks = best(scores[at], torch.full_like(at, count))
            columns[at] = marks.nonzero()[:, 1].view(len(at), count)
            values[at] = scores[at].gather(1, columns[at])
    columns, order = columns.sort(dim=1)
    values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


TIED_ELEMENTS = 2**22
"""Most scores of rows with equals at their edge that are looked at together."""

SHARED = 16
"""How many columns share a place in the first round of a selection."""


def _any_largest(scores: Float[Tensor, "b n"], count: int) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]:
    """The `count` best scores of each row, falling, and their columns; of equal ones at the edge any.

    Columns c, c + p, c + 2p, ... share place c of p: the best `count` lie in the `count` places with the best maxima,
    or equal what lies there, so that only these are looked through. Maxima cost a fraction of a selection.
    """
    places = scores.shape[1] // SHARED
    if places < 4 * count:
        values, columns = scores.topk(count, dim=1)
        return values, columns
    whole = places * SHARED
    at = scores[:, :whole].unflatten(1, (SHARED, places)).amax(dim=1).topk(count, dim=1).indices
    start = torch.arange(0, whole, places, device=at.device)
    rest = torch.arange(whole, scores.shape[1], device=at.device).expand(len(at), -1)
    near = torch.cat([(at.unsqueeze(1) + start.view(1, -1, 1)).flatten(1), rest], dim=1)
    values, order = scores.gather(1, near).topk(count, dim=1)
    return values, near.gather(1, order)


def best(scores: Float[Tensor, "b n"], count: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
    """Mark in row i its `count[i]` largest scores (0 to n); of equal ones those that come first."""
    n = scores.shape[1]
    count = count.clamp(max=n).unsqueeze(1)
    values, _ = _any_largest(scores, max(1, int(count.max())))
    edge = values.gather(1, (count - 1).clamp(min=0))
    marked = scores > edge
    ties = scores == edge
    room = count - marked.sum(dim=1, keepdim=True)
    ties &= ties.cumsum(dim=1) <= room
    return (marked | ties) & (count > 0)


ROUNDING = 2**-7 + 2**-8 + 2**-10
"""By how much the product of two unit rows in bfloat16 may be off: both factors, the result, and the summing up."""


def exact_where_close(
    rough: Float[Tensor, "b n"], left: Float[Tensor, "b d"], own: Int[Tensor, " b"], count: int, rows: Rows
) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]:
    """`top_k` of left · Mᵀ from scores that are `rough` by at most `ROUNDING`, the same columns and scores.

    All that could belong to it is scored again in full precision; rows of which too much is within reach are given a
    whole product. `rough` is changed.
    """
    n = rough.shape[1]
    rough.scatter_(1, own.unsqueeze(1), torch.inf)
    edge = _any_largest(rough, min(count, n))[0][:, -1:].float() - 2 * ROUNDING
    reach = counted(rough, edge)
    many = reach > 16 * count + 256
    scores = torch.empty(len(left), min(count, n), dtype=left.dtype, device=left.device)
    columns = torch.empty(scores.shape, dtype=torch.long, device=left.device)
    few = (~many).nonzero().squeeze(1)
    if len(few):
        near = rough[few].topk(int(reach[few].max()), dim=1).indices.sort(dim=1).values
        for at, close in zip(few.split(16), near.split(16), strict=True):
            exact = torch.bmm(rows.read(close), left[at].unsqueeze(2)).squeeze(2)
            first = exact.masked_fill(close == own[at].unsqueeze(1), torch.inf)
            order = first.sort(dim=1, descending=True, stable=True).indices[:, :count]
            scores[at], columns[at] = exact.gather(1, order), close.gather(1, order)
    for at in many.nonzero().squeeze(1).split(256):
        scores[at], columns[at] = top_k(product(left[at], rows), own[at], count)
    return scores, columns


USUAL = 64
"""Length to which neighbour lists are selected at once; only rows with more candidates are looked at again."""


def candidates(
    scores: Float[Tensor, "b n"], own: Int[Tensor, " b"], tau: float, least: int, most: int = 0
) -> Candidates:
    """Top(i, K_i) of each row of similarities: k_i = |{j : s_ij ≥ tau}|, K_i = max(k_i, least) cut to `most` and n."""
    n = scores.shape[1]
    values, columns = top_k(scores, own, max(USUAL, least))
    k = (values >= tau).sum(dim=1)
    many = ((k == values.shape[1]) & (k < n)).nonzero().squeeze(1)
    if len(many):
        k[many] = counted(scores[many], tau)
    width = cut(k, n, least, most)
    longest = int(width.max()) if len(width) else 0
    if longest > columns.shape[1]:
        _, columns = top_k(scores, own, longest)
    return padded(columns[:, :longest], own, k, width)


def cut(k: Int[Tensor, " b"], n: int, least: int, most: int) -> Int[Tensor, " b"]:
    """K_i = max(k_i, least), no more than `most` (0: no bound) and no more than the n images there are."""
    return k.clamp(min=least).clamp(max=min(most or n, n))


def padded(columns: Int[Tensor, "b k"], own: Int[Tensor, " b"], k: Tensor, width: Tensor) -> Candidates:
    """Fill up each list with the image itself beyond its width."""
    beyond = torch.arange(columns.shape[1], device=own.device) >= width.unsqueeze(1)
    return Candidates(torch.where(beyond, own.unsqueeze(1), columns), k, width)


def counted(scores: Float[Tensor, "b n"], threshold: float | Float[Tensor, "b 1"]) -> Int[Tensor, " b"]:
    """How many scores of each row reach the threshold, or the row's own."""
    return torch.stack([(part >= threshold).sum(dim=1) for part in scores.split(COLUMNS, dim=1)]).sum(dim=0)


def rank_counts(scores: Float[Tensor, "u n"], row: Int[Tensor, " p"], images: Int[Tensor, " p"]) -> Int[Tensor, " p"]:
    """rank_j(i) = |{n : s_jn > s_ji}| for pairs: `row` says where in `scores` j's similarities stand, `images` is i."""
    value = scores[row, images].unsqueeze(1)
    count = torch.zeros_like(images)
    for part in scores.split(COLUMNS, dim=1):
        for pairs in torch.arange(len(row), device=row.device).split(256):
            count[pairs] += (part[row[pairs]] > value[pairs]).sum(dim=1)
    return count


def among_closest(
    distance: Float[Tensor, "b n"], columns: Int[Tensor, "b k"], count: Int[Tensor, " b"]
) -> Bool[Tensor, "b k"]:
    """Whether each of `columns` is among its row's `count[i]` smallest distances; of equal ones the first count."""
    n = distance.shape[1]
    count = count.clamp(max=n).unsqueeze(1)
    smallest = distance.topk(min(int(count.max()) + 1, n), dim=1, largest=False).values
    edge = smallest.gather(1, count - 1)
    asked = distance.gather(1, columns)
    inside = asked <= edge
    after = smallest.gather(1, count.clamp(max=smallest.shape[1] - 1))
    crowded = ((count.squeeze(1) < n) & (after == edge).squeeze(1)).nonzero().squeeze(1)
    if len(crowded):  # more equals at the edge than there is room for: their order decides
        marks = best(-distance[crowded], count[crowded].squeeze(1))
        inside[crowded] = marks.gather(1, columns[crowded])
    return inside


@dataclass(frozen=True)
class NeighbourLists:
    """The most similar of all `images` rows, for the first rows or for every row, as `top_k` gives them."""

    scores: Tensor
    index: Tensor
    images: int

    def candidates(
        self, own: Int[Tensor, " b"], tau: float, least: int, most: int
    ) -> tuple[Candidates, Bool[Tensor, " b"]]:
        """Top(i, K_i) from the lists, and where they were long enough to know it."""
        scores, columns, covered = self._at(own)
        length = scores.shape[1]
        k = (scores >= tau).sum(dim=1)
        width = cut(k, self.images, least, most)
        known = covered & (width <= length) & ((k < length) | (length == self.images))
        longest = int(width[known].max()) if bool(known.any()) else 1
        return padded(columns[:, :longest], own, k, width.clamp(max=length)), known

    def outranked(
        self, rows: Int[Tensor, " p"], images: Int[Tensor, " p"], limit: Int[Tensor, " p"]
    ) -> tuple[Bool[Tensor, " p"], Bool[Tensor, " p"]]:
        """Whether rank_j(i) > limit, and where the lists were long enough to know it."""
        scores, columns, covered = self._at(rows)
        hit = columns == images.unsqueeze(1)
        found = hit.any(dim=1)
        value = torch.where(hit, scores, -torch.inf).amax(dim=1, keepdim=True)
        outranked = torch.where(found, (scores > value).sum(dim=1) > limit, True)
        # An image that is not listed scores no more than the last that is; it is outranked by all that score more.
        ahead = (scores > scores[:, -1:]).sum(dim=1) > limit
        return outranked, covered & (found | ahead)

    def _at(self, rows: Int[Tensor, " p"]) -> tuple[Tensor, Tensor, Tensor]:
        at = rows.clamp(max=len(self.scores) - 1).to(self.scores.device)
        covered = rows < len(self.scores)
        return self.scores[at].to(rows.device), self.index[at].to(rows.device).long(), covered
