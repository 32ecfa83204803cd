"""k-reciprocal encoding of N rows, sparse: what it takes grows with N·k, not N².

Paper: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, sections 3.1
to 3.3, computed as the authors' published code does where the two differ: a neighbour list is the image itself and its
k1 nearest; an expansion takes lists of round(k1 / 2), halves to the even number; weights sum to 1.

Equal scores rank by row order, after the image itself. Scores of equal rows are equal but for the rounding of the
product, which then decides.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int32, Int64
from torch import Tensor

from resight.neighbours import NeighbourLists, largest
from resight.sparse_rows import PLACES, SparseRows, joined, mirrored, runs, sorting, starts, summed

Progress = Callable[[int, int], None]

ROWS_AT_A_TIME = 1024
COLUMNS_AT_A_TIME = 16384
"""Tiles of the N×N product that are worked on: large enough for its full speed, small whatever N is."""

ENTRIES_AT_A_TIME = 2**21
"""Numbers of a sparse intermediate result that are held at once."""

SAME = 1e-6
"""Squared distance up to which two rows may be the same one: the product of two unit rows rounds by about as much."""


class Stacked:
    """The rows of several tensors as one matrix, without a copy of them."""

    def __init__(self, *parts: Float[Tensor, "_ d"]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def device(self) -> torch.device:
        """Where the rows are, and what is computed from them."""
        return self.parts[0].device

    def blocks(self, size: int) -> Iterator[tuple[int, Float[Tensor, "b d"]]]:
        """Give all rows in order, as (first row, up to `size` rows)."""
        first = 0
        for part in self.parts:
            for start in range(0, len(part), size):
                yield first + start, part[start : start + size]
            first += len(part)

    def read(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """Copy the rows at `index`."""
        index = index.to(self.device)
        if len(self.parts) == 1:
            return self.parts[0][index]
        rows = torch.empty(len(index), self.parts[0].shape[1], dtype=self.parts[0].dtype, device=self.device)
        first = 0
        for part in self.parts:
            here = ((index >= first) & (index < first + len(part))).nonzero().squeeze(1)
            rows[here] = part[index[here] - first]
            first += len(part)
        return rows


def list_nearest(
    rows: Stacked, length: int, *, progress: Progress | None = None
) -> tuple[NeighbourLists, Float[Tensor, " n"]]:
    """Give each row's `length` most similar rows (cut to N), itself first, and its smallest similarity to any row.

    One pass over the N×N products. `progress` is told rows done and rows in all.
    """
    n, length = len(rows), min(length, len(rows))
    dtype = rows.parts[0].dtype
    scores, lowest = torch.empty(n, length, dtype=dtype), torch.empty(n, dtype=dtype)
    index = torch.empty(n, length, dtype=torch.int32)
    for first, left in rows.blocks(ROWS_AT_A_TIME):
        at = slice(first, first + len(left))
        scores[at], index[at], lowest[at] = nearest(left, rows, length, own=first)
        if progress is not None:
            progress(at.stop, n)
    return NeighbourLists(scores, index, n), lowest


def nearest(
    left: Float[Tensor, "b d"], rows: Stacked, length: int, *, own: int | None = None
) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"], Float[Tensor, " b"]]:
    """Give the `length` best scores of each left row, falling, ties by row; which rows these are; the smallest of all.

    `own`: the first left row is this one of the rows, the others follow; each then comes first in its own list.
    """
    values = torch.empty(len(left), 0, dtype=left.dtype, device=left.device)
    columns = torch.empty(len(left), 0, dtype=torch.long, device=left.device)
    lowest, kept = torch.full_like(left[:, 0], torch.inf), torch.empty_like(left[:, 0])
    tile = torch.empty(len(left) * min(COLUMNS_AT_A_TIME, len(rows)), dtype=left.dtype, device=left.device)
    for start, right in rows.blocks(COLUMNS_AT_A_TIME):
        scores = torch.mm(left, right.T, out=tile[: len(left) * len(right)].view(len(left), len(right)))
        lowest = torch.minimum(lowest, scores.amin(dim=1))
        if own is not None:
            mine = torch.arange(own, own + len(left), device=left.device)
            mine = mine[(mine >= start) & (mine < start + len(right))]
            kept[mine - own] = scores[mine - own, mine - start]
            scores[mine - own, mine - start] = torch.inf
        more, which = largest(scores, length)
        # Both are in order, and what was there comes from columns before: a stable sort keeps ties in order.
        values, order = torch.cat([values, more], dim=1).sort(dim=1, descending=True, stable=True)
        columns = torch.cat([columns, which + start], dim=1).gather(1, order)[:, :length]
        values = values[:, :length]
    if own is not None:
        values[:, 0] = kept
    return values, columns, lowest


def half(k1: int) -> int:
    """The k of the lists that expand others: round(k1 / 2), halves to the even number."""
    return round(k1 / 2)


def encode(
    lists: NeighbourLists,
    rows: Stacked,
    *,
    expand_by: int | None,
    k2: int = 1,
    lowest: Float[Tensor, " n"] | None = None,
) -> SparseRows:
    """Give each row's weights over its k-reciprocal neighbours, summing to 1: V of the paper, (N, N).

    Args:
        lists: neighbours of every row, itself first; their length is k1 + 1.
        rows: unit length, to score pairs that no list has.
        expand_by: length of the lists that expand others, the row itself counted: half(k1) + 1; None: no expansion.
        k2: vectors that are averaged for each row: its own and its k2 − 1 nearest rows'.
        lowest: each row's smallest similarity. Distances then are divided by the row's largest before they are
            weighed; else they are weighed as they are.
    """
    index = lists.index.cpu().numpy()
    n, length = index.shape
    mutual = reciprocal(index)
    close = None if expand_by is None else index[:, :expand_by]
    close_mutual = None if close is None else reciprocal(close)
    step = max(1, min(n, 4096, ENTRIES_AT_A_TIME // (length * (1 if close is None else close.shape[1]))))
    pieces = []
    for first in range(0, n, step):
        at = slice(first, min(first + step, n))
        places = members(index[at], mutual[at], n)
        if close is not None and close_mutual is not None:
            places = expanded(places, close, close_mutual)
        row, column = np.divmod(places, n)
        scores = scored(lists, rows, at, row, column)
        distance = (2 - 2 * scores).clip(min=0)
        if lowest is not None:
            distance /= span(lowest[at].double().cpu().numpy())[row]
        pieces.append(weighed(row, column, np.exp(-distance), at.stop - first, n))
    vectors = joined(pieces, n)
    return averaged(vectors, index[:, :k2]) if k2 > 1 else vectors


def span(lowest: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Largest squared distance of each row; 1 where that is only rounding, so that such distances stay about 0."""
    farthest = 2 - 2 * lowest
    return np.where(farthest > SAME, farthest, 1.0)


def reciprocal(near: Int32[np.ndarray, "n k"]) -> Bool[np.ndarray, "n k"]:
    """Mark which of each row's neighbours have the row among their own."""
    marks = np.empty(near.shape, dtype=bool)
    step = max(1, ENTRIES_AT_A_TIME // near.shape[1] ** 2)
    for first in range(0, len(near), step):
        row = np.arange(first, min(first + step, len(near)))
        marks[row] = (near[near[row]] == row[:, None, None]).any(axis=2)
    return marks


def members(index: Int32[np.ndarray, "b k"], mutual: Bool[np.ndarray, "b k"], n: int) -> Int64[np.ndarray, " p"]:
    """Give R(i, k1) of b rows as places i · n + j, rising; i counts from the first of them."""
    row, slot = mutual.nonzero()
    return np.sort(row * n + index[row, slot])


def expanded(
    places: Int64[np.ndarray, " p"], close: Int32[np.ndarray, "n h"], mutual: Bool[np.ndarray, "n h"]
) -> Int64[np.ndarray, " q"]:
    """Give R*(i, k1): with each member j of R(i, k1) all of R(j, k1/2), if more than ⅔ of that lies in R(i, k1)."""
    row, member = np.divmod(places, len(close))
    offered = row[:, None] * len(close) + close[member]
    real = mutual[member]
    inside = places[np.searchsorted(places, offered).clip(max=len(places) - 1)] == offered
    taken = 3 * (inside & real).sum(axis=1) > 2 * real.sum(axis=1)  # whole numbers: ⅔ exactly is not more than ⅔
    union = np.sort(np.concatenate([places, offered[real & taken[:, None]]]))
    return union[np.concatenate([[True], union[1:] != union[:-1]])]


def scored(
    lists: NeighbourLists,
    rows: Stacked,
    at: slice,
    row: Int64[np.ndarray, " p"],
    column: Int64[np.ndarray, " p"],
) -> Float[np.ndarray, " p"]:
    """Give the similarity of row at.start + `row` to `column`, from its list if it is there."""
    index, scores = lists.index[at].cpu().numpy(), lists.scores[at].cpu().numpy()
    listed = (np.arange(len(index))[:, None] * lists.images + index).ravel()
    order = np.argsort(listed)
    places = row * lists.images + column
    found = order[np.searchsorted(listed[order], places).clip(max=len(listed) - 1)]
    result = scores.ravel()[found]
    missing = np.flatnonzero(listed[found] != places)
    step = max(1, ENTRIES_AT_A_TIME // max(1, rows.parts[0].shape[1]))
    for first in range(0, len(missing), step):
        part = missing[first : first + step]
        left = rows.read(torch.from_numpy(row[part] + at.start))
        right = rows.read(torch.from_numpy(column[part]))
        result[part] = left.mul_(right).sum(dim=1).cpu().numpy()
    return result


def weighed(
    row: Int64[np.ndarray, " p"], column: Int64[np.ndarray, " p"], weights: Float[np.ndarray, " p"], count: int, n: int
) -> SparseRows:
    """Make rows of these weights, divided by their sum."""
    weights = weights / np.bincount(row, weights, minlength=count)[row]
    offsets = starts(np.bincount(row, minlength=count))
    return SparseRows(offsets, column.astype(np.int32), weights.astype(np.float32), n)


def averaged(vectors: SparseRows, near: Int32[np.ndarray, "n k"]) -> SparseRows:
    """Give for each row the mean of the vectors of `near` (local query expansion)."""
    n, k = near.shape
    step = max(1, min(ROWS_AT_A_TIME, PLACES // n))
    pieces = []
    for first in range(0, n, step):
        asked = near[first : first + step]
        chosen = vectors.take(asked.ravel())
        row = chosen.row_of_entries() // k
        places, values = summed(row * n + chosen.columns, chosen.values / np.float32(k))
        row, column = np.divmod(places, n)
        offsets = starts(np.bincount(row, minlength=len(asked)))
        pieces.append(SparseRows(offsets, column.astype(np.int32), values, n))
    return joined(pieces, n)


def overlaps(
    left: SparseRows, turned: SparseRows, begin: Int64[np.ndarray, " e"] | None = None
) -> Iterator[tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"], Float32[np.ndarray, " p"]]]:
    """Give (row, column, Jaccard distance) of all pairs of left and other rows that share something, by blocks.

    `turned`: the transpose of the others, see `SparseRows.turned`. `begin`: for each number of `left` the first one of
    its column in `turned` that it is compared with; None: all. Pairs that are not given have distance 1. Rows of either
    must sum to 1: then Σ max = 2 − Σ min.
    """
    begin = turned.offsets[left.columns] if begin is None else begin
    held = turned.offsets[left.columns + 1] - begin
    work = starts(held)[left.offsets]  # pairs of numbers to compare before each row
    first = 0
    while first < len(left):
        last = int(np.searchsorted(work, work[first] + ENTRIES_AT_A_TIME, side="right")) - 1
        last = min(max(last, first + 1), first + PLACES // max(1, turned.width), len(left))
        block = slice(left.offsets[first], left.offsets[last])
        times = held[block]
        entries = runs(begin[block], times)
        row = np.repeat(np.arange(last - first), work[first + 1 : last + 1] - work[first:last])
        least = np.minimum(np.repeat(left.values[block], times), turned.values[entries])
        places, shared = summed(row * turned.width + turned.columns[entries], least)
        row, column = np.divmod(places, turned.width)
        yield row + first, column, (1 - shared / (2 - shared)).clip(min=0)
        first = last


def jaccard_graph(vectors: SparseRows, *, most: float = 1.0) -> SparseRows:
    """Give all Jaccard distances below `most` between the rows of `encode`, each pair in both of its rows.

    A pair that is not in the graph has a distance of `most` or more; the 0 of a row to itself is in it.
    """
    n, order = len(vectors), sorting(vectors.columns)
    itself = np.empty_like(order)
    itself[order] = np.arange(len(order))  # where each number stands in the transpose, before those of later rows
    lengths = np.zeros(n, dtype=np.int64)
    columns, distances = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.float32)]
    for row, column, distance in overlaps(vectors, vectors.turned(), itself):
        near = distance < most
        lengths += np.bincount(row[near], minlength=n)
        columns.append(column[near].astype(np.int32))
        distances.append(distance[near])
    return mirrored(SparseRows(starts(lengths), np.concatenate(columns), np.concatenate(distances), n))
