"""Draw pairs of images by their score, without the N×N matrix: one pass counts, a second fetches what was drawn.

All unordered pairs (i, j), i < j, are numbered row by row within their stratum, whatever the blocks in which scores are
made, so that a seed draws the same pairs anywhere that scores come out the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.errors import DataError
from resight.types import UNKNOWN_CAMID

BLOCK_ELEMENTS = 2**24
"""Most scores held at once."""

PER_UNIT = 2**13
"""Bins in which scores are counted, for each unit of the cosine."""

BINS = 2 * PER_UNIT + 2

TOP_RATIO, FINEST = 1.6, 24
"""At and above the threshold each stratum reaches 1.6 times as far down the ranking as the one above it; the first
holds about 1/24 of the pairs there."""

RATIO = 2.0
"""The same below the threshold, where there are more orders of magnitude to cross."""

NEAR = 8
"""The floor: where the ranking is this many times as long as at the threshold. 200 answers see little below it."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Population:
    """All pairs of N images, or, where `camids` are given, those of two images from different known cameras.

    `embeddings`: unit rows. `threshold`: the cosine from which a pair is called the same, −1..1.
    """

    embeddings: Float[Tensor, "n d"]
    threshold: float
    camids: Int[Tensor, " n"] | None = None

    def blocks(self, elements: int) -> Iterator[tuple[int, int]]:
        """Give first and last + 1 of the rows whose scores with all later images fit `elements`."""
        images, first = len(self.embeddings), 0
        while first < images - 1:
            last = min(images, first + max(1, elements // (images - first)))
            yield first, last
            first = last

    def bins(self, first: int, last: int) -> tuple[Int[Tensor, "b m"], Float[Tensor, "b m"]]:
        """Bin and score of rows `first` to `last` with images from `first` on; bin −1 where that is no pair."""
        scores = self.embeddings[first:last] @ self.embeddings[first:].T
        bins = bin_of(scores, self.threshold)
        place = torch.arange(bins.shape[1], device=bins.device)
        no_pair = place <= place[: last - first].unsqueeze(1)
        if self.camids is not None:
            row, column = self.camids[first:last].unsqueeze(1), self.camids[first:]
            no_pair |= (row == column) | (row == UNKNOWN_CAMID) | (column == UNKNOWN_CAMID)
        return bins.masked_fill_(no_pair, -1), scores


def bin_of(scores: Float[Tensor, " *b"], threshold: float) -> Int[Tensor, " *b"]:
    """Place scores in bins counted from below; no bin holds scores from both sides of the threshold."""
    bins = (scores - threshold).mul_(PER_UNIT).floor_().to(torch.int32) + first_predicted(threshold)
    return bins.clamp_(0, BINS - 1)


def first_predicted(threshold: float) -> int:
    """The lowest bin at or above the threshold."""
    return int(np.ceil((1 + threshold) * PER_UNIT))


def count_pairs(
    population: Population, *, elements: int = BLOCK_ELEMENTS, progress: Progress | None = None
) -> Int[np.ndarray, "blocks bins"]:
    """Count the pairs in each bin, for each block of rows."""
    counts = []
    for first, last in population.blocks(elements):
        bins, _ = population.bins(first, last)
        counts.append(torch.bincount(bins.flatten() + 1, minlength=BINS + 1)[1:].int().cpu().numpy())
        if progress is not None:
            progress(last, len(population.embeddings))
    return np.stack(counts) if counts else np.zeros((0, BINS), dtype=np.int32)


@dataclass(frozen=True)
class Strata:
    """Runs of bins, highest scores first.

    `lowest`: the lowest bin of each. `above`: so many lie at or above the threshold; `near`: above the floor.
    """

    lowest: tuple[int, ...]
    above: int
    near: int

    def of_bins(self) -> Int[np.ndarray, " bins"]:
        """The stratum of every bin."""
        return np.searchsorted(-np.array(self.lowest), -np.arange(BINS), side="left").clip(max=len(self.lowest) - 1)

    def sizes(self, counts: Int[np.ndarray, " bins"]) -> Int[np.ndarray, " h"]:
        """The pairs in each stratum."""
        return np.bincount(self.of_bins(), weights=counts, minlength=len(self.lowest)).astype(np.int64)


def stratify(counts: Int[np.ndarray, " bins"], threshold: float) -> Strata:
    """Cut the ranking of all pairs where its length reaches a geometric series from the threshold up and down.

    Raises:
        DataError: there are no pairs, or none reaches the threshold.
    """
    ranking = np.cumsum(counts[::-1].astype(np.int64))  # pairs in the best 1, 2, 3 … bins
    predicted, pairs = BINS - first_predicted(threshold), int(ranking[-1])
    said = int(ranking[predicted - 1])
    if not pairs:
        raise DataError("there are no pairs of images to audit; it takes two images, or cameras known of two")
    if not said:
        best = int(np.flatnonzero(ranking)[0])
        raise DataError(
            f"none of {pairs:,} pairs reaches the threshold {threshold:g}, so that nothing is called the same; the "
            f"highest score is about {threshold + (predicted - 1 - best) / PER_UNIT:.3f}: give a lower --threshold"
        )
    steps = np.arange(1, 1 + int(np.log(FINEST) / np.log(TOP_RATIO)))
    doublings = RATIO ** np.arange(1, 64)
    ranks = [*(said / TOP_RATIO ** steps[::-1]), *(d * said for d in doublings if d * said < pairs / RATIO**0.5)]
    cuts = {1 + int(np.searchsorted(ranking, rank)) for rank in ranks if rank >= 1}
    cuts = {cut for cut in cuts if cut < predicted or ranking[cut - 1] > said} | {predicted}
    if pairs > said:
        cuts = {cut for cut in cuts if ranking[cut - 1] < pairs or cut == predicted} | {BINS}
    ordered = sorted(cuts)
    near = sum(1 for cut in ordered if ranking[cut - 1] <= NEAR * TOP_RATIO**0.5 * said)
    return Strata(tuple(BINS - cut for cut in ordered), ordered.index(predicted) + 1, near)


def positions(size: int, count: int, seed: tuple[int, ...]) -> Int[np.ndarray, " count"]:
    """Draw `count` of `size` positions without replacement; a longer draw begins with a shorter one's."""
    rng = np.random.default_rng(seed)
    if size <= 2**16:
        return rng.permutation(size)[:count]
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn |= dict.fromkeys(rng.integers(size, size=256).tolist())
    return np.array(list(drawn)[:count], dtype=np.int64)


def draw_pairs(
    population: Population,
    counts: Int[np.ndarray, "blocks bins"],
    strata: Strata,
    wanted: Int[np.ndarray, " h"],
    *,
    seed: int,
    elements: int = BLOCK_ELEMENTS,
) -> list[tuple[int, int, float]]:
    """Draw `wanted` pairs of each stratum, all alike likely, as (i, j, score); i < j.

    `counts` and `elements` must be those of `count_pairs`; only blocks that hold a drawn pair are scored again.
    """
    of_bins = strata.of_bins()
    by_block = np.stack([strata.sizes(row) for row in counts])
    ends = by_block.cumsum(axis=0)
    chosen = [np.sort(positions(int(ends[-1, h]), int(n), (seed, h))) for h, n in enumerate(wanted)]
    table = torch.from_numpy(np.append(of_bins, -1).astype(np.int32)).to(
        population.embeddings.device
    )  # bin −1: no pair
    pairs: list[tuple[int, int, float]] = []
    for block, (first, last) in enumerate(population.blocks(elements)):
        starts = ends[block] - by_block[block]
        here = [c[(c >= a) & (c < b)] - a for c, a, b in zip(chosen, starts, ends[block], strict=True)]
        if any(len(places) for places in here):
            bins, scores = population.bins(first, last)
            found = _located(table[bins.long()], here)
            pairs += [(first + row, first + column, float(scores[row, column])) for row, column in found]
    return pairs


def _located(stratum: Int[Tensor, "b m"], places: list[Int[np.ndarray, " _"]]) -> list[tuple[int, int]]:
    """Find row and column of places in each stratum, counted row by row; −1 is no stratum."""
    rows, strata = len(stratum), len(places)
    row = torch.arange(rows, dtype=stratum.dtype, device=stratum.device).unsqueeze(1)
    slots = torch.bincount((stratum + 1 + row * (strata + 1)).flatten(), minlength=rows * (strata + 1))
    ends = slots.view(rows, strata + 1)[:, 1:].cumsum(dim=0).cpu().numpy()
    found = []
    for h, wanted in enumerate(places):
        for place in wanted.tolist():
            at = int(np.searchsorted(ends[:, h], place, side="right"))
            within = place - (int(ends[at - 1, h]) if at else 0)
            found.append((at, int((stratum[at] == h).nonzero()[within])))
    return found
