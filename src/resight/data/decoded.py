"""Images that are decoded when they are asked for and not kept, and images that are in memory already, as pixels."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError, resized
from resight.errors import DataError
from resight.types import Picture


@dataclass
class DecodedOnce:
    """Pictures at one size (height, width), as a `data.pixels.PixelSource`; nothing is kept but why some are broken."""

    pictures: Sequence[Picture]
    size: tuple[int, int]
    found_broken: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def broken(self) -> tuple[tuple[int, str], ...]:
        """Index and reason of each picture asked for so far that could not be decoded; its pixels are zero."""
        return tuple(sorted(self.found_broken.items()))

    def whole(self, index: Int[Tensor, " b"]) -> Int[Tensor, " w"]:
        """Give the places in `index` of those that are not known to be broken."""
        return torch.tensor([at for at, place in enumerate(index.tolist()) if place not in self.found_broken]).long()

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
        return as_batch(rows)


def as_batch(images: Sequence[np.ndarray] | np.ndarray) -> UInt8[Tensor, "b 3 h w"]:
    """Lay at least one decoded image (h, w, 3), all of one size, side by side; channels-last in memory."""
    rows = images if isinstance(images, np.ndarray) else np.stack(images)
    return torch.from_numpy(rows).permute(0, 3, 1, 2)


def _readable(error: BrokenImageError, picture: Picture) -> str:
    """Give the reason of a broken image; a folder that is not mounted must not pass for a million of them."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno is not None:
        raise DataError(
            f"{picture} cannot be read on {socket.gethostname()} ({cause.strerror}); it must be readable under "
            "the same path on each machine that takes part"
        ) from error
    return error.reason
