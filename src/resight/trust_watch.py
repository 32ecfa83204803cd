"""The estimate of a run's quality without labels, taken while it trains: its log, its printed line, its curve."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from resight.mining import Mined
from resight.runlog import RunLog
from resight.train import Parts
from resight.trust import estimate
from resight.trust_labels import inside, labels_kept
from resight.trust_lists import Neighbours
from resight.trust_run import measure


class TrustWatch:
    """Measures the model every so many epochs, and how much its clusters have changed since the last time."""

    def __init__(self, parts: Parts, log: RunLog) -> None:
        self.parts, self.log = parts, log
        self.earlier: Neighbours | None = None
        self.clusters: Tensor | None = None

    def is_due(self, epoch: int) -> bool:
        """Whether the recipe asks for an estimate after `epoch`; 0 is before the first."""
        every = self.parts.recipe.trust.every
        return every > 0 and (epoch % every == 0 or epoch == self.parts.recipe.train.epochs)

    def after(self, epoch: int) -> None:
        """Measure and log, where it is due. Weights, modes and random numbers of the training stay as they are."""
        if not self.is_due(epoch):
            return
        parts = self.parts
        with torch.random.fork_rng(devices=[]):
            found, self.earlier = measure(
                parts.result, parts.pixels, parts.camids.cpu(), earlier=self.earlier, precision=parts.precision
            )
        found = replace(found, **self.of_labels(parts.mined))
        best = estimate(found)
        said: dict[str, Any] = {} if best is None else {"estimate": round(best.value, 4), "rests_on": best.rests_on}
        self.log.event("trust", epoch=epoch, **said, **found.record())

    def of_labels(self, mined: Mined | None) -> dict[str, float | None]:
        """Tell what share of the labels stayed since the last time, and what share of images is in a cluster."""
        if mined is None or mined.pseudo_pid is None:
            return {}
        kept = None if self.clusters is None else labels_kept(mined.pseudo_pid, self.clusters)
        self.clusters = mined.pseudo_pid
        return {"labels_kept": kept, "inside": inside(mined.pseudo_pid)}
