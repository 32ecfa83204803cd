"""Rows of few numbers each, as what is in them and where: compressed sparse rows, in NumPy, whose sorts are quick.

Numbers travel with their place as one whole number of 64 bits, the place in the upper half and the bits of the number
in the lower: sorting these brings what belongs together to one place, in an order that depends on nothing else.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64, UInt64

PLACES = 2**32
"""Places that can be told apart while numbers are summed: rows at a time × width stays within it."""


@dataclass(frozen=True)
class SparseRows:
    """Row i holds `values[offsets[i]:offsets[i + 1]]` in its columns `columns[...]`, which rise; zero elsewhere.

    `width`: how many columns a row has, full or empty.
    """

    offsets: Int64[np.ndarray, " m"]
    columns: Int32[np.ndarray, " e"]
    values: Float32[np.ndarray, " e"]
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: Int[np.ndarray, " b"]) -> "SparseRows":
        """Copy the rows at `rows`, in that order; one may be asked for twice."""
        lengths = self.lengths(rows)
        entries = runs(self.offsets[rows], lengths)
        return SparseRows(starts(lengths), self.columns[entries], self.values[entries], self.width)

    def lengths(self, rows: Int[np.ndarray, " b"]) -> Int64[np.ndarray, " b"]:
        """How many numbers some rows hold."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def row_of_entries(self) -> Int64[np.ndarray, " e"]:
        """The row in which each number stands."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def turned(self, first: int = 0) -> "SparseRows":
        """Give the transpose of the rows from `first` on: for each column, which of them hold it."""
        begin = self.offsets[first]
        columns, values = self.columns[begin:], self.values[begin:]
        entries = sorting(columns)
        rows = (self.row_of_entries()[begin:] - first).astype(np.int32)
        counts = np.bincount(columns, minlength=self.width)
        return SparseRows(starts(counts), rows[entries], values[entries], len(self) - first)


def joined(pieces: list[SparseRows], width: int) -> SparseRows:
    """Put runs of rows below each other."""
    lengths = [np.diff(piece.offsets) for piece in pieces]
    return SparseRows(
        starts(np.concatenate([np.zeros(0, dtype=np.int64), *lengths])),
        np.concatenate([np.zeros(0, dtype=np.int32), *(piece.columns for piece in pieces)]),
        np.concatenate([np.zeros(0, dtype=np.float32), *(piece.values for piece in pieces)]),
        width,
    )


def summed(
    places: Int64[np.ndarray, " e"], values: Float32[np.ndarray, " e"]
) -> tuple[Int64[np.ndarray, " u"], Float32[np.ndarray, " u"]]:
    """Give each place that occurs once, rising, with the sum of its values. Places lie in 0..2³², values are ≥ 0."""
    if not len(places):
        return places, values
    packed: UInt64[np.ndarray, " e"] = places.astype(np.uint64) << np.uint64(32)
    packed |= values.view(np.uint32)
    packed.sort()
    place = (packed >> np.uint64(32)).astype(np.int64)
    value = packed.astype(np.uint32).view(np.float32)
    first = np.flatnonzero(np.concatenate([[True], place[1:] != place[:-1]]))
    return place[first], np.add.reduceat(value, first)


def sorting(columns: Int32[np.ndarray, " e"]) -> Int64[np.ndarray, " e"]:
    """Give the order that sorts columns and leaves equal ones in theirs."""
    order = np.sort(columns.astype(np.uint64) << np.uint64(32) | np.arange(len(columns), dtype=np.uint64))
    return (order & np.uint64(PLACES - 1)).astype(np.int64)


def mirrored(upper: SparseRows) -> SparseRows:
    """Give the symmetric rows of which `upper` holds the diagonal and what lies right of it."""
    lower, n = upper.turned(), len(upper)
    beside = lower.row_of_entries() != lower.columns
    before = np.bincount(lower.row_of_entries()[beside], minlength=n)
    after = np.diff(upper.offsets)
    offsets = starts(before + after)
    columns = np.empty(offsets[-1], dtype=np.int32)
    values = np.empty(offsets[-1], dtype=np.float32)
    for part, kept, first, lengths in (
        (lower, beside, offsets[:-1], before),
        (upper, slice(None), offsets[:-1] + before, after),
    ):
        at = runs(first, lengths)
        columns[at], values[at] = part.columns[kept], part.values[kept]
    return SparseRows(offsets, columns, values, n)


def starts(lengths: Int[np.ndarray, " b"]) -> Int64[np.ndarray, " m"]:
    """Give the offsets of runs of these lengths, and the end of the last."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def runs(first: Int[np.ndarray, " b"], lengths: Int[np.ndarray, " b"]) -> Int64[np.ndarray, " e"]:
    """Give first[0], first[0] + 1, ... for its length, then first[1], and so on."""
    offsets = starts(lengths)
    return np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])
