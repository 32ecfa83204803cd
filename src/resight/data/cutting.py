"""The boxes of a data set cut out of their files once, as files of their own, named by what their files contain."""

import dataclasses
import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError
from resight.data.digests import content_digests, default_cache_dir
from resight.errors import ConfigError, DataError
from resight.types import Crop, Dataset, Sample, Split
from resight.whole_files import replacing

JPEG_QUALITY = 95
ENDS = {".jpg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
"""The last bytes of a whole file of each kind."""

DIGITS = 12
"""Hexadecimal digits of the content's digest in a name: enough for what has one name, place and box."""


def cut_crops(
    dataset: Dataset,
    folder: Path,
    *,
    png: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cache_dir: Path | None = None,
) -> Dataset:
    """Cut every box into a file below `folder` and give the data set of these files; whole images stay as they are.

    Crops are JPEG of quality 95 without colour subsampling, or PNG. They are named by their file, at its place below
    the folder that all such files share, their box, and the beginning of the digest of both. So a crop that is there
    whole is of just this content and is kept: a cut that was stopped goes on where it was, and crops of another data
    set, or of a file before it was changed, stay beside it unused. `progress` hears of crops done and in all.
    `cache_dir` remembers the files' digests; by default it is the user's.

    Raises:
        ConfigError: no image of the data set has a box.
        DataError: a file is missing or cannot be decoded, a box holds nothing of it, or a crop cannot be written.
    """
    pictures = {sample.picture for split in dataset.splits for sample in split}
    crops = sorted(picture for picture in pictures if isinstance(picture, Crop))
    if not crops:
        raise ConfigError(f"--cut needs images with boxes, and {dataset.root} has none; leave it out")
    digests = content_digests(crops, cache_dir or default_cache_dir())
    files = _file_names(crops, digests, folder, ".png" if png else ".jpg")
    missing = [crop for crop in crops if not _is_whole(files[crop])]
    say = progress or (lambda done, total: None)
    done = len(crops) - len(missing)
    say(done, len(crops))
    for crop, content in zip(missing, each_decoded(missing, partial(_encoded, png=png)), strict=True):
        if isinstance(content, BrokenImageError):
            raise content
        _write(files[crop], content)
        done += 1
        say(done, len(crops))
    return _with_files(dataset, files)


def _file_names(crops: list[Crop], digests: list[str], folder: Path, suffix: str) -> dict[Crop, Path]:
    folders = {crop.path.parent: os.path.abspath(crop.path.parent) for crop in crops}  # noqa: PTH100
    try:
        shared = os.path.commonpath(list(folders.values()))
    except ValueError as error:
        raise DataError(f"images with boxes must lie on one drive to be cut: {error}") from error
    # Endings stay in the name: 1.png and 1.jpg may lie side by side.
    places = {parent: folder / os.path.relpath(whole, shared) for parent, whole in folders.items()}
    named = zip(crops, digests, strict=True)
    return {
        crop: places[crop.path.parent] / f"{crop.path.name}_{'_'.join(map(str, crop.box))}_{digest[:DIGITS]}{suffix}"
        for crop, digest in named
    }


def _is_whole(file: Path) -> bool:
    end = ENDS[file.suffix]
    try:
        with file.open("rb") as content:
            size = content.seek(0, os.SEEK_END)
            content.seek(max(0, size - len(end)))
            return content.read() == end
    except OSError:
        return False


def _encoded(pixels: np.ndarray, *, png: bool) -> bytes:
    if not png:
        return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), JPEG_QUALITY, "RGB", "444")
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{file.parent} cannot be made: {error.strerror}; give another folder") from error
    # Not settled: a million waits for the disk would take hours, and `_is_whole` finds what a power cut left.
    with replacing(file, DataError, settled=False) as temporary:
        temporary.write_bytes(content)


def _with_files(dataset: Dataset, files: dict[Crop, Path]) -> Dataset:
    def whole(sample: Sample) -> Sample:
        picture = sample.picture
        return dataclasses.replace(sample, path=files[picture], box=None) if isinstance(picture, Crop) else sample

    train, query, gallery = (Split(split.name, tuple(map(whole, split))) for split in dataset.splits)
    return dataclasses.replace(dataset, train=train, query=query, gallery=gallery)
