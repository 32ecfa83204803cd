"""A plain folder of images, nested or not, of which nothing else is known."""

import os
from pathlib import Path
from typing import NoReturn

from resight.data.decode import is_image
from resight.errors import DataError
from resight.types import Dataset, Sample, Split


def matches(path: Path) -> bool:
    """Tell whether `path` is a folder: any folder will do."""
    return path.is_dir()


def read(path: Path) -> Dataset:
    """Take every image below `path` as unlabelled training data, sorted by path; hidden files are passed over.

    Raises:
        DataError: `path` is no folder, or a folder in it cannot be listed.
    """
    if not path.is_dir():
        raise DataError(f"{path} must be a folder of images, and it is none")
    images, passed_over = images_below(path)
    samples = tuple(Sample(image) for image in images)
    notes = (passed_over_note(path, passed_over),) if passed_over else ()
    return Dataset(path, "folder", Split("train", samples), Split("query"), Split("gallery"), notes)


def images_below(folder: Path) -> tuple[list[Path], int]:
    """List the images in `folder` and all folders in it, sorted, and count the visible entries that are no images.

    Links to files are followed; links to folders are not, and count as passed over.
    """
    images, passed_over = [], 0
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        entries = [Path(place, name) for name in files if not name.startswith(".")]
        found = [entry for entry in entries if is_image(entry) and entry.is_file()]
        images += found
        passed_over += len(entries) - len(found) + sum(Path(place, name).is_symlink() for name in folders)
    return sorted(images), passed_over


def images_in(folder: Path) -> tuple[list[Path], int]:
    """List the images in `folder` itself, sorted, and count the entries, hidden ones too, that are no images."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        _refuse(error)
    # macOS leaves `._name.jpg` beside `name.jpg`, which is no image for all its ending.
    images = [entry for entry in entries if is_image(entry) and entry.is_file() and not entry.name.startswith(".")]
    return images, len(entries) - len(images)


def passed_over_note(folder: Path, count: int) -> str:
    """Say that `count` entries of `folder` are not used."""
    return f"{count} {'entry' if count == 1 else 'entries'} in {folder} passed over: no image by name"


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error
