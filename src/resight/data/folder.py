"""A plain folder of images, nested or not, of which nothing else is known."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from resight.data.decode import image_suffixes, is_image
from resight.errors import DataError
from resight.types import Dataset, Sample, Split

TESTS = frozenset({"test", "query", "gallery"})
"""Words in the names of folders whose images are for tests."""

FRAMES = "img1"
"""The folder whose images are whole frames in MOT Challenge sequences."""

SPLIT_FOLDERS = ("train", "query", "gallery", "test")
NAMED = 5
"""Folders that a note names before it stops."""


class _Found(NamedTuple):
    """The images below a folder, sorted, the folders that hold them, other visible files, and links to folders."""

    images: list[Path]
    folders: list[Path]
    passed_over: int
    links: int


def matches(path: Path) -> bool:
    """Tell whether `path` is a folder: any folder will do."""
    return path.is_dir()


def read(path: Path) -> Dataset:
    """Take every image below `path` as unlabelled training data, sorted by path; hidden files are passed over.

    The notes name folders that seem to hold test images, for these are trained on like all others.

    Raises:
        DataError: `path` is no folder, or a folder in it cannot be listed.
    """
    if not path.is_dir():
        raise DataError(f"{path} must be a folder of images, and it is none")
    found = _walk(path)
    samples = tuple(Sample(image) for image in found.images)
    notes = [passed_over_note(path, found.passed_over)] if found.passed_over else []
    if found.links:
        what = "1 link to a folder" if found.links == 1 else f"{found.links} links to folders"
        notes.append(f"{what} in {path} passed over: links to folders are not followed; give the folder itself")
    notes += _kept_apart_notes([folder.relative_to(path).parts for folder in found.folders])
    return Dataset(path, "folder", Split("train", samples), Split("query"), Split("gallery"), tuple(notes))


def images_below(folder: Path) -> tuple[list[Path], int]:
    """List the images in `folder` and all folders in it, sorted, and count the visible entries that are no images.

    Links to files are followed; links to folders are not, and count as passed over.
    """
    found = _walk(folder)
    return found.images, found.passed_over + found.links


def _walk(folder: Path) -> _Found:
    images: list[Path] = []
    holders = []
    passed_over = links = 0
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        entries = [Path(place, name) for name in files if not name.startswith(".")]
        found = [entry for entry in entries if is_image(entry) and entry.is_file()]
        images += found
        holders += [Path(place)] * bool(found)
        passed_over += len(entries) - len(found)
        links += sum(Path(place, name).is_symlink() for name in folders)
    return _Found(sorted(images), holders, passed_over, links)


def _kept_apart_notes(folders: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Say which folders seem to hold images that are not for training as they are; folders are given by their parts."""
    named = sorted({name for parts in folders for name in parts if _is_kept_apart(name)})
    if not named:
        return
    more = [f"{len(named) - NAMED} more"] * (len(named) > NAMED)
    note = f"images in folders named {', '.join([*named[:NAMED], *more])} are used for training too"
    # Folders of images in the folders of splits, and no image beside them.
    if all(len(parts) > 1 and parts[0] in SPLIT_FOLDERS for parts in folders):
        note += "; --format folder-per-identity reads these as splits, with an identity in each folder"
    yield note


def _is_kept_apart(name: str) -> bool:
    return name == FRAMES or not TESTS.isdisjoint(re.findall(r"[a-z]+", name.lower()))


def folders_in(folder: Path) -> Iterator[Path]:
    """Give the visible folders in `folder`, links to folders too, in no order and without a look at each file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and _is_folder(entry):
                yield Path(entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link that leads round in a circle
        return False


def images_in(folder: Path) -> tuple[list[Path], int]:
    """List the images in `folder` itself, sorted, and count the entries, hidden ones too, that are no images."""
    try:
        # From the listing itself: a look at each of 400,000 files takes minutes on a network disk.
        with os.scandir(folder) as listing:
            entries = {entry.name: _is_file(entry) for entry in listing}
    except OSError as error:
        _refuse(error)
    suffixes = tuple(image_suffixes())
    # macOS leaves `._name.jpg` beside `name.jpg`, which is no image for all its ending.
    names = [n for n, file in entries.items() if file and n.lower().endswith(suffixes) and not n.startswith(".")]
    return [folder / name for name in sorted(names)], len(entries) - len(names)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def by_stem(images: Iterable[Path]) -> dict[str, Path]:
    """Give images by their names in lower case without the ending, as lists name them; of equal ones the first."""
    stems: dict[str, Path] = {}
    for image in images:
        stems.setdefault(image.stem.casefold(), image)
    return stems


def passed_over_note(folder: Path, count: int) -> str:
    """Say that `count` entries of `folder` are not used."""
    return f"{count} {'entry' if count == 1 else 'entries'} in {folder} passed over: no image by name"


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error
