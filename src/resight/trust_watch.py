"""The estimate of a run's quality without labels, taken while it trains: its log, and what the run decides by it."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resight.artifacts import BEST_BY_ESTIMATE, CHOSEN
from resight.config import Recipe
from resight.kept import BestSoFar
from resight.mining import Mined
from resight.runlog import RunLog
from resight.train import Parts
from resight.trust import estimate
from resight.trust_labels import inside, labels_kept
from resight.trust_lists import Neighbours
from resight.trust_run import measure

SO_FAR = "trust/so_far"
"""Of a checkpoint: the highest estimate so far, and for how many measurements it has not risen."""


def best_by_estimate(out: Path, recipe: Recipe, first_epoch: int, earlier: Mapping[str, Tensor]) -> BestSoFar | None:
    """Keep the best model so far by the estimate without labels, where the recipe asks for it.

    `earlier`: what the checkpoint before `first_epoch` holds.

    Raises:
        CheckpointError: epochs before `first_epoch` were measured, and the best model of them is not there.
    """
    if recipe.trust.keep != "best":
        return None
    return BestSoFar(
        out / BEST_BY_ESTIMATE,
        CHOSEN,
        recipe,
        value=lambda scores: float(scores["estimate"]),
        first_epoch=first_epoch,
        expected=SO_FAR in earlier and float(earlier[SO_FAR][0]) >= 0,
    )


def is_due(recipe: Recipe, epoch: int) -> bool:
    """Whether the recipe asks for an estimate after `epoch`; 0 is before the first."""
    return recipe.trust.every > 0 and (epoch % recipe.trust.every == 0 or epoch == recipe.train.epochs)


def counts(recipe: Recipe, epoch: int) -> bool:
    """Whether an epoch's estimate may decide anything: not before labels are mined."""
    return is_due(recipe, epoch) and epoch > recipe.train.warmup_epochs


class TrustWatch:
    """Measures the model every so many epochs, and how much its clusters have changed since the last time.

    Must be told of an epoch before its checkpoint is written, which holds `state`.
    """

    def __init__(self, parts: Parts, log: RunLog, best: BestSoFar | None = None) -> None:
        self.parts, self.log, self.best = parts, log, best
        self.earlier: Neighbours | None = None
        self.clusters: Tensor | None = None
        self.highest, self.not_risen = -1.0, 0

    def after(self, epoch: int) -> None:
        """Measure and log, where it is due. Weights, modes and random numbers of the training stay as they are."""
        parts = self.parts
        if not is_due(parts.recipe, epoch):
            return
        with torch.random.fork_rng(devices=[]):
            found, self.earlier = measure(
                parts.result, parts.pixels, parts.camids.cpu(), earlier=self.earlier, precision=parts.precision
            )
        found = replace(found, **self.of_labels(parts.mined))
        measured = estimate(found)
        said: dict[str, Any] = {}
        if measured is not None:
            said = {"estimate": round(measured.value, 4), "rests_on": measured.rests_on}
            if counts(parts.recipe, epoch):
                self.consider(epoch, said)
        self.log.event("trust", epoch=epoch, **said, **found.record())

    def consider(self, epoch: int, said: dict[str, Any]) -> None:
        """Take note of a trained model's estimate."""
        risen = said["estimate"] > self.highest
        self.not_risen = 0 if risen else self.not_risen + 1
        self.highest = max(self.highest, said["estimate"])
        if self.best is not None:
            self.best.consider(epoch, said, self.parts.result, self.parts.precision)

    @property
    def has_enough(self) -> bool:
        """Whether training should end: the estimate has not risen for as long as the recipe waits."""
        return 0 < self.parts.recipe.trust.patience <= self.not_risen

    def of_labels(self, mined: Mined | None) -> dict[str, float | None]:
        """Tell what share of the labels stayed since the last time, and what share of images is in a cluster."""
        if mined is None or mined.pseudo_pid is None:
            return {}
        kept = None if self.clusters is None else labels_kept(mined.pseudo_pid, self.clusters)
        self.clusters = mined.pseudo_pid
        return {"labels_kept": kept, "inside": inside(mined.pseudo_pid)}

    def state(self) -> dict[str, Tensor]:
        """Give what the next measurements need of the earlier ones, for a checkpoint."""
        tensors = {SO_FAR: torch.tensor([self.highest, self.not_risen], dtype=torch.float64)}
        if self.earlier is not None:
            tensors |= {f"trust/{field.name}": getattr(self.earlier, field.name) for field in fields(Neighbours)}
        if self.clusters is not None:
            tensors["trust/clusters"] = self.clusters
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""
        if SO_FAR not in tensors:
            return
        highest, not_risen = tensors[SO_FAR].tolist()
        self.highest, self.not_risen = highest, int(not_risen)
        self.clusters = tensors.get("trust/clusters")
        if "trust/index" in tensors:
            self.earlier = Neighbours(**{field.name: tensors[f"trust/{field.name}"] for field in fields(Neighbours)})
