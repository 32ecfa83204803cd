"""The Market-1501 layout: three folders, and names such as `0002_c1s1_000451_03.jpg`.

The parts of a name are identity, camera, recording, frame and detection. Identity -1 is junk and 0000 a distractor.
Cameras keep the numbers they are written with, counted from 1.
"""

import re
from pathlib import Path

from resight.data.folder import images_in, passed_over_note
from resight.data.names import parse_name
from resight.errors import DataError
from resight.types import JUNK_PID, Dataset, Split

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
EXAMPLE = "0002_c1s1_000451_03.jpg"
NAME = re.compile(r"(?P<pid>-1|\d+)_c(?P<camid>\d+)s\d+_(?P<frame>\d+)_\d+")


def matches(path: Path) -> bool:
    """Tell whether `path` holds at least one of the layout's three folders."""
    return any((path / folder).is_dir() for folder in FOLDERS.values())


def read(path: Path) -> Dataset:
    """Read the three folders; one that is missing is an empty split, junk is kept in the gallery only.

    `timestamp` is the frame number. What was passed over stands in the notes.

    Raises:
        DataError: none of the folders is there, or an image's name does not follow the pattern.
    """
    if not matches(path):
        raise DataError(f"{path} must hold one of {', '.join(FOLDERS.values())} to be read as market1501")
    notes: list[str] = []
    train, query, gallery = (_read_split(path, name, notes) for name in FOLDERS)
    return Dataset(path, "market1501", train, query, gallery, tuple(notes))


def _read_split(root: Path, name: str, notes: list[str]) -> Split:
    folder = root / FOLDERS[name]
    if not folder.is_dir():
        notes.append(f"there is no {folder}, so that {name} is empty")
        return Split(name)
    images, passed_over = images_in(folder)
    if passed_over:
        notes.append(passed_over_note(folder, passed_over))
    samples = [parse_name(image, NAME, "market1501", EXAMPLE) for image in images]
    kept = samples if name == "gallery" else [sample for sample in samples if sample.pid != JUNK_PID]
    if len(kept) < len(samples):
        notes.append(f"{len(samples) - len(kept)} junk images (identity -1) in {folder} left out of {name}")
    return Split(name, tuple(kept))
