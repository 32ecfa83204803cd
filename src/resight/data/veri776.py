"""The VeRi-776 layout: three folders, a list of names for each, and names such as `0002_c002_00030600_0.jpg`.

The parts of a name are identity, camera, frame and a running number. Cameras keep the numbers they are written with,
counted from 1. The query images stand in the gallery too, where the camera rule leaves them out.
"""

import re
from pathlib import Path

from resight.data.folder import images_in, passed_over_note
from resight.data.names import parse_name
from resight.errors import DataError
from resight.types import Dataset, Sample, Split

SPLITS = {
    "train": ("image_train", "name_train.txt"),
    "query": ("image_query", "name_query.txt"),
    "gallery": ("image_test", "name_test.txt"),
}
EXAMPLE = "0002_c002_00030600_0.jpg"
NAME = re.compile(r"(?P<pid>\d+)_c(?P<camid>\d+)_(?P<frame>\d+)_\d+")


def matches(path: Path) -> bool:
    """Tell whether `path` holds at least one of the layout's three folders."""
    return any((path / folder).is_dir() for folder, _ in SPLITS.values())


def read(path: Path) -> Dataset:
    """Read what the lists name, or, where a list is missing, all that is in its folder.

    A split without a folder is empty. `timestamp` is the frame number. What was passed over stands in the notes.

    Raises:
        DataError: none of the folders is there, a listed image is missing, or a name does not follow the pattern.
    """
    if not matches(path):
        folders = ", ".join(folder for folder, _ in SPLITS.values())
        raise DataError(f"{path} must hold one of {folders} to be read as veri776")
    notes: list[str] = []
    train, query, gallery = (_read_split(path, name, notes) for name in SPLITS)
    return Dataset(path, "veri776", train, query, gallery, tuple(notes))


def _read_split(root: Path, name: str, notes: list[str]) -> Split:
    folder, names = (root / part for part in SPLITS[name])
    if not folder.is_dir():
        notes.append(f"there is no {folder}, so that {name} is empty")
        return Split(name)
    images, passed_over = images_in(folder)
    if passed_over:
        notes.append(passed_over_note(folder, passed_over))
    if names.is_file():
        return Split(name, tuple(_read_list(names, images, folder, notes)))
    return Split(name, tuple(parse_name(image, NAME, "veri776", EXAMPLE) for image in images))


def _read_list(names: Path, images: list[Path], folder: Path, notes: list[str]) -> list[Sample]:
    """Take the listed images in the list's order; one listed twice is taken once, and noted."""
    present = {image.name for image in images}
    taken: dict[str, Sample] = {}
    repeated = 0
    for number, line in enumerate(_lines(names), start=1):
        name = line.strip()
        if not name or name in taken:
            repeated += name in taken
            continue
        if name not in present:
            raise DataError(f"{names} line {number} lists '{name}', which is no image in {folder}")
        taken[name] = parse_name(folder / name, NAME, "veri776", EXAMPLE, place=f"'{name}' in {names} line {number}")
    if repeated:
        notes.append(f"{repeated} lines of {names} repeat a name and count once")
    if len(taken) < len(present):
        notes.append(f"{len(present) - len(taken)} images in {folder} passed over: not in {names.name}")
    return list(taken.values())


def _lines(names: Path) -> list[str]:
    try:
        return names.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{names} must be a text file with one image name a line: {error}") from error
