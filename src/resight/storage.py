"""Where the rows of a feature memory lie: on the device, in RAM, or in a memory-mapped file. One interface for all.

A store sharded over the processes of a job has its seam here: it gives the same `read`, `write` and `blocks`, with
`blocks` bringing every process's rows in turn.
"""

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.errors import ConfigError

BLOCK_BYTES = 2**26
"""Size of the pieces in which rows travel to the device that works on them."""


class Rows:
    """An (N, D) tensor that is worked on from `device`, wherever it lies itself."""

    def __init__(self, data: Float[Tensor, "n d"], device: torch.device | str | None = None) -> None:
        self.data = data
        self.device = data.device if device is None else torch.device(device)

    def __len__(self) -> int:
        return self.data.shape[0]

    @property
    def dim(self) -> int:
        """D."""
        return self.data.shape[1]

    @property
    def whole(self) -> bool:
        """Whether `blocks` gives all rows in one piece, uncopied."""
        return self.data.device == self.device

    def read(self, index: Int[Tensor, " *b"]) -> Float[Tensor, " *b d"]:
        """Copy rows to the device; `index` may have any shape."""
        return self.data[index.to(self.data.device)].to(self.device)

    def write(self, index: Int[Tensor, " b"], rows: Float[Tensor, "b d"]) -> None:
        """Replace rows."""
        self.data[index.to(self.data.device)] = rows.to(self.data)

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "b d"]]]:
        """Give all rows in order, as (first row, rows) pieces on the device."""
        if self.whole:
            yield 0, self.data
            return
        step = max(1, BLOCK_BYTES // max(1, self.dim * self.data.element_size()))
        for first in range(0, len(self), step):
            yield first, self.data[first : first + step].to(self.device, non_blocking=True)

    def release(self) -> None:
        """Let go of what was read from elsewhere, where there is such a thing."""

    def like(self, dim: int | None = None) -> "Rows":
        """Give another store of as many rows, of `dim` (None: the same), in the same kind of place; not yet set."""
        shape = (len(self), self.dim if dim is None else dim)
        return Rows(
            torch.empty(shape, dtype=self.data.dtype, device=self.data.device, pin_memory=self.data.is_pinned()),
            self.device,
        )


class DiskRows(Rows):
    """Rows in a memory-mapped float32 file; what has been read or written is let go from RAM after every pass.

    The file is scratch space without a name: it is gone when the process is, however that ends. Its blocks are taken
    from the disk at once, so that a full disk is found before the work begins, not in the middle of it.
    """

    def __init__(self, folder: Path, images: int, dim: int, device: torch.device | str = "cpu") -> None:
        self.folder, size = folder, max(1, images * dim * 4)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                take(file.fileno(), size)
                self.map = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise ConfigError(
                f"a feature memory on disk needs {size / 1e9:.2f} GB in {folder}, which could not be taken ({error}); "
                "free some space or give --out on another disk"
            ) from error
        data = torch.frombuffer(self.map, dtype=torch.float32, count=images * dim).view(images, dim)
        super().__init__(data, device)

    @property
    def whole(self) -> bool:
        """Never: rows come in pieces and go again."""
        return False

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "b d"]]]:
        """Give all rows in order, each piece valid until the next is asked for."""
        for first, piece in super().blocks():
            yield first, piece
            self.release()

    def read(self, index: Int[Tensor, " *b"]) -> Float[Tensor, " *b d"]:
        """Copy rows to the device, and let their pages go from RAM."""
        rows = super().read(index)
        self.release()
        return rows

    def write(self, index: Int[Tensor, " b"], rows: Float[Tensor, "b d"]) -> None:
        """Replace rows and let them go from RAM; the system writes them to the disk when it sees fit."""
        super().write(index, rows)
        self.release()

    def release(self) -> None:
        """Drop all pages from this process; none of their content is lost, the file has it."""
        self.map.madvise(mmap.MADV_DONTNEED)

    def like(self, dim: int | None = None) -> "DiskRows":
        """Give another store in the same folder."""
        return DiskRows(self.folder, len(self), self.dim if dim is None else dim, self.device)


def take(handle: int, size: int) -> None:
    """Give an open file its full size, and its space on the disk where the system can promise that."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:
        os.ftruncate(handle, size)


def product(left: Float[Tensor, "b d"], rows: Rows, *, bias: Float[Tensor, " n"] | None = None) -> Float[Tensor, "b n"]:
    """Left · Mᵀ (+ bias) in the precision of `left`, whatever place the rows lie in."""
    with torch.autocast(rows.device.type, enabled=False):
        if rows.whole and rows.data.dtype == left.dtype:
            return left @ rows.data.T if bias is None else torch.addmm(bias, left, rows.data.T)
        out = torch.empty(len(left), len(rows), dtype=left.dtype, device=left.device)
        for first, block in rows.blocks():
            part = left @ block.T.to(left.dtype)
            out[:, first : first + len(block)] = part if bias is None else part + bias[first : first + len(block)]
        return out
