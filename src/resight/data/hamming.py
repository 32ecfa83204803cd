"""All pairs of 64-bit hashes that differ in few bits, found without comparing every pair."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from jaxtyping import Int, UInt64

CHUNKS = 4
CHUNK_BITS = 16
ROWS = 256
"""Left hashes looked up at a time: what bounds the pairs of one answer, at most ROWS times the right hashes."""
MOST_COMPARED = 1 << 21
"""Pairs compared at a time: what bounds the memory besides the answer."""

Pairs = tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]
"""Positions left and right."""


class HashIndex:
    """Hashes, sorted so that those near another are found quickly. Exact.

    If two hashes differ in at most d bits, then in one of four chunks of 16 they differ in at most d // 4. So each
    chunk of a hash is looked up with every so small change among these hashes, which are sorted by that chunk; what is
    found is compared whole. Hashes that are alike in a whole chunk by the thousands cost the time of comparing them
    all, but no more memory; equal ones should be given once.

    Paper: Norouzi, Punjani, Fleet 2012, Fast search in Hamming space with multi-index hashing.
    """

    def __init__(self, hashes: UInt64[np.ndarray, " m"], distance: int) -> None:
        self.hashes, self.distance = hashes, distance
        self.tables = [_table(hashes, chunk) for chunk in range(CHUNKS)]
        self.masks = _masks(distance // CHUNKS)

    def pairs(self, left: UInt64[np.ndarray, " n"]) -> Iterator[Pairs]:
        """Yield the pairs that differ in at most `distance` bits, each once, for `ROWS` left hashes at a time."""
        for start in range(0, len(left), ROWS):
            rows = left[start : start + ROWS]
            lookups = [(chunk, table, self.masks) for chunk, table in enumerate(self.tables)]
            found = [pair for lookup in lookups for pair in _pairs_of_chunk(rows, self.hashes, lookup, self.distance)]
            if found:
                yield np.concatenate([i for i, _ in found]) + start, np.concatenate([j for _, j in found])


def _table(hashes: np.ndarray, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions sorted by the chunk, and where each of its values begins among them."""
    keys = _chunk(hashes, chunk)
    counts = np.bincount(keys, minlength=1 << CHUNK_BITS)
    return np.argsort(keys, kind="stable").astype(np.int32), np.concatenate([[0], counts.cumsum()])


def _chunk(hashes: np.ndarray, chunk: int) -> np.ndarray:
    return ((hashes >> np.uint64(CHUNK_BITS * chunk)) & np.uint64((1 << CHUNK_BITS) - 1)).astype(np.int64)


def _masks(radius: int) -> np.ndarray:
    """Every change of at most `radius` bits of a chunk."""
    changed = (bits for count in range(radius + 1) for bits in combinations(range(CHUNK_BITS), count))
    return np.array([sum(1 << bit for bit in bits) for bits in changed], dtype=np.int64)


def _pairs_of_chunk(
    rows: np.ndarray, right: np.ndarray, lookup: tuple[int, tuple[np.ndarray, np.ndarray], np.ndarray], distance: int
) -> Iterator[Pairs]:
    chunk, (order, starts), masks = lookup
    keys = (_chunk(rows, chunk)[:, None] ^ masks).ravel()
    first, count = starts[keys], starts[keys + 1] - starts[keys]
    ends = count.cumsum()
    for lower in range(0, int(ends[-1]), MOST_COMPARED):
        place = np.arange(lower, min(lower + MOST_COMPARED, int(ends[-1])))
        key = np.searchsorted(ends, place, side="right")
        i = key // len(masks)
        j = order[first[key] + place - (ends[key] - count[key])]
        changed = rows[i] ^ right[j]
        near = np.bitwise_count(changed) <= distance
        i, j, changed = i[near], j[near], changed[near]
        new = np.ones(len(i), dtype=bool)  # not already found by an earlier chunk
        for earlier in range(chunk):
            new &= np.bitwise_count(_chunk(changed, earlier)) > distance // CHUNKS
        if new.any():
            yield i[new].astype(np.int32), j[new]
