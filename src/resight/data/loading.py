"""Batches of pixels, fetched by a thread while the model works on the batch before."""

import queue
import threading
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from resight.data.pixels import PixelSource
from resight.errors import ConfigError

Batch = tuple[Int[Tensor, " b"], UInt8[Tensor, "b 3 h w"]]


def prefetched(
    pixels: PixelSource, batches: Iterable[Int[Tensor, " _"]], device: torch.device, *, depth: int = 2
) -> Iterator[Batch]:
    """Yield, for each index tensor in `batches`, that index and its images (channels-last), both on `device`.

    Batches may differ in size. At most `depth` of them wait in memory. Order is kept; an exception met while fetching
    is raised in the place of its batch; the thread ends when the iterator is exhausted or closed. `batches` is drawn
    ahead, from the thread.

    Raises:
        ConfigError: `depth` is below 1.
    """
    if depth < 1:
        raise ConfigError(f"depth must be at least 1 batch, got {depth}")
    return _consume(_Fetcher(pixels, batches, depth, pin=device.type == "cuda"), device)


class _Fetcher:
    """A thread that fills a queue, never more than `depth` ahead of its reader."""

    def __init__(self, pixels: PixelSource, batches: Iterable[Tensor], depth: int, *, pin: bool) -> None:
        self.pixels, self.batches, self.pin = pixels, batches, pin
        self.fetched: queue.SimpleQueue[Batch | BaseException | None] = queue.SimpleQueue()
        self.room = threading.Semaphore(depth)
        self.stopped = False
        self.thread = threading.Thread(target=self.run, name="resight-prefetch", daemon=True)

    def run(self) -> None:
        """Fetch until the batches end or the reader stops; None marks the end, an exception is passed on."""
        try:
            for index in self.batches:
                self.room.acquire()
                if self.stopped:
                    return
                images = self.pixels.batch(index)
                self.fetched.put((index, images.pin_memory() if self.pin else images))
            self.fetched.put(None)
        except BaseException as error:
            self.fetched.put(error)

    def stop(self) -> None:
        """End the thread, wherever it is, and wait for it."""
        self.stopped = True
        self.room.release()
        self.thread.join()


def _consume(fetcher: _Fetcher, device: torch.device) -> Iterator[Batch]:
    fetcher.thread.start()
    try:
        while (item := fetcher.fetched.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            fetcher.room.release()
            index, images = item
            # Copied here, not in the thread, so that the copy is ordered on the stream the model uses.
            yield index.to(device, non_blocking=True), images.to(device, non_blocking=True)
    finally:
        fetcher.stop()
