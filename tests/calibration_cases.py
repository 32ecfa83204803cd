"""Embeddings, splits and counted scores with known answers, for the tests of calibration."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from resight.calibrate import Calibration, Curve
from resight.calibration_sources import Scored
from resight.score_counts import cell_counts
from resight.types import Sample, Split

ROOT = Path("crops")


def calibration(**changes: object) -> Calibration:
    """A calibration of threshold 0.8 whose curve is at even odds at score 0.9 (nearly: −log(0.101) · 4 = 9.17)."""
    kept = {
        "threshold": 0.8,
        "false_match_rate": 1e-3,
        "intercept": -9.17,
        "slope": 4.0,
        "same_share": 0.01,
        "source": "answers",
        "pairs": 200,
        "fingerprint": "f",
    }
    return Calibration(**{**kept, **changes})  # type: ignore[arg-type]


def curve(**changes: float) -> Curve:
    return Curve(**{"threshold": 0.8, "intercept": -9.17, "slope": 4.0, "same_share": 0.01, **changes})


def counted(scores: Tensor) -> Tensor:
    """Scores counted into cells."""
    return cell_counts(scores, torch.zeros(len(scores), dtype=torch.long), 1)[0]


def scored(
    identities: int = 40,
    each: int = 8,
    *,
    spread: float = 0.6,
    cameras: int = 2,
    dim: int = 24,
    tracklets: bool = False,
    seed: int = 0,
) -> Scored:
    """Images of identities that lie around points of their own; identity i's image k is in camera k % cameras.

    Tracklets hold an identity's images of a camera, all seen from moment 0 to 10 of it.
    """
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(identities, 1, dim, generator=generator)
    rows = centre + spread * torch.randn(identities, each, dim, generator=generator)
    samples = [
        Sample(
            ROOT / f"{i:03d}_{k}.jpg",
            pid=i,
            camid=k % cameras if cameras else None,
            timestamp=float(10 * (k >= each // 2)),
            tracklet=i * max(cameras, 1) + k % max(cameras, 1) if tracklets else None,
        )
        for i in range(identities)
        for k in range(each)
    ]
    return Scored(functional.normalize(rows.flatten(0, 1), dim=1), Split("train", tuple(samples)), ROOT)
