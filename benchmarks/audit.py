"""Whether an audit's 95 % intervals hold the truth, and how wide they are: the table of docs/results.md.

    python benchmarks/audit.py [--repeats 200] [--pairs 200] [--run RUN ...] [--split train]

Without --run: drawn scores, of differing (wrong) pairs normal, of same pairs normal and higher, or broad, or in part
like those of differing ones; one pair in 100 to 10,000 the same; thresholds at the best F1 and far to either side. With
--run: that run's images and their true identities. Each repeat draws pairs anew and answers them truly. Of each stratum
only how many same pairs a draw meets matters, so repeats draw that (hypergeometric) and need no images.

coverage: share of repeats whose interval holds the truth. width: mean of the intervals. near: recall among the pairs
above the floor. halved: width of the wider interval after as many more answers as the audit asks for, over that before
(one half is right), mean over `--halved` repeats.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from resight.audit_images import AuditRequest, open_images
from resight.pair_audit import Tally, allocate, estimate, first_guess, importance, more_to_halve, recall_is_wider
from resight.pair_posterior import chances
from resight.pair_sampling import BINS, PER_UNIT, Population, count_pairs, first_predicted, stratify

Case = tuple[str, np.ndarray, np.ndarray, float]
"""Name, counts of same pairs and of others in each bin, threshold."""

SHAPES = {
    "well apart": (0.6, 0.1, 0),
    "overlapping": (0.35, 0.12, 0),
    "broad": (0.4, 0.2, 0),
    "30 % lost": (0.5, 0.15, 0.3),
}
SIZES = ((2 * 10**5, 1e-2), (10**6, 1e-3), (10**8, 1e-4))
"""Pairs, and the share of them that is the same."""


def drawn_cases() -> Iterator[Case]:
    """Populations as one would meet them."""
    rng = np.random.default_rng(0)
    for pairs, rate in SIZES:
        for name, (centre, spread, lost) in SHAPES.items():
            same = _shares(centre, spread) * (1 - lost) + _shares(0.03, 0.1) * lost
            yes, no = (
                rng.multinomial(round(pairs * rate), same),
                rng.multinomial(round(pairs * (1 - rate)), _shares(0, 0.1)),
            )
            right, wrong = (c[::-1].cumsum()[::-1] for c in (yes, no))
            best = int(np.argmax(2 * right / (right + wrong + yes.sum()).clip(1)))
            for where, bin_ in (("best", best), ("high", best + PER_UNIT // 10), ("low", best - PER_UNIT // 14)):
                if right[bin_] + wrong[bin_] >= 20:
                    yield f"{rate:g} {name}, T {where}", yes, no, bin_ / PER_UNIT - 1


def _shares(centre: float, spread: float) -> np.ndarray:
    edges = torch.arange(BINS + 1, dtype=torch.float64) / PER_UNIT - 1
    shares = torch.special.ndtr((edges - centre) / spread).diff().clamp(min=0).numpy()
    return shares / shares.sum()


def run_cases(run: Path, split: str) -> Iterator[Case]:
    """Real images: all pairs, and those across cameras, at the thresholds that leave these shares of the best pairs."""
    for across in (False, True):
        request = AuditRequest(run, split=split, across_cameras=across)
        images = open_images(request, None, print, lambda title: lambda done, total: None)
        pids = torch.tensor(images.split.pids)
        scores = Population(images.rows, 0.0, images.camids)
        ranking = count_pairs(scores).sum(axis=0)[::-1].cumsum()
        _, same = _by_identity(scores, pids)
        for factor in (0.1, 0.5, 1, 4):
            bin_ = BINS - 1 - int(np.searchsorted(ranking, factor * same.sum()))
            population = Population(images.rows, (bin_ - first_predicted(0.0)) / PER_UNIT, images.camids)
            whole, same = _by_identity(population, pids)
            name = f"{run.name} {'across' if across else 'all'}, {factor:g} x as many called"
            yield name, same, whole - same, population.threshold


def _by_identity(population: Population, pids: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Count all pairs, and those of one identity, in each bin."""
    whole, same = np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64)
    for first, last in population.blocks(2**24):
        bins, _ = population.bins(first, last)
        alike = pids[first:last].unsqueeze(1) == pids[first:]
        whole += torch.bincount(bins[bins >= 0], minlength=BINS).numpy()
        same += torch.bincount(bins[(bins >= 0) & alike], minlength=BINS).numpy()
    return whole, same


def answered(tally: Tally, same: np.ndarray, count: int, rng: np.random.Generator) -> Tally:
    """Draw `count` more pairs as the audit would, and answer them truly."""
    p = chances(tally.asked, tally.yes, 1000, rng) if tally.asked.sum() else first_guess(tally.sizes, tally.above)
    more = allocate(tally.sizes, tally.asked, importance(tally, p), count)
    left, others = same - tally.yes, tally.sizes - same - (tally.asked - tally.yes)
    hits = [
        rng.binomial(n, yes / max(1, yes + no)) if yes + no > 10**8 else rng.hypergeometric(yes, no, n)
        for yes, no, n in zip(left, others, more, strict=True)
    ]
    return Tally(tally.sizes, tally.asked + more, tally.yes + np.array(hits), tally.above, tally.near)


def line_of(case: Case, options: argparse.Namespace) -> str:
    """One row of the table."""
    name, yes, no, threshold = case
    strata = stratify(yes + no, threshold)
    same, sizes = strata.sizes(yes), strata.sizes(yes + no)
    right = same[: strata.above].sum()
    truth = (right / sizes[: strata.above].sum(), right / same.sum(), right / same[: strata.near].sum())
    none = Tally(sizes, np.zeros_like(sizes), np.zeros_like(sizes), strata.above, strata.near)
    held, widths, halved = np.zeros(3), np.zeros(3), []
    for repeat in range(options.repeats):
        rng = np.random.default_rng(repeat)
        tally = answered(none, same, options.pairs // options.rounds, rng)
        for _ in range(options.rounds - 1):
            tally = answered(tally, same, options.pairs // options.rounds, rng)
        found = estimate(tally, seed=repeat, draws=options.draws)
        intervals = (found.precision, found.recall, found.recall_near)
        held += [i is not None and i.low <= t <= i.high for i, t in zip(intervals, truth, strict=True)]
        widths += [1.0 if i is None else i.width for i in intervals]
        if repeat < options.halved and (more := more_to_halve(tally, seed=repeat)):
            after = estimate(answered(tally, same, more, rng), seed=repeat)
            which = (lambda e: e.recall) if recall_is_wider(found) else (lambda e: e.precision)
            halved.append(which(after).width / which(found).width)
    covered, width = held / options.repeats, widths / options.repeats
    cells = [f"{t:.1%} | {c:.0%} | {w:.3f}" for t, c, w in zip(truth, covered, width, strict=True)]
    return f"| {name} | {' | '.join(cells)} | {np.mean(halved) if halved else float('nan'):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument(
        "--rounds", type=int, default=1, help="draw the pairs in so many rounds, each from what is known"
    )
    parser.add_argument("--draws", type=int, default=2000, help="draws of the posterior")
    parser.add_argument("--halved", type=int, default=0)
    parser.add_argument("--run", type=Path, nargs="+", default=[])
    parser.add_argument("--split", default="train")
    options = parser.parse_args()
    print("| case | precision | coverage | width | recall | coverage | width | near | coverage | width | halved |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    cases = (case for run in options.run for case in run_cases(run, options.split)) if options.run else drawn_cases()
    for case in cases:
        print(line_of(case, options), flush=True)


if __name__ == "__main__":
    main()
