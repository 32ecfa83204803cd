"""Claim: with stripes, colours and nearness in time beside the start weights' features first labels are far better.

    python benchmarks/first_labels.py DATA [--limit 5000]

Nothing is trained. For each kind of features of the *training* images, settings as the default recipe picks them: how
well each image finds its identity in other cameras (mAP and R1 among the training images, right ones of its own camera
left out), and precision and recall of the pairs that the first labels join. `--limit`: whole identities, up to so many
images. True identities serve for the figures alone.
"""

import argparse
import dataclasses
from pathlib import Path

import torch

from resight.audit import PositivesAudit
from resight.building import add_beside, build_parts, look, parts_at
from resight.data.digests import default_cache_dir
from resight.data.formats import read_dataset
from resight.data.times import without_false_times
from resight.evaluate import evaluate
from resight.mining import looked_at, mine_all
from resight.prepare import choose_device, input_size, open_split
from resight.recipes import load_recipe
from resight.run import seen
from resight.train import Parts, refill
from resight.types import Split

KINDS = {
    "start weights, standardised per camera": (0.0, 0.0, 0.0),
    "with stripes of weight 1": (1.0, 0.0, 0.0),
    "with colours of weight 1": (0.0, 1.0, 0.0),
    "with stripes of weight 1, colours of 0.5": (1.0, 0.5, 0.0),
    "with stripes of weight 1, colours of 1": (1.0, 1.0, 0.0),
    "with stripes of weight 1, colours of 2": (1.0, 2.0, 0.0),
    "colours alone (weight 100)": (0.0, 100.0, 0.0),
}
"""Weights of stripes, of colours and of nearness in time; lists as the default recipe has them without times."""

TIMED = {
    "with nearness in time of weight 0.4": (0.0, 0.0, 0.4),
    "with stripes of weight 1, colours of 2, nearness of 0.4": (1.0, 2.0, 0.4),
    "with stripes of weight 1, colours of 2 (lists as long as with times)": (1.0, 2.0, 0.0),
}
"""The same where the default recipe makes use of times, with lists as it then has them."""


def some(split: Split, limit: int) -> Split:
    """Keep whole identities, evenly drawn, up to `limit` images."""
    pids = sorted(set(split.pids))
    step = max(1, -(-len(split) // limit))
    kept = set(pids[::step])
    return dataclasses.replace(split, samples=tuple(sample for sample in split.samples if sample.pid in kept))


def row_of(name: str, parts: Parts, split: Split, weights: tuple[float, float, float]) -> str:
    """Measure one kind; the parts have stripes beside them, then colours, then nearness within each width."""
    widths = len(parts.recipe.miner.times_within)
    layers = len(parts.beside) - 1 - widths
    stripes, colours, times = weights
    each = [stripes] * layers + [colours] + [times] * widths
    parts.beside = tuple((rows, (weight,)) for (rows, _), weight in zip(parts.beside, each, strict=True))
    rows = looked_at(parts, 0.0).rows.data.cpu()
    found = evaluate(rows, rows, split, split)
    mined = mine_all(parts, lambda *_: None)
    audit = PositivesAudit(split.pids)
    for index in torch.arange(len(split)).split(512):
        audit.watch(index, mined.positives.dense(index))
    labels = audit.observed()
    pairs = f"{100 * (labels['precision'] or 0):.1f} / {100 * (labels['recall'] or 0):.1f}"
    return f"| {name} | {100 * found.mAP:.1f} / {100 * found.cmc[1]:.1f} | {pairs} |"


def main() -> None:
    """Measure all kinds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=5_000, help="images at most, of whole identities")
    options = parser.parse_args()
    split = some(without_false_times(read_dataset(options.data, None)).train, options.limit)
    recipe = load_recipe("auto")
    size = input_size(recipe.input, split.samples)
    recipe = dataclasses.replace(recipe, input=dataclasses.replace(recipe.input, size=size))
    split, pixels = open_split(split, size, default_cache_dir(), skip_broken=False, progress=None)
    device = choose_device("auto")
    plain, _ = look(recipe, seen(split, recipe), pixels, device, ("miner.times=[0, 0]",), lambda _: None)
    recipe, _ = look(recipe, seen(split, recipe), pixels, device, (), print)
    beside = dataclasses.replace(recipe.miner, stripes=(1.0, 1.0), colours=(1.0, 1.0))
    timed = TIMED if any(beside.times) else {}
    if not timed:
        beside = dataclasses.replace(beside, times_within=())
    recipe = dataclasses.replace(recipe, miner=beside)
    parts, _ = build_parts(recipe, seen(split, recipe), pixels, device, ("auto", Path()))
    add_beside(parts)
    refill(parts, 1)
    print(f"\n{options.data.name}: {len(split):,} training images, {len(set(split.pids))} identities\n")
    print(
        "| labels are mined from | mAP / R1 across cameras, % | first labels: pairs right / found, % |\n|---|---|---|"
    )
    for kinds, settled in ((KINDS, plain), (timed, recipe)):
        parts.miner = parts_at(settled, 0.0)[0]
        for name, weights in kinds.items():
            print(row_of(name, parts, split, weights), flush=True)


if __name__ == "__main__":
    main()
