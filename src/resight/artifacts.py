"""What a run leaves behind: summary and model; and reading a model back."""

import dataclasses
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from resight import __version__
from resight.backbones import ReidModel, build_model
from resight.checkpoint import read_header, read_tensors, write_tensors
from resight.config import Recipe
from resight.data.transforms import Normalisation
from resight.errors import CheckpointError
from resight.recipes import as_tables, parse_recipe
from resight.runlog import read_events
from resight.whole_files import replacing

BEST_ON_TEST = "best-on-test.safetensors"
"""The best model so far of a run that selects on the test queries (docs/published_quirks.md)."""

SELECTED = "selected_on_test"
"""Where the header of that file holds its epoch and scores."""

BEST_BY_ESTIMATE = "best-by-estimate.safetensors"
"""The best model so far of a run that keeps the one with the highest estimate without labels (docs/trust.md)."""

CHOSEN = "chosen_by_estimate"
"""Where the header of that file holds its epoch and estimate."""


def machine() -> str:
    """Describe the machine in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"


def summarise(out: Path) -> dict[str, Any]:
    """Draw the summary from the log, so that it covers the parts of a resumed run, and write it."""
    events = read_events(out / "log.jsonl")
    start = [e for e in events if e["event"] == "start"][-1]
    epochs = {e["epoch"]: e for e in events if e["event"] == "epoch"}
    scores = {
        e["epoch"]: {k: value for k, value in e.items() if k not in ("event", "time", "epoch")}
        for e in events
        if e["event"] == "evaluation"
    }
    seconds = sum(e["seconds"] for e in epochs.values())
    summary = {
        "recipe": start["recipe"]["name"],
        "data": start["data"],
        "backbone": start["recipe"]["backbone"],
        "input": start["recipe"]["input"]["size"],
        "seed": start["seed"],
        "epochs": len(epochs),
        "seconds": round(seconds, 2),
        "images_per_second": round(len(epochs) * start["data"]["train"] / max(seconds, 1e-9), 2),
        "precision": start["precision"],
        "machine": start["machine"],
        "command": start["command"],
        "version": start["version"],
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    if scores:
        summary |= {"untrained": scores.get(0), "trained": scores.get(max(scores))}
    estimates = [e for e in events if e["event"] == "trust" and "estimate" in e]
    if estimates:
        summary["estimate_without_labels"] = {"epoch": estimates[-1]["epoch"], "estimate": estimates[-1]["estimate"]}
    stopped = [e for e in events if e["event"] == "stopped"]
    if stopped:
        summary["stopped_after"] = stopped[-1]["epoch"]
    if start.get("choices"):
        summary["picked"] = start["choices"]
    if start.get("caveats"):
        summary["caveats"] = start["caveats"]
    if "camstyle" in start:
        summary["camstyle"] = start["camstyle"]
    if start["recipe"]["evaluate"].get("keep_best_on_test_rank1"):
        best = read_header(out / BEST_ON_TEST)[SELECTED]
        summary |= {"kept_epoch": best.pop("epoch"), "last_epoch": summary["trained"], "trained": best}
    if start["recipe"].get("trust", {}).get("keep") == "best" and (out / BEST_BY_ESTIMATE).exists():
        chosen = read_header(out / BEST_BY_ESTIMATE)[CHOSEN]
        summary |= {"kept_epoch": chosen["epoch"], "estimate_without_labels": chosen}
        if scores:
            summary |= {"last_epoch": summary["trained"], "trained": scores.get(chosen["epoch"])}
    write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def write_text(path: Path, text: str) -> None:
    """Write a small file so that it holds either its old content or all of the new.

    Raises:
        CheckpointError: it cannot be written, or the text is none that UTF-8 can hold.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_model(path: Path, model: ReidModel, recipe: Recipe, precision: str, **more: Any) -> None:
    """Write the weights with all that is needed to use them: recipe, input normalisation; `more` joins the header."""
    header = {
        "kind": "model",
        "recipe": as_tables(recipe),
        "precision": precision,
        "version": __version__,
        "normalisation": dataclasses.asdict(model.normalisation),
        **more,
    }
    write_tensors(path, model.state_dict(), header)


def load_model(run: Path, device: torch.device | str = "cpu") -> tuple[ReidModel, Recipe]:
    """Load a trained model from a run folder or its model.safetensors.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = run / "model.safetensors" if run.is_dir() else run
    if run.is_dir() and not path.exists() and (run / "recipe.toml").exists():
        raise CheckpointError(f"{run} holds an unfinished run; finish it with resight train … --resume")
    tensors, header = read_tensors(path)
    if header.get("kind") != "model":
        raise CheckpointError(f"{path} is a training checkpoint, not a model; give the run folder or model.safetensors")
    recipe = parse_recipe(header["recipe"])
    model = build_model(dataclasses.replace(recipe.backbone, weights="random"), size=recipe.input.height_width)
    model.load_state_dict(tensors)
    model.normalisation = Normalisation(**{k: tuple(v) for k, v in header["normalisation"].items()})
    return model.to(device).eval(), recipe
