"""Counting and drawing pairs: against loops over all pairs, whole and in blocks."""

from collections import Counter

import numpy as np
import pytest
import torch

from resight.errors import DataError
from resight.pair_sampling import (
    BINS,
    PER_UNIT,
    Population,
    Strata,
    bin_of,
    count_pairs,
    draw_pairs,
    first_predicted,
    positions,
    stratify,
)


def unit_rows(images: int, seed: int, dim: int = 8) -> torch.Tensor:
    """Rows whose products are exact in float32 in any order: sixteenths of small integers."""
    rows = torch.randint(-2, 3, (images, dim), generator=torch.Generator().manual_seed(seed)).float()
    return rows / 16


def all_pairs(population: Population) -> list[tuple[int, int, float]]:
    """The pairs one by one, in their order."""
    rows, cameras = population.embeddings, population.camids
    return [
        (i, j, float(rows[i] @ rows[j]))
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if cameras is None or (cameras[i] != cameras[j] and min(cameras[i], cameras[j]) >= 0)
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("across", [False, True])
def test_counting_and_drawing_are_the_loop_over_pairs(seed: int, across: bool) -> None:
    camids = torch.randint(-1, 3, (24,), generator=torch.Generator().manual_seed(seed)) if across else None
    population = Population(unit_rows(24, seed), 0.03, camids)
    pairs = all_pairs(population)
    drawn = []
    for elements in (1, 97, 10**6):
        counts = count_pairs(population, elements=elements)
        total = counts.sum(axis=0)
        expected = Counter(bin_of(torch.tensor([s for _, _, s in pairs]), 0.03).tolist())
        assert {b: int(n) for b, n in enumerate(total) if n} == expected
        strata = stratify(total, 0.03)
        sizes = strata.sizes(total)
        wanted = np.minimum(sizes, 5)
        drawn.append(sorted(draw_pairs(population, counts, strata, wanted, seed=3, elements=elements)))
    assert all(d == drawn[0] for d in drawn)
    stratum = [stratum_of(strata, score) for _, _, score in pairs]
    by_stratum = {h: [p for p, at in zip(pairs, stratum, strict=True) if at == h] for h in range(len(sizes))}
    oracle = [by_stratum[h][k] for h, n in enumerate(wanted) for k in positions(int(sizes[h]), int(n), (3, h))]
    assert drawn[0] == sorted(oracle)


def stratum_of(strata: Strata, score: float) -> int:
    at = int(bin_of(torch.tensor([score]), 0.03))
    return next(h for h, lowest in enumerate(strata.lowest) if lowest <= at)


@pytest.mark.parametrize("threshold", [-0.97, -0.1, 0.0, 0.30001, 0.7, 0.99])
def test_no_bin_holds_scores_from_both_sides_of_the_threshold(threshold: float) -> None:
    near = torch.tensor([threshold])
    below = torch.nextafter(near, torch.tensor([-2.0]))
    assert bin_of(below, threshold) < first_predicted(threshold) <= bin_of(near, threshold)
    assert bin_of(torch.tensor([-1.1, 1.1]), threshold).tolist() == [0, BINS - 1]


def test_strata_double_below_the_threshold_and_end_on_it() -> None:
    counts = np.zeros(BINS, dtype=np.int64)
    counts[: PER_UNIT + 100] = 1  # 100 pairs at or above the threshold 0, one a bin, and 8,192 below
    strata = stratify(counts, 0.0)
    sizes = strata.sizes(counts)
    assert sizes[: strata.above].sum() == 100 and strata.lowest[strata.above - 1] == PER_UNIT
    assert sizes[strata.above :].tolist() == [100, 200, 400, 800, 1600, 5092]
    assert sizes[: strata.near].sum() == 800  # eight times the 100
    assert sizes.sum() == counts.sum()


def test_a_threshold_that_nothing_reaches_is_refused() -> None:
    counts = np.zeros(BINS, dtype=np.int64)
    counts[bin_of(torch.tensor([0.25]), 0.5).item()] = 4
    with pytest.raises(DataError, match=r"none of 4 pairs reaches the threshold 0.5.*highest score is about 0.25"):
        stratify(counts, 0.5)
    with pytest.raises(DataError, match="no pairs of images"):
        stratify(np.zeros(BINS, dtype=np.int64), 0.5)


@pytest.mark.parametrize("size", [10, 10**6, 10**10])
def test_a_longer_draw_begins_with_the_shorter_one(size: int) -> None:
    long = positions(size, 10, (1, 2))
    assert positions(size, 4, (1, 2)).tolist() == long[:4].tolist()
    assert len(set(long.tolist())) == 10 and long.min() >= 0 and long.max() < size
    assert positions(size, 4, (2, 2)).tolist() != long[:4].tolist()


def test_every_pair_of_a_stratum_is_drawn_as_often() -> None:
    population = Population(unit_rows(12, 1), -0.9)
    counts = count_pairs(population)
    strata = stratify(counts.sum(axis=0), -0.9)
    sizes = strata.sizes(counts.sum(axis=0))
    h = int(sizes.argmax())
    wanted = np.where(np.arange(len(sizes)) == h, sizes // 2, 0)
    met = Counter(p[:2] for s in range(200) for p in draw_pairs(population, counts, strata, wanted, seed=s))
    share = wanted[h] / sizes[h]
    assert len(met) == sizes[h]
    assert max(abs(n / 200 - share) for n in met.values()) < 5 * (share * (1 - share) / 200) ** 0.5


def test_renumbered_images_are_counted_alike() -> None:
    rows, order = unit_rows(30, 5), torch.randperm(30)
    one, two = (count_pairs(Population(r, 0.02)).sum(axis=0) for r in (rows, rows[order]))
    assert (one == two).all()
