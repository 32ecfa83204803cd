"""What a calibration claims against what is so, on data with identities: the table of docs/results.md.

    python benchmarks/calibration.py RUN DATA [--split train] [--answers 200] [--draws 5] [--rates 1e-2 1e-3 1e-4]

For each source and asked false-match rate: the true one, the true-match rate there, and the error of the probability
among the best-scoring 1 % and 0.1 % of all pairs (cells of equal mass; over all pairs any curve's error is next to
nothing). "identities" learns from one half of the identities and is checked on the other. "answers" are simulated from
identities, half drawn evenly over the pairs and half evenly over log shares of the best-scoring; mean over `--draws`.
"cameras" reads no identity. "-": too few pairs for the rate.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from resight.calibrate import Curve
from resight.calibration_check import Check, check_counts
from resight.calibration_run import CalibrateRequest, open_scored
from resight.calibration_sources import Learnt, Scored, count_by_identity, from_answers, from_identities, from_images
from resight.errors import ConfigError, DataError
from resight.pair_answers import PairAnswer, picture_name

POOL = 100_000
"""Pairs that simulated answers are drawn from."""

FIELDS = ("false_match_rate", "true_match_rate")


def half(scored: Scored, pids: Sequence[int], which: int) -> Scored:
    """The images of every other identity."""
    ranks = {pid: rank for rank, pid in enumerate(sorted(set(pids)))}
    at = tuple(i for i, pid in enumerate(pids) if ranks[pid] % 2 == which)
    return replace(scored, embeddings=scored.embeddings[list(at)], split=scored.split.at(at))


def simulated_answers(scored: Scored, pids: Sequence[int], count: int, seed: int) -> list[PairAnswer]:
    """Answers as a person would give them, half to any pairs and half to the best-scoring, with their weights."""
    generator = torch.Generator().manual_seed(seed)
    n = len(pids)
    i, j = torch.randint(n, (2, POOL), generator=generator)
    pairs = torch.stack([i, j], dim=1)[i < j]
    scores = (scored.embeddings[pairs[:, 0]] * scored.embeddings[pairs[:, 1]]).sum(dim=1)
    order = scores.argsort(descending=True)
    rank = torch.empty(len(order)).scatter_(0, order, torch.arange(1.0, len(order) + 1))
    chance = 0.5 / len(order) + 0.5 / (rank * rank.reciprocal().sum())
    drawn = torch.multinomial(chance, count, generator=generator)
    names = [picture_name(sample, scored.root) for sample in scored.split]
    answers = {}
    for at in drawn.tolist():
        a, b = pairs[at].tolist()
        answers[a, b] = PairAnswer(names[a], names[b], pids[a] == pids[b], float(1 / (chance[at] * count)))
    return list(answers.values())


def row(name: str, rate: float, checks: Sequence[Check]) -> str:
    """One line of the table: means over the draws."""
    mean = [sum(getattr(check, field) for check in checks) / len(checks) for field in FIELDS]
    errors = [sum(check.errors[k] for check in checks) / len(checks) for k in (0, 1)]
    return f"| {name} | {rate:g} | {mean[0]:.2e} | {mean[1]:.1%} | {errors[0]:.3f} | {errors[1]:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-2, 1e-3, 1e-4])
    options = parser.parse_args()
    request = CalibrateRequest(options.run, options.data, split=options.split)
    scored = open_scored(request, print, lambda title: lambda done, total: None)
    known = [i for i, sample in enumerate(scored.split) if sample.pid is not None and sample.pid >= 0]
    scored = replace(scored, embeddings=scored.embeddings[known], split=scored.split.at(tuple(known)))
    pids = scored.split.pids or ()
    counts = count_by_identity(scored).sum(0)
    other = half(scored, pids, 1)
    other_counts = count_by_identity(other).sum(0)
    print(f"{options.data.name} {options.split}: {len(scored.split):,} images, same pairs {counts[1].sum():,.0f} of "
          f"{counts.sum():,.0f}\n")  # fmt: skip
    print("| source | asked rate | false-match rate | true-match rate | error, best 1 % | error, best 0.1 % |")
    print("|---|---|---|---|---|---|")

    def told(name: str, rate: float, learnt: Sequence[Learnt], same: torch.Tensor, different: torch.Tensor) -> None:
        curves: list[Curve] = [one.overall for one in learnt]
        print(row(name, rate, [check_counts(curve, same, different) for curve in curves]), flush=True)

    for rate in options.rates:
        jobs = {
            "identities, other half": lambda: [from_identities(half(scored, pids, 0), rate)],  # noqa: B023
            f"answers, {options.answers}": lambda: [
                from_answers(scored, simulated_answers(scored, pids, options.answers, seed), rate)  # noqa: B023
                for seed in range(options.draws)
            ],
            "cameras": lambda: [from_images(scored, rate)],  # noqa: B023
        }
        for name, learn in jobs.items():
            held = other_counts if name.startswith("identities") else counts
            try:
                told(name, rate, learn(), held[1], held[0])
            except (ConfigError, DataError) as error:
                print(f"| {name} | {rate:g} | - | - | - | {error} |")


if __name__ == "__main__":
    main()
