"""Every miner with every loss on one data set, a short run each: the table of docs/results.md.

    python benchmarks/pairs.py DATA [--epochs 2] [--seeds 1] [--jobs 2] [--out runs/pairs] [--set key=value ...]

All runs share the recipe gsmlp's settings (the small-data ones below 5,000 images) and differ in miner and loss alone.
Mining starts with the first epoch. Each run uses one thread. `--candidates LEAST MOST` bounds the candidates of the
graph miners; KNN takes the upper bound as its k. The miner cluster, which has no candidates, is left out:
benchmarks/label_free.py compares it. The runs stay in `--out`, so that an interrupted table goes on where it stopped.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from resight.losses import LOSSES
from resight.miners import MINERS
from resight.runlog import read_events

PAIRED = [name for name in MINERS if name != "cluster"]


def settings_of(miner: str, loss: str, options: argparse.Namespace) -> list[str]:
    """The --set flags of one pair."""
    settings = [f"miner.name={miner}", f"loss.name={loss}", "train.warmup_epochs=0", "evaluate.every=0", *options.set]
    least, most = options.candidates
    if miner == "knn":
        settings.append(f"miner.k={most}")
    elif miner != "self_only":
        settings += [f"miner.tau={options.tau}", f"miner.min_candidates={least}", f"miner.max_candidates={most}"]
    return [word for setting in settings for word in ("--set", setting)]


def run(job: tuple[str, str, int], options: argparse.Namespace) -> Path:
    """Train one pair with one seed, unless that is done already."""
    miner, loss, seed = job
    out = options.out / options.data.name / f"{miner}-{loss}-{seed}"
    if not (out / "summary.json").is_file():
        command = [sys.executable, "-m", "resight.cli", "train", str(options.data), "--recipe", "gsmlp", "--overwrite"]
        command += ["--epochs", str(options.epochs), "--seed", str(seed), "--out", str(out)]
        command += settings_of(miner, loss, options)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            sys.exit(f"{miner} x {loss} failed:\n{done.stdout}{done.stderr}")
    return out


def line_of(out: Path) -> str:
    """One row of the table."""
    summary = json.loads((out / "summary.json").read_text())
    last = [event for event in read_events(out / "log.jsonl") if event["event"] == "epoch"][-1]
    miner, loss, seed = out.name.rsplit("-", 2)
    before, after = summary["untrained"], summary["trained"]
    precision = "-" if last["precision"] is None else f"{last['precision']:.1%}"
    return (
        f"| {miner} | {loss} | {seed} | {before['mAP']:.1%} / {before['cmc']['1']:.1%} | {after['mAP']:.1%} / "
        f"{after['cmc']['1']:.1%} | {precision} | {last['recall']:.1%} | {last['positives_per_image']:.1f} "
        f"| {summary['seconds']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tau", type=float, default=0.2)
    parser.add_argument("--candidates", type=int, nargs=2, default=(8, 12), metavar=("LEAST", "MOST"))
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for all runs")
    options = parser.parse_args()
    losses = [name for name in LOSSES if name != "camera"]  # which compares with rows of cameras, not of images
    jobs = list(product(PAIRED, losses, options.seeds))
    print("| miner | loss | seed | untrained mAP / R1 | trained mAP / R1 | precision | recall | positives | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    with ThreadPoolExecutor(options.jobs) as pool:
        for out in pool.map(lambda job: run(job, options), jobs):
            print(line_of(out), flush=True)


if __name__ == "__main__":
    main()
