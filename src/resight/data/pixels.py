"""The images of a split, decoded and resized once, in one memory-mapped file that several runs may share."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int, UInt8
from torch import Tensor

from resight.data.crops import each_decoded
from resight.data.decode import RESIZE_VERSION, BrokenImageError, resized
from resight.data.digests import content_digests
from resight.errors import ConfigError, DataError
from resight.types import Picture


@runtime_checkable
class PixelSource(Protocol):
    """Anything that holds a number of decoded images of one size."""

    def __len__(self) -> int: ...

    def batch(self, index: Int[Tensor, " b"], /) -> UInt8[Tensor, "b 3 h w"]:
        """Give the images at `index`, in that order."""
        ...


@dataclass(frozen=True)
class Chosen:
    """Some images of a source of pixels, as a source."""

    pixels: PixelSource
    index: Int[Tensor, " m"]

    def __len__(self) -> int:
        return len(self.index)

    def batch(self, index: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Give the images at `index`, as stored."""
        return self.pixels.batch(self.index[index])


@dataclass(frozen=True)
class PixelCache:
    """All images of a split at one size; row i is picture i.

    `pixels`: RGB, read-only. `broken`: index and reason of each image that could not be decoded; its row is zero.
    """

    pixels: UInt8[np.ndarray, "n h w 3"]
    broken: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, index: Sequence[int] | Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Copy some rows into a tensor in memory, laid out channels-last."""
        rows = torch.as_tensor(index, dtype=torch.int64, device="cpu").numpy()
        return torch.from_numpy(np.asarray(self.pixels).take(rows, axis=0)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Files:
    """Where one cache lies, and the shape it must have. It is whole once `facts` is there."""

    folder: Path
    key: str
    shape: tuple[int, int, int, int]

    @property
    def pixels(self) -> Path:
        return self.folder / f"{self.key}.u8"

    @property
    def facts(self) -> Path:
        return self.folder / f"{self.key}.json"

    @property
    def bytes_needed(self) -> int:
        count, height, width, channels = self.shape
        return count * height * width * channels


def broken_pictures(
    broken: Sequence[tuple[int, str]], pictures: Sequence[Picture], *, of: str = "", others: str = ""
) -> str:
    """Say that some pictures are broken, `of` what they are and what became of the `others`; lists at most ten."""
    return (
        f"{len(broken)} of {len(pictures)} images{of and ' of ' + of} cannot be decoded{others and ', ' + others}; "
        f"mend or remove them, or leave them out with --skip-broken:{listed_broken(broken, pictures)}"
    )


def listed_broken(broken: Sequence[tuple[int, str]], pictures: Sequence[Picture], *, most: int = 10) -> str:
    """List the first broken images, one a line with its reason, and how many more there are; begins with a newline."""
    shown = "".join(f"\n  {pictures[place]}: {reason}" for place, reason in broken[:most])
    return shown + (f"\n  and {len(broken) - most} more" if len(broken) > most else "")


def open_pixels(
    pictures: Sequence[Picture],
    size: tuple[int, int],
    cache_dir: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> PixelCache:
    """Open the pixels of `pictures` at `size` (height, width), decoding them only if no run has done so before.

    The cache is found by the pictures' content and order, the size and `RESIZE_VERSION`. While one run builds it,
    others wait and then use it. `progress` is called with images done and images in all while it is built. An image
    that cannot be decoded does not stop it: see `PixelCache.broken`.

    Raises:
        DataError: there are no pictures, a file is missing, or the cache cannot be written, as when the disk is full.
        ConfigError: height or width is below 1.
    """
    if not pictures:
        raise DataError("an image cache must hold at least one image, got none")
    if min(size) < 1:
        raise ConfigError(f"images must be at least 1 × 1 pixels, got height × width {size[0]} × {size[1]}")
    key = _key(content_digests(pictures, cache_dir), size)
    files = _Files(cache_dir / "pixels", key, (len(pictures), *size, 3))
    return _open(files) or _build_or_wait(files, pictures, progress)


def _key(digests: Sequence[str], size: tuple[int, int]) -> str:
    facts = json.dumps([RESIZE_VERSION, size, digests])
    return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()


def _open(files: _Files) -> PixelCache | None:
    """Open a cache that is whole; None where it is missing, cut short or of another shape."""
    try:
        facts = json.loads(files.facts.read_text(encoding="utf-8"))
        if tuple(facts["shape"]) != files.shape or files.pixels.stat().st_size != files.bytes_needed:
            return None
        broken = tuple((int(index), str(reason)) for index, reason in facts["broken"])
        return PixelCache(np.memmap(files.pixels, np.uint8, mode="r", shape=files.shape), broken)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build_or_wait(
    files: _Files, pictures: Sequence[Picture], progress: Callable[[int, int], None] | None
) -> PixelCache:
    try:
        files.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(files.folder / f"{files.key}.lock"):
            cache = _open(files)  # another run may have built it while this one waited
            if cache is None:
                _refuse_full_disk(files)
                _build(files, pictures, progress)
                cache = _open(files)
    except OSError as error:
        raise _cannot_write(files, error.strerror or str(error)) from error
    assert cache is not None, "a cache that was just built can be opened"
    return cache


def _refuse_full_disk(files: _Files) -> None:
    free = shutil.disk_usage(files.folder).free
    if free < files.bytes_needed:
        raise _cannot_write(files, f"only {free} bytes are free")


def _cannot_write(files: _Files, reason: str) -> DataError:
    return DataError(
        f"the image cache needs {files.bytes_needed} bytes in {files.folder}, which cannot be written: {reason}; "
        "make room or set RESIGHT_CACHE to another folder"
    )


def _build(files: _Files, pictures: Sequence[Picture], progress: Callable[[int, int], None] | None) -> None:
    """Write pixels, then facts, each under another name first; the caller holds the lock."""
    pixels, facts = files.pixels.with_suffix(".u8.part"), files.facts.with_suffix(".json.part")
    files.facts.unlink(missing_ok=True)  # from here on until the last line the cache is not whole
    try:
        broken = _write_pixels(pixels, files, pictures, progress)
        facts.write_text(json.dumps({"shape": files.shape, "broken": broken}), encoding="utf-8")
        pixels.replace(files.pixels)
        facts.replace(files.facts)
    finally:
        pixels.unlink(missing_ok=True)
        facts.unlink(missing_ok=True)


def _write_pixels(
    target: Path, files: _Files, pictures: Sequence[Picture], progress: Callable[[int, int], None] | None
) -> list[tuple[int, str]]:
    _, height, width, _ = files.shape
    broken = []
    # Written, not mapped: on a full disk a write fails with an error, a mapped page kills the process.
    with target.open("wb") as file:
        for index, outcome in enumerate(each_decoded(pictures, lambda pixels: resized(pixels, height, width))):
            if isinstance(outcome, BrokenImageError):
                broken.append((index, outcome.reason))
                file.write(bytes(height * width * 3))
            else:
                file.write(np.ascontiguousarray(outcome).data)
            if progress is not None:
                progress(index + 1, len(pictures))
        file.flush()
        os.fsync(file.fileno())
    return broken
