"""What one worker of a bulk embedding does: pictures in, a part out. It knows neither the folder nor the others."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from resight.artifacts import load_model
from resight.backends import open_backend
from resight.bulk_parts import Part
from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError, resized
from resight.data.loading import prefetched
from resight.data.pixels import open_pixels
from resight.errors import DataError
from resight.prepare import choose_device
from resight.types import Picture

Say = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """How to embed; the same for all workers. `size`: height and width; `cache_dir`: see `EmbedRequest`."""

    size: tuple[int, int]
    backend: str
    device: str
    batch_size: int
    cache_dir: Path | None


@dataclass
class DecodedOnce:
    """Pictures that are decoded when they are asked for, and not kept; nothing of a broken one but its reason."""

    pictures: Sequence[Picture]
    size: tuple[int, int]
    found_broken: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def broken(self) -> tuple[tuple[int, str], ...]:
        """Index and reason of each picture asked for so far that could not be decoded; its pixels are zero."""
        return tuple(sorted(self.found_broken.items()))

    def batch(self, index: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Decode the pictures at `index`.

        Raises:
            DataError: a file cannot be read at all, which is no fault of the picture.
        """
        places = index.tolist()
        rows = np.zeros((len(places), *self.size, 3), dtype=np.uint8)
        outcomes = each_decoded([self.pictures[place] for place in places], lambda pixels: resized(pixels, *self.size))
        for row, (place, outcome) in enumerate(zip(places, outcomes, strict=True)):
            if isinstance(outcome, BrokenImageError):
                self.found_broken[place] = _readable(outcome, self.pictures[place])
            else:
                rows[row] = outcome
        return torch.from_numpy(rows).permute(0, 3, 1, 2)


def _readable(error: BrokenImageError, picture: Picture) -> str:
    """Give the reason of a broken image; a folder that is not mounted must not pass for a million of them."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno is not None:
        raise DataError(
            f"{picture} cannot be read on {socket.gethostname()} ({cause.strerror}); every image must be readable "
            "under the same path on each machine that takes part"
        ) from error
    return error.reason


class Worker:
    """Holds the model and embeds one block after another.

    Raises:
        CheckpointError: the model cannot be loaded.
        ConfigError: no such device here, or the backend cannot be used.
    """

    def __init__(self, model: Path, work: Work, say: Say) -> None:
        device = choose_device(work.device)
        loaded, _ = load_model(model, device)
        self.work = work
        self.embedder = open_backend(loaded, work.size, work.backend, device=device, say=say)

    def embed(self, pictures: Sequence[Picture], progress: Callable[[int], None] = lambda images: None) -> Part:
        """Embed a block; `progress` is told how many images each batch had.

        Raises:
            DataError: a file cannot be read.
        """
        folder = self.work.cache_dir
        pixels = open_pixels(pictures, self.work.size, folder) if folder else DecodedOnce(pictures, self.work.size)
        rows = torch.empty(len(pictures), self.embedder.dim)
        batches = torch.arange(len(pictures)).split(self.work.batch_size)
        for index, images in prefetched(pixels, batches, torch.device("cpu")):
            rows[index] = self.embedder(images)
            progress(len(index))
        lost = {place for place, _ in pixels.broken}
        kept = torch.tensor([place for place in range(len(pictures)) if place not in lost], dtype=torch.int64)
        return Part(kept, rows[kept], pixels.broken)
