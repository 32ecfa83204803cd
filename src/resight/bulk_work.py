"""What one worker of a bulk embedding does: pictures in, a part out. It knows neither the folder nor the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from resight.artifacts import load_model
from resight.backends import Embedder, open_backend
from resight.bulk_parts import Part
from resight.data.decoded import DecodedOnce
from resight.data.digests import content_digests, default_cache_dir
from resight.data.loading import prefetched
from resight.data.pixels import open_pixels
from resight.prepare import choose_device
from resight.progress import silent
from resight.types import Picture


@dataclass(frozen=True)
class Work:
    """How to embed; the same for all workers.

    `size`: height and width. `backend`: with its precision, as an embedder is named. `cache_dir`: see `EmbedRequest`.
    `sample`: pictures that a backend is compared and calibrated on, under the same path wherever a worker is.
    """

    size: tuple[int, int]
    backend: str
    device: str
    batch_size: int
    cache_dir: Path | None
    sample: tuple[Picture, ...] = ()


class Worker:
    """Embeds one block after another."""

    def __init__(self, embedder: Embedder, work: Work) -> None:
        self.embedder, self.work = embedder, work

    @classmethod
    def opened(cls, model: Path, work: Work) -> "Worker":
        """Load the model, and open the backend that was chosen for all.

        Raises:
            CheckpointError: the model cannot be loaded.
            ConfigError: no such device here, or the backend cannot be used.
        """
        device = choose_device(work.device)
        ahead = DecodedOnce(work.sample, work.size)
        loaded, _ = load_model(model, device)
        more = {"device": device, "say": silent, "cache_dir": work.cache_dir, "ahead": ahead}
        return cls(open_backend(loaded, work.size, work.backend, **more), work)  # type: ignore[arg-type]

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
        kept = [place for place in range(len(pictures)) if place not in lost]
        # After the images: their files are at hand, and one that cannot be read has been told of in better words.
        ids = content_digests([pictures[place] for place in kept], folder or default_cache_dir())
        index = torch.tensor(kept, dtype=torch.int64)
        return Part(index, tuple(ids), rows[index], pixels.broken)
