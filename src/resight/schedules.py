"""Settings that change over the epochs: [first, last]."""

from collections.abc import Mapping, Sequence
from typing import Any


def progress_at(epoch: int, epochs: int) -> float:
    """What has passed of `epochs` at a 1-based epoch: 0 in the first, 1 in the last."""
    return (epoch - 1) / max(1, epochs - 1)


def between(ends: Sequence[float], progress: float) -> float:
    """Give what lies `progress`, 0..1, of the way from the first to the last."""
    return ends[0] + (ends[-1] - ends[0]) * progress


def options_at(options: Mapping[str, Any], progress: float) -> dict[str, Any]:
    """Give a miner's or loss's options as they are at `progress`: those with two ends lie between them."""
    return {key: between(value, progress) if is_scheduled(value) else value for key, value in options.items()}


def is_scheduled(value: object) -> bool:
    """Whether an option of a miner or loss is [first, last]."""
    return isinstance(value, list | tuple)
