"""The images of an audit: which they are, their embeddings, and where a threshold comes from."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.artifacts import load_model
from resight.audit_plan import AuditPlan, data_of
from resight.data.formats import read_dataset
from resight.errors import ConfigError, DataError
from resight.pair_answers import picture_name
from resight.prepare import choose_device
from resight.progress import Bar, Say
from resight.run_images import each_once, embed_split
from resight.types import UNKNOWN_CAMID, Dataset, Split

SAMPLED_ROWS = 1024
"""Images whose nearest neighbours say where to put a threshold that nobody gave."""


FIRST_PAIRS = 200
"""Pairs to ask about where nobody says how many."""


@dataclass(frozen=True)
class AuditRequest:
    """What `resight audit` was asked for.

    None is what the audit in the folder has; where there is none yet: the run's data, split train, all pairs, seed 1,
    `FIRST_PAIRS` of them, and a threshold as `choose_threshold` says.
    """

    run: Path
    data: Path | None = None
    pairs: int | None = None
    threshold: float | None = None
    out: Path | None = None
    seed: int | None = None
    split: str | None = None
    across_cameras: bool | None = None
    format: str | None = None
    device: str = "auto"
    cache_dir: Path | None = None
    skip_broken: bool = False

    @property
    def folder(self) -> Path:
        """Where the audit's files lie."""
        return self.out or (self.run if self.run.is_dir() else self.run.parent) / "audit"


@dataclass(frozen=True)
class AuditImages:
    """Images and their embeddings; `camids` only where pairs are to be across cameras."""

    root: Path
    format: str
    split: Split
    rows: Float[Tensor, "n d"]
    camids: Int[Tensor, " n"] | None

    def name(self, index: int) -> str:
        """Name an image as the answers do."""
        return picture_name(self.split.samples[index], self.root)


def open_images(request: AuditRequest, plan: AuditPlan | None, say: Say, bar: Bar) -> AuditImages:
    """Read and embed the images that the plan, or else the request, or else the run's log names.

    Raises:
        ConfigError: no such device or format.
        DataError: the data cannot be read, or two cameras are not known.
        CheckpointError: the model cannot be read.
    """
    place = choose_device(request.device)
    model, recipe = load_model(request.run, place)
    dataset = _dataset(request, plan)
    whole = each_once(dataset, plan.split if plan else request.split or "train")
    across = plan.across_cameras if plan else bool(request.across_cameras)
    if across and len(set(whole.camids) - {UNKNOWN_CAMID}) < 2:
        raise DataError("--across-cameras needs images from at least two known cameras; leave it out")
    split, rows = embed_split(
        model,
        recipe.input.height_width,
        whole,
        cache_dir=request.cache_dir,
        skip_broken=request.skip_broken,
        say=say,
        bar=bar,
    )
    camids = torch.tensor(split.camids, device=place) if across else None
    return AuditImages(dataset.root, dataset.format, split, rows, camids)


def _dataset(request: AuditRequest, plan: AuditPlan | None) -> Dataset:
    if plan is not None:
        return read_dataset(Path(plan.data), plan.format)
    if request.data is not None:
        return read_dataset(request.data, request.format)
    return read_dataset(*data_of(request.run, request.format))


def choose_threshold(request: AuditRequest, images: AuditImages) -> tuple[float, str]:
    """Take the threshold given, or the calibration's, or the median score of an image's nearest neighbour; and why.

    Raises:
        ConfigError: the one given is no cosine.
    """
    from resight.calibrate import load_calibration

    if request.threshold is not None:
        if not -1 < request.threshold < 1:
            raise ConfigError(f"--threshold must be a cosine between -1 and 1, got {request.threshold:g}")
        return request.threshold, "as given"
    calibration = load_calibration(request.run)
    if calibration is not None and calibration.across is not None and images.camids is not None:
        return float(calibration.across.threshold), "the run's calibration, for pairs across cameras"
    if calibration is not None:
        return float(calibration.threshold), "the run's calibration"
    why = "the median score of an image's nearest neighbour, as there is neither --threshold nor a calibration"
    return round(nearest_score(images.rows, images.camids), 4), why


def nearest_score(rows: Float[Tensor, "n d"], camids: Int[Tensor, " n"] | None) -> float:
    """Give the median, over images evenly spread, of the best score with another image (of another camera)."""
    at = torch.linspace(0, len(rows) - 1, min(len(rows), SAMPLED_ROWS), device=rows.device).round().long()
    nearest = []
    for part in at.split(64):
        scores = rows[part] @ rows.T
        scores.scatter_(1, part.unsqueeze(1), -torch.inf)
        if camids is not None:
            scores.masked_fill_(camids[part].unsqueeze(1) == camids, -torch.inf)
        nearest.append(scores.amax(dim=1))
    found = torch.cat(nearest)
    found = found[found.isfinite()]
    return float(found.median().clamp(-0.999, 0.999)) if len(found) else 0.5
