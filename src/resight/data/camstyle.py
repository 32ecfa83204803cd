"""CamStyle: every training image redrawn in each other camera's style, shown in place of the original now and then.

The files are named after the original: `0002_c1s1_000451_03_fake_1to2.jpg` is `0002_c1s1_000451_03.jpg`, taken by
camera 1, in the style of camera 2. They are no training images: there are as many rows in the memory as without them.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from resight.data.digests import content_digests
from resight.data.folder import images_below
from resight.data.pixels import PixelCache, PixelSource, listed_broken, open_pixels
from resight.errors import DataError
from resight.types import Dataset

EXAMPLE = "0002_c1s1_000451_03_fake_1to2.jpg"
NAME = re.compile(r"(?P<original>.+)_fake_(?P<own>\d+)to(?P<other>\d+)")
USUAL = "bounding_box_train_camstyle"


@dataclass(frozen=True)
class Styles:
    """The files of a CamStyle folder that belong to training images.

    `places`: for each of `paths`, the index of its original and the position of its style in `cameras`. `images`: all
    training images. `strangers`: image files whose original is no training image. `passed_over`: files that are no
    images, are not named like `EXAMPLE`, show the original's own camera, or come second for the same image and camera.
    """

    folder: Path
    cameras: tuple[int, ...]
    paths: tuple[Path, ...]
    places: tuple[tuple[int, int], ...]
    images: int
    strangers: int
    passed_over: int

    @property
    def styled_images(self) -> int:
        """Training images that have a style at all."""
        return len({index for index, _ in self.places})

    def sentence(self) -> str:
        """Say what is used and what is not."""
        missing = self.styled_images * (len(self.cameras) - 1) - len(self.paths)
        counts = {
            "training images without a style, shown as they are": self.images - self.styled_images,
            "styles missing, the original shown in their place": missing,
            "files that belong to no training image": self.strangers,
            "files passed over": self.passed_over,
        }
        used = (
            f"CamStyle {self.folder}: {len(self.paths)} images of {len(self.cameras)} cameras' styles for "
            f"{self.styled_images} of {self.images} training images"
        )
        return "; ".join([used, *(f"{what}: {count}" for what, count in counts.items() if count)])

    def record(self) -> dict[str, Any]:
        """Give what the log keeps."""
        return {
            "folder": str(self.folder),
            "files": len(self.paths),
            "images": self.styled_images,
            "cameras": list(self.cameras),
            "strangers": self.strangers,
            "passed_over": self.passed_over,
        }

    def digest(self, cache_dir: Path) -> str:
        """Hash what is shown for which image, so that a resumed run can tell whether it still is the same."""
        parts = zip(self.places, content_digests(self.paths, cache_dir), strict=True)
        text = "".join(f"{index}/{self.cameras[column]}/{digest}\n" for (index, column), digest in parts)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def find_styles(folder: Path, originals: Sequence[Path]) -> Styles:
    """Match the files in `folder`, nested or not, to the training images `originals` by name, in sorted order.

    Raises:
        DataError: no such folder, no image in it, none that belongs to a training image, one that may belong to two, or
            one that is a training image.
    """
    if not folder.is_dir():
        raise DataError(f"--camstyle must be a folder of CamStyle images, but {folder} is none; give where it lies now")
    files, passed_over = images_below(folder)
    if not files:
        raise DataError(f"the CamStyle folder {folder} holds no images; give one with files like {EXAMPLE}")
    by_stem: dict[str, list[int]] = defaultdict(list)
    for index, original in enumerate(originals):
        by_stem[original.stem].append(index)
    found: dict[tuple[int, int], Path] = {}
    cameras: set[int] = set()
    strangers = 0
    for file in files:
        parts = NAME.fullmatch(file.stem)
        if parts is None or parts["own"] == parts["other"]:
            passed_over += 1
            continue
        named = by_stem.get(parts["original"], [])
        _refuse_two(file, [originals[index] for index in named])
        if not named:
            strangers += 1
        elif (place := (named[0], int(parts["other"]))) in found:
            passed_over += 1
        else:
            found[place] = file
            cameras |= {int(parts["own"]), int(parts["other"])}
    if not found:
        raise _nothing_matches(folder, files)
    _refuse_training_images(folder, found.values(), originals)
    column = {camera: place for place, camera in enumerate(sorted(cameras))}
    places = tuple((index, column[camera]) for index, camera in found)
    return Styles(folder, tuple(column), tuple(found.values()), places, len(originals), strangers, passed_over)


def _refuse_two(file: Path, originals: Sequence[Path]) -> None:
    if len(originals) > 1:
        raise DataError(
            f"the CamStyle image {file} must belong to one training image, but may belong to {originals[0]} or "
            f"{originals[1]}; give the training images different names"
        )


def _refuse_training_images(folder: Path, styles: Iterable[Path], originals: Sequence[Path]) -> None:
    both = {path.resolve() for path in originals} & {path.resolve() for path in styles}
    if both:
        raise DataError(
            f"CamStyle images must not be training images too, but {len(both)} in {folder} are, {min(both)} the first; "
            "move the folder out of the training data"
        )


def _nothing_matches(folder: Path, files: Sequence[Path]) -> DataError:
    return DataError(
        f"none of the {len(files)} images in the CamStyle folder {folder} belongs to a training image: {EXAMPLE} "
        f"would be a style of {EXAMPLE.partition('_fake')[0]}.jpg, but the first file is {files[0].name}; give the "
        "folder made from these training images"
    )


def camstyle_beside(dataset: Dataset) -> Path | None:
    """Give the CamStyle folder that lies beside the training images' own, if there is one; it is not opened."""
    if not dataset.train:
        return None
    folder = dataset.train.samples[0].path.parent
    found = [place for name in (f"{folder.name}_camstyle", USUAL) if (place := folder.parent / name).is_dir()]
    return found[0] if found else None


@dataclass(frozen=True)
class StyledPixels:
    """Originals and styles, decoded. `rows`: for each image and camera the row in `styles`; −1: show the original."""

    originals: PixelCache
    styles: PixelCache
    rows: Int[Tensor, "n cameras"]

    def drawn(self, generator: torch.Generator) -> PixelSource:
        """Draw a camera for every image, each equally likely, and give the images as those cameras show them."""
        camera = torch.randint(self.rows.shape[1], (len(self.rows), 1), generator=generator)
        return DrawnPixels(self.originals, self.styles, self.rows.gather(1, camera).squeeze(1))


@dataclass(frozen=True)
class DrawnPixels:
    """What one epoch shows: of image i the style in `row[i]`, or where that is −1 the original."""

    originals: PixelCache
    styles: PixelCache
    row: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.originals)

    def batch(self, index: Sequence[int] | Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Copy some images into a tensor in memory, laid out channels-last."""
        index = torch.as_tensor(index, dtype=torch.int64, device="cpu")
        row = self.row[index]
        styled = row >= 0
        images = self.originals.batch(index)
        images[styled] = self.styles.batch(row[styled])
        return images


def open_styles(
    styles: Styles,
    originals: PixelCache,
    cache_dir: Path,
    *,
    skip_broken: bool,
    progress: Callable[[int, int], None] | None = None,
) -> StyledPixels:
    """Decode the styles at the size of the originals; broken ones stop it, or give way to the original.

    Raises:
        DataError: broken images (listed), and `skip_broken` is not given.
    """
    height, width = originals.pixels.shape[1:3]
    cache = open_pixels(styles.paths, (height, width), cache_dir, progress=progress)
    if cache.broken and not skip_broken:
        raise DataError(
            f"{len(cache.broken)} of {len(styles.paths)} CamStyle images cannot be decoded; mend or remove them, or "
            f"have the originals shown in their place with --skip-broken:{listed_broken(cache.broken, styles.paths)}"
        )
    broken = {place for place, _ in cache.broken}
    rows = torch.full((len(originals), len(styles.cameras)), -1)
    for row, (index, column) in enumerate(styles.places):
        if row not in broken:
            rows[index, column] = row
    return StyledPixels(originals, cache, rows)
