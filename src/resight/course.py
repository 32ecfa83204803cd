"""The course of a run in its folder: score, train, score, keep a model, write the summary."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resight.artifacts import save_model, summarise
from resight.audit import PositivesAudit
from resight.checkpoint import AVERAGE, prefixed, save_checkpoint
from resight.prepare import TestImages
from resight.quirks import best_on_test
from resight.run_folder import last_epoch
from resight.runlog import RunLog
from resight.train import Hooks, Parts, evaluation_is_due, train
from resight.trust_watch import TrustWatch, best_by_estimate
from resight.types import Split


@dataclass(frozen=True)
class Context:
    """What stands beside the parts during a run; identities live here, not in the parts."""

    split: Split
    test_set: TestImages | None
    header: dict[str, Any]
    log: RunLog


class Course:
    """Takes a run from its first epoch, or from where it was left, to its model and summary."""

    def __init__(
        self, out: Path, parts: Parts, context: Context, first_epoch: int, earlier: Mapping[str, Tensor]
    ) -> None:
        """Begin, or go on at `first_epoch`; `earlier`: what the last checkpoint held beside the parts.

        Raises:
            CheckpointError: the best model of the epochs before `first_epoch` is missing.
        """
        self.out, self.parts, self.context, self.first_epoch = out, parts, context, first_epoch
        self.recipe, self.epochs = parts.recipe, parts.recipe.train.epochs
        on_test = self.recipe.evaluate.keep_best_on_test_rank1
        self.best = best_on_test(out, self.recipe, first_epoch) if on_test else None
        self.by_estimate = best_by_estimate(out, self.recipe, first_epoch, earlier)
        self.trust = TrustWatch(parts, context.log, self.by_estimate)
        self.trust.restore(earlier)

    def run(self) -> dict[str, Any]:
        """Evaluate, train, evaluate, write; gives the summary.

        Raises:
            CheckpointError: a file cannot be written.
        """
        log = self.context.log
        if self.first_epoch == 1:
            self.score(0)
            self.trust.after(0)
        if not self.trust.has_enough:
            watch, observed = audit_hooks(self.context.split, self.parts.device)
            train(self.parts, Hooks(log, watch, observed, self.after_epoch), first_epoch=self.first_epoch)
        last = last_epoch(self.out)
        if self.trust.has_enough and last < self.epochs:
            waited = {"highest_estimate": self.trust.highest, "measurements": self.trust.not_risen}
            log.event("stopped", epoch=last, epochs=self.epochs, **waited)
        self.score(last)  # here, so that a run killed after its last checkpoint is scored when it is resumed
        self.write_model(last)
        summary = summarise(self.out)
        log.event("end", seconds=summary["seconds"], images_per_second=summary["images_per_second"])
        return summary

    def score(self, epoch: int) -> None:
        """Score the model against the test, where there is one."""
        parts, test_set = self.parts, self.context.test_set
        if test_set is not None:
            result = test_set.evaluate(parts.result, precision=parts.precision, device=parts.device)
            self.context.log.event("evaluation", epoch=epoch, **result.to_json())
            if self.best is not None and epoch > 0:
                self.best.consider(epoch, result.to_json(), parts.result, parts.precision)

    def after_epoch(self, epoch: int) -> bool:
        """Measure, score and save what is due; whether to go on."""
        parts = self.parts
        self.trust.after(epoch)
        wanted = self.best is not None or not self.trust.has_enough  # the last epoch of all is scored by `run`
        due = epoch < self.epochs and wanted and evaluation_is_due(self.recipe, epoch)
        if due and self.best is not None:
            self.score(epoch)
        save_checkpoint(
            self.out / "checkpoints",
            epoch,
            parts.model,
            parts.optimizer,
            parts.memory,
            self.context.header,
            more=average_of(parts) | self.trust.state(),
        )
        if due and self.best is None:
            self.score(epoch)
        return not self.trust.has_enough

    def write_model(self, last: int) -> None:
        """Write the model that is left behind: of the last epoch, or of the one that the recipe chooses."""
        parts, kept = self.parts, self.best or self.by_estimate
        if self.by_estimate is not None and self.by_estimate.any:
            self.context.log.event("kept", epoch=self.by_estimate.epoch, estimate=self.by_estimate.best)
            if self.by_estimate.epoch != last:
                self.by_estimate.restore(parts.result)
                self.score(self.by_estimate.epoch)
        if kept is not None and kept.any:
            kept.keep(self.out / "model.safetensors")
        else:
            save_model(self.out / "model.safetensors", parts.result, self.recipe, parts.precision)


def audit_hooks(split: Split, device: torch.device) -> tuple[Any, Any]:
    """Watch the mined positives where identities are known; do nothing elsewhere."""
    if split.pids is None:
        return (lambda index, positives: None), dict
    audit = PositivesAudit(split.pids, device)
    return audit.watch, audit.observed


def average_of(parts: Parts) -> dict[str, Tensor]:
    """Give the averaged model's weights for a checkpoint; none where there is none."""
    return {} if parts.average is None else prefixed(AVERAGE, parts.average.state_dict())
