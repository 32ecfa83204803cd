"""A short trial: how many images a second each of several embedders does here."""

import time
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

ROUNDS = 5
BUDGET_SECONDS = 3.0
BATCH_SECONDS = 0.25
"""About how long one call of the first embedder is to take, which sets the size of the batch."""

LARGEST_BATCH = 64

Embed = Callable[[UInt8[Tensor, "b 3 h w"]], Float[Tensor, "b d"]]


def images_per_second(
    embedders: Sequence[Embed],
    images: UInt8[Tensor, "b 3 h w"],
    *,
    budget: float = BUDGET_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Time all of them by turns on one batch, so that other work of the machine meets them alike; the best call counts.

    Each is called once before, then at most `ROUNDS` times, for about `budget` seconds in all; `clock` gives seconds.
    """
    batch = _batch(embedders[0], images, clock)
    for embedder in embedders:
        embedder(batch)
    best = [float("inf")] * len(embedders)
    began = clock()
    for done in range(ROUNDS):
        if done and clock() - began > budget:
            break
        for place, embedder in enumerate(embedders):
            start = clock()
            embedder(batch)
            best[place] = min(best[place], clock() - start)
    return [len(batch) / max(seconds, 1e-9) for seconds in best]


def _batch(embedder: Embed, images: UInt8[Tensor, "b 3 h w"], clock: Callable[[], float]) -> UInt8[Tensor, "b1 3 h w"]:
    """Repeat the images, or take some of them, for a batch that takes about `BATCH_SECONDS`."""
    embedder(images)
    start = clock()
    embedder(images)
    each = max(clock() - start, 1e-9) / len(images)
    count = int(min(max(BATCH_SECONDS / each, 2), LARGEST_BATCH))
    return images[torch.arange(count) % len(images)]
