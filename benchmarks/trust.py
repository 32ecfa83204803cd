"""Claim: a checkpoint chosen without labels loses at most 2 points of mAP against one chosen with labels.

    python benchmarks/trust.py RUN [RUN ...] [--data FOLDER] [--on train|gallery] [--cache DIR] [--json FILE]
    python benchmarks/trust.py RUN [RUN ...] --logs

A RUN is the folder of a run (its kept checkpoints are taken; its model where it has none), or a file of either. Every
model is scored on the labelled test of its data (`--data`: of that data set, which then also gives the images), and
measured without labels on unlabelled images: `--on train` the training split, `--on gallery` the gallery, which no
model was trained on. `--untrained` adds the backbone as it came. Prints a line a model, then for each data set, and
over all by the ranks within each: Spearman's correlation of each indicator and of the estimate with mAP, and the mAP
lost by taking the model that it puts first. `--cache` keeps what was measured, so that more runs can be added later.

`--logs` opens no model: it takes what the runs measured of themselves (`trust.every`), on their training images, at
every epoch that they also scored (`evaluate.every`); and says besides, for each run, what keeping the best epoch by
the estimate (`trust.keep=best`) gives against keeping the last, and where waiting 2 measurements would have ended it.
"""

import argparse
import dataclasses
import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr

from resight.artifacts import load_model
from resight.backbones import ReidModel, build_model
from resight.checkpoint import checkpoints, read_header, read_tensors, strip
from resight.config import Recipe
from resight.data.digests import default_cache_dir
from resight.data.formats import read_dataset
from resight.prepare import open_first_test, open_split
from resight.recipes import parse_recipe
from resight.runlog import read_events
from resight.trust import ESTIMATE, Indicators, choose, estimate
from resight.trust_run import measure

NAMES = [field.name for field in dataclasses.fields(Indicators)]


def models_of(given: Path) -> list[Path]:
    """The kept checkpoints of a run, or its model."""
    if given.is_file():
        return [given]
    return checkpoints(given / "checkpoints") or [given / "model.safetensors"]


def run_of(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def loaded(path: Path) -> tuple[ReidModel, Recipe]:
    """A model from either kind of file."""
    if read_header(path).get("kind") == "model":
        return load_model(path)
    recipe = recipe_of(path)
    tensors, _ = read_tensors(path)
    model = build_model(dataclasses.replace(recipe.backbone, weights="random"), size=recipe.input.height_width)
    model.load_state_dict(strip(tensors, "model/"))
    return model.eval(), recipe


def recipe_of(path: Path) -> Recipe:
    return parse_recipe(tomllib.loads((run_of(path) / "recipe.toml").read_text()))


def data_of(path: Path) -> Path:
    """What the run was trained on, from its log."""
    starts = [event for event in read_events(run_of(path) / "log.jsonl") if event["event"] == "start"]
    return Path(starts[-1]["data"]["root"])


def line_of(model: ReidModel, recipe: Recipe, data: Path, on: str) -> dict[str, float]:
    """True mAP, and all indicators."""
    dataset, size, cache = read_dataset(data), recipe.input.height_width, default_cache_dir()
    test = open_first_test(dataset, size, cache, skip_broken=True)
    assert test is not None, f"{data} has no labelled test"
    truth = test.evaluate(model, precision="float32", device=torch.device("cpu")).to_json()["mAP"]
    split, pixels = open_split({s.name: s for s in dataset.splits}[on], size, cache, skip_broken=True)
    found, _ = measure(model, pixels, torch.tensor(split.camids))
    return {"mAP": truth, **found.record()}


def measured(path: Path, options: argparse.Namespace, *, untrained: bool = False) -> dict:
    """A line of the table, from the cache where it is there."""
    data = options.data or data_of(path)
    name = f"untrained ({data.name})" if untrained else str(path.resolve())
    kept = None
    if options.cache:
        key = hashlib.sha256(f"{name} {data} {options.on} {'' if untrained else path.stat().st_mtime_ns}".encode())
        kept = options.cache / f"{key.hexdigest()[:16]}.json"
        if kept.is_file():
            return json.loads(kept.read_text())
    if untrained:
        recipe = recipe_of(path)
        model = build_model(recipe.backbone, size=recipe.input.height_width).eval()
    else:
        model, recipe = loaded(path)
    line = {"model": name, "data": data.name, **line_of(model, recipe, data, options.on)}
    if kept:
        options.cache.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(line))
    return line


def logged(run: Path) -> list[dict]:
    """A line for each epoch of a run that was both scored and measured."""
    events = read_events(run / "log.jsonl")
    start = [event for event in events if event["event"] == "start"][-1]
    scored = {event["epoch"]: event["mAP"] for event in events if event["event"] == "evaluation"}
    known = {event["epoch"]: event for event in events if event["event"] == "trust"}
    root = Path(start["data"]["root"])
    data = root.parent.name if root.suffix else root.name  # a manifest is known by its folder
    return [
        {"model": f"{run}, epoch {epoch}", "run": str(run), "epoch": epoch, "data": data}
        | {"mAP": scored[epoch]}
        | {name: known[epoch][name] for name in NAMES if name in known[epoch]}
        for epoch in sorted(scored.keys() & known.keys())
    ]


def report_choices(lines: list[dict]) -> None:
    """For each run, mAP of the last epoch, of the one that the estimate puts first, of the best, and of early stop."""
    print("\n| run | last epoch, mAP | best by estimate | best by labels | after waiting 2 |\n|---|---|---|---|---|")
    for run in dict.fromkeys(line["run"] for line in lines):
        trained = [line for line in lines if line["run"] == run and line["epoch"] > 0]
        if not trained or values_of(trained, "estimate") is None:
            continue
        values, truth = values_of(trained, "estimate"), [line["mAP"] for line in trained]
        highest = np.maximum.accumulate(values)
        waited = [at for at in range(2, len(values)) if highest[at] == highest[at - 2]]
        end = waited[0] if waited else len(values) - 1
        cells = [f"{truth[at]:.1%} ({trained[at]['epoch']})" for at in (-1, values.argmax(), np.argmax(truth), end)]
        print(f"| {run} | " + " | ".join(cells) + " |")


def of_line(line: dict) -> Indicators:
    return Indicators(**{name: line.get(name) for name in NAMES})


def values_of(lines: list[dict], name: str) -> np.ndarray | None:
    """One indicator, or the estimate, of all lines; None where some lack it."""
    if name != "estimate":
        found = [line.get(name) for line in lines]
    else:
        found = [known.value if (known := estimate(of_line(line))) else None for line in lines]
    return None if any(value is None for value in found) else np.array(found, dtype=float)


def report(lines: list[dict]) -> None:
    """Correlations and losses, for each data set and over all."""
    groups = {data: [x for x in lines if x["data"] == data] for data in dict.fromkeys(x["data"] for x in lines)}
    print(f"\nthe estimate is the geometric mean of {', '.join(ESTIMATE)}")
    print("| indicator | " + " | ".join(f"{data} ({len(x)}): rank corr., points lost" for data, x in groups.items()))
    for name in ["estimate", *NAMES]:
        cells, joint = [], []
        for group in groups.values():
            values, truth = values_of(group, name), np.array([line["mAP"] for line in group])
            if values is None or len(group) < 3:
                cells.append("-")
                continue
            lost = 100 * (truth.max() - truth[values.argmax()])
            cells.append(f"{spearmanr(values, truth)[0]:.2f}, {lost:.1f}")
            joint.append((rankdata(values) / len(values), rankdata(truth) / len(truth)))
        if joint:
            over_all = spearmanr(*(np.concatenate(x) for x in zip(*joint, strict=True)))[0]
            print(f"| {name} | " + " | ".join(cells) + f" | {over_all:.2f} |")
    for data, group in groups.items():
        best, taken = max(x["mAP"] for x in group), group[choose([of_line(x) for x in group])]
        print(f"{data}: best {best:.1%}, chosen {taken['mAP']:.1%} ({taken['model']})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--on", choices=("train", "gallery"), default="train")
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--logs", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.logs:
        lines = [line for run in options.runs for line in logged(run)]
        print(f"{len(lines)} models of {len(options.runs)} runs")
        report(lines)
        report_choices(lines)
        return
    paths = [path for given in options.runs for path in models_of(given)]
    jobs = [(path, False) for path in paths]
    if options.untrained:
        one_each = {options.data or data_of(path): path for path in paths}
        jobs += [(path, True) for path in one_each.values()]
    lines = []
    for path, untrained in jobs:
        line = measured(path, options, untrained=untrained)
        lines.append(line)
        shown = " ".join(f"{name} {line[name]:.3f}" for name in NAMES if name in line)
        print(f"{line['data']} mAP {line['mAP']:.1%} estimate {values_of([line], 'estimate')} {shown} {line['model']}")
    report(lines)
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
