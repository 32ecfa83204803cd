"""Every method of label-free training on one data set, and the same network trained with labels under the same budget.

    python benchmarks/label_free.py DATA [--methods auto ceiling ...] [--seeds 1 2 3] [--jobs 2] [--fold 0]

`ceiling` is the default recipe with the true identities in place of its clusters: what labels would have given. It is
this script's own; no flag of the trainer reads an identity. The `auto-…` methods switch one part of the default off, or
add one. `--fold` trains on one half of the *training* identities and scores on the other half, which is what settings
may be chosen on; without it the data set's own test is scored. Each run uses one thread. The runs stay in `--out`, so
that an interrupted table goes on where it stopped.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import torch

from resight import cli, mining
from resight.clustering import numbered
from resight.data.formats import read_dataset

SMALL = ["backbone.name=efficientnet_lite0", "backbone.last_stride=2", "input.long_side=128"]

METHODS: dict[str, tuple[str, list[str]]] = {
    "mmcl": ("mmcl", SMALL),
    "gsmlp": ("gsmlp", SMALL),
    "ssml": ("ssml", SMALL),
    "cluster": ("cluster", SMALL),
    "auto": ("auto", []),
    "ceiling": ("auto", []),
    "auto-no-cameras": ("auto", ["data.use_cameras=false"]),
    "auto-no-stripes": ("auto", ["miner.stripes=[0, 0]"]),
    "auto-no-colours": ("auto", ["miner.colours=[0, 0]"]),
    "auto-no-times": ("auto", ["miner.times=[0, 0]"]),
    "auto-no-stripes-no-colours": ("auto", ["miner.stripes=[0, 0]", "miner.colours=[0, 0]"]),
    "auto-no-standardising": ("auto", ["miner.by_camera=false"]),
    "auto-one-list": ("auto", ["miner.across_cameras=false", "miner.k1=11"]),
    "auto-seen-often": ("auto", ["miner.once_per_camera=false"]),
    "auto-dbscan": ("auto", ["miner.once_per_camera=false", "miner.algorithm=dbscan", "miner.eps=0.5"]),
    "auto-infomap": ("auto", ["miner.once_per_camera=false", "miner.algorithm=infomap", "miner.eps=0.5"]),
    "auto-eps-fixed": ("auto", ["miner.eps=0.8"]),
    "auto-cluster-rows": ("auto", ["memory.rows=cluster", "loss.name=infonce"]),
    "auto-instance-rows": ("auto", ["memory.rows=instance", "loss.name=infonce", "train.per_identity=0"]),
    "auto-shuffled": ("auto", ["train.per_identity=0"]),
    "auto-outliers-dropped": ("auto", ["memory.outliers=dropped"]),
    "auto-batchnorm-learnt": ("auto", ["train.freeze_batchnorm=false"]),
    "auto+ranks": ("auto", ["miner.refine=ranks"]),
    "auto+ranks-weighed": ("auto", ["miner.refine=ranks", "miner.refine_how=weigh"]),
    "auto+adjacency": ("auto", ["miner.refine=adjacency"]),
    "auto+average": ("auto", ["train.average=0.98"]),
    "auto+hybrid": ("auto", ["memory.instance_share=0.3"]),
    "auto+damping": ("auto", ["memory.damping=0.5"]),
    "auto+hard-positives": ("auto", ["loss.hard_positives=1"]),
    "auto+hard": ("auto", ["memory.proxy_update=hard"]),
}


def run(job: tuple[str, int], options: argparse.Namespace, data: Path) -> Path:
    """Train one method with one seed, unless that is done already."""
    method, seed = job
    out = options.out / name_of(options) / f"{method}={seed}"
    if not (out / "summary.json").is_file():
        recipe, settings = METHODS[method]
        command = [sys.executable, "-m", "resight.cli"]
        if method == "ceiling":
            command = [sys.executable, __file__, "--with-identities"]
        command += ["train", str(data), "--recipe", recipe, "--overwrite", "--seed", str(seed), "--out", str(out)]
        command += ["--epochs", str(options.epochs)] if options.epochs else []
        for setting in [*settings, *options.set]:
            command += ["--set", setting]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        if done.returncode:
            print(f"{method}, seed {seed} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}", file=sys.stderr)
    return out


def name_of(options: argparse.Namespace) -> str:
    """Folder of a data set's runs with these settings."""
    epochs = [f"epochs={options.epochs}"] if options.epochs else []
    changes = "".join(f",{change}" for change in (*options.set, *epochs))
    fold = "" if options.fold is None else f"-fold{options.fold}"
    return options.data.name + fold + changes.replace("/", "_").replace(" ", "")


def folded(options: argparse.Namespace) -> Path:
    """Write a manifest of half of the training identities to train on, and the other half to score on."""
    train = read_dataset(options.data, None).train
    pids = sorted(set(train.pids or ()))
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(0)).tolist()
    first = {pids[at] for at in order[: len(pids) // 2]}
    path = options.out / name_of(options) / "data.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    asked: set[tuple[int | None, int | None]] = set()
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "pid", "camid", "split"])
        for sample in train:
            row = [sample.path.resolve(), sample.pid, sample.camid]
            if (sample.pid in first) == (options.fold == 0):
                table.writerow([*row, "train"])
                continue
            table.writerow([*row, "gallery"])
            if (sample.pid, sample.camid) not in asked:
                asked.add((sample.pid, sample.camid))
                table.writerow([*row, "query"])
    return path


def train_with_identities() -> None:
    """Run `resight train` with a clustering that gives the true identities: the ceiling."""
    data = Path(sys.argv[sys.argv.index("train") + 1])
    pids = torch.tensor(read_dataset(data, None).train.pids)
    mining.clustered = lambda *_: numbered(pids.numpy())
    sys.argv = ["resight", *sys.argv[2:]]
    cli.main()


def line_of(method: str, outs: list[Path]) -> str:
    """One row of the table: each seed's scores and their mean."""
    found = [json.loads((out / "summary.json").read_text()) for out in outs if (out / "summary.json").is_file()]
    if not found:
        return f"| {method} | failed | | |"
    scores = [(100 * summary["trained"]["mAP"], 100 * summary["trained"]["cmc"]["1"]) for summary in found]
    each = ", ".join(f"{mean_ap:.1f}/{rank1:.1f}" for mean_ap, rank1 in scores)
    mean = " / ".join(f"{statistics.mean(column):.1f}" for column in zip(*scores, strict=True))
    return f"| {method} | {each} | **{mean}** | {statistics.mean(summary['seconds'] for summary in found):.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", nargs="+", default=[*METHODS], choices=[*METHODS], metavar="METHOD")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=0, help="0: each recipe's own")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fold", type=int, choices=(0, 1), default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/label_free"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for all runs")
    options = parser.parse_args()
    data = options.data if options.fold is None else folded(options)
    jobs = list(product(options.methods, options.seeds))
    with ThreadPoolExecutor(options.jobs) as pool:
        outs = dict(zip(jobs, pool.map(lambda job: run(job, options, data), jobs), strict=True))
    summary = json.loads((outs[jobs[0]] / "summary.json").read_text())
    untrained = summary["untrained"]
    print(f"untrained: {100 * untrained['mAP']:.1f} / {100 * untrained['cmc']['1']:.1f}; {summary['machine']}\n")
    print("| method | mAP/R1 of each seed, % | mean | seconds |\n|---|---|---|---|")
    for method in options.methods:
        print(line_of(method, [outs[method, seed] for seed in options.seeds]))


if __name__ == "__main__":
    if "--with-identities" in sys.argv:
        train_with_identities()
    else:
        main()
