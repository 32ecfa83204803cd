"""What an audit is of: its model, images, threshold and strata, kept beside its pairs."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from resight.errors import DataError
from resight.pair_answers import PairAnswer
from resight.pair_audit import Tally
from resight.pair_sampling import PER_UNIT, Strata, bin_of, first_predicted
from resight.runlog import read_events


@dataclass(frozen=True)
class AuditPlan:
    """The audit's choices, and the pairs there are in each stratum, highest scores first."""

    model: str
    data: str
    format: str | None
    split: str
    images: int
    across_cameras: bool
    threshold: float
    threshold_from: str
    seed: int
    lowest: tuple[int, ...]
    above: int
    near: int
    sizes: tuple[int, ...]

    @property
    def strata(self) -> Strata:
        """The strata of scores."""
        return Strata(self.lowest, self.above, self.near)

    @property
    def floor(self) -> float:
        """The score above which the recall among near pairs counts."""
        return self.threshold + (self.lowest[self.near - 1] - first_predicted(self.threshold)) / PER_UNIT

    def strata_of(self, answers: Sequence[PairAnswer]) -> Int[np.ndarray, " n"]:
        """The stratum of each pair.

        Raises:
            DataError: a pair has no score.
        """
        for answer in answers:
            if answer.score is None:
                raise DataError(f"the pair {answer.left} and {answer.right} has lost its score; restore pairs.csv")
        scores = torch.tensor([answer.score for answer in answers], dtype=torch.float32)
        return self.strata.of_bins()[bin_of(scores, self.threshold).numpy()]

    def to_json(self) -> dict[str, Any]:
        """Give what `load_plan` reads."""
        return dataclasses.asdict(self)


def tally(plan: AuditPlan, answers: Sequence[PairAnswer]) -> Tally:
    """Count pairs, and those that are the same, in each stratum."""
    at, strata = plan.strata_of(answers), len(plan.sizes)
    asked = np.bincount(at, minlength=strata)
    yes = np.bincount(at[[answer.same is True for answer in answers]], minlength=strata)
    return Tally(np.array(plan.sizes), asked, yes, plan.above, plan.near)


def load_plan(file: Path) -> AuditPlan | None:
    """Read a plan; None where there is no such file.

    Raises:
        DataError: it cannot be read, or is none.
    """
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return AuditPlan(**{**content, "lowest": tuple(content["lowest"]), "sizes": tuple(content["sizes"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file} must be what `resight audit` wrote ({error}); restore it or give another --out") from (
            error
        )


def model_digest(run: Path) -> str:
    """Give the SHA-256 of the run's model, hexadecimal; empty where there is none."""
    path = run / "model.safetensors" if run.is_dir() else run
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_of(run: Path, format: str | None = None) -> tuple[Path, str]:
    """Give the folder of images that a run's log names, and `format` or else its format.

    Raises:
        DataError: the log names none, or nothing is there any more.
    """
    log = (run if run.is_dir() else run.parent) / "log.jsonl"
    start = [e for e in read_events(log) if e["event"] == "start"] if log.is_file() else []
    if not start:
        raise DataError(f"{log} does not say which data the run used; give DATA")
    root = Path(start[-1]["data"]["root"])
    if not root.exists():
        raise DataError(f"the images that {run} was trained on are no longer at {root}; give DATA, where they are now")
    return root, format or start[-1]["data"]["format"]
