"""The three folders of Market-1501, which later data sets of people took over with other file names."""

import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from resight.data.decode import is_image
from resight.data.folder import images_in, passed_over_note
from resight.data.lists import Placed, refuse_shared_identities
from resight.data.names import parse_name
from resight.errors import DataError
from resight.protocols import EvaluationProtocol
from resight.types import JUNK_PID, Dataset, Split

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
LOOKED_AT = 5
"""How many file names the data sets are told apart by."""

ANY_CAMERA = re.compile(r"\d+_c(?P<camid>\d+)_\d+")
"""Names like those of CUHK03-NP, which has two cameras; with others they are of some other data set."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How one data set names its files: up to the first dot they follow `pattern`, as `example` does."""

    pattern: re.Pattern[str]
    example: str


NAMINGS = {
    "dukemtmc": Naming(re.compile(r"(?P<pid>\d+)_c(?P<camid>\d+)_f(?P<frame>\d+)"), "0001_c2_f0046182.jpg"),
    # Two cameras saw each person, and only the two are told apart; the last part numbers all images and is no time.
    "cuhk03np": Naming(re.compile(r"(?P<pid>\d+)_c(?P<camid>[12])_\d+"), "0001_c1_1.png"),
    "market1501": Naming(
        re.compile(r"(?P<pid>-1|\d+)_c(?P<camid>\d+)s(?P<recording>\d+)_(?P<frame>\d+)_\d+"), "0002_c1s1_000451_03.jpg"
    ),
}
"""By format. The last one is of all data in these folders that follow no other."""


def format_of(path: Path) -> str | None:
    """Name the format of the three folders at `path` by the first file names, or None if none of the three is there.

    Other layouts have a folder `query` too: where it is alone, a name must follow some format's.
    """
    folders = [path / folder for folder in FOLDERS.values() if (path / folder).is_dir()]
    found = next(((folder, names) for folder in folders if (names := _first_names(folder, LOOKED_AT))), None)
    if found is not None:
        folder, names = found
        for format, naming in NAMINGS.items():
            if any(naming.pattern.fullmatch(name) for name in names):
                return "market1501" if format == "cuhk03np" and _has_other_cameras(folder) else format
    return "market1501" if {folder.name for folder in folders} - {FOLDERS["query"]} else None


def _has_other_cameras(folder: Path) -> bool:
    """Tell whether any name in `folder` has a camera that CUHK03-NP lacks, which the first few may not show."""
    cameras = (parts["camid"] for name in _first_names(folder) if (parts := ANY_CAMERA.fullmatch(name)))
    return any(camera not in ("1", "2") for camera in cameras)


def read_folders(path: Path, format: str, protocol: EvaluationProtocol, *, notes: tuple[str, ...] = ()) -> Dataset:
    """Read the three folders; one that is missing is an empty split, junk is kept in the gallery only.

    `notes`: what is to be said before what was passed over.

    Raises:
        DataError: none of the folders is there, one is empty, an image's name does not follow the format's, or an
            identity is in both train and test.
    """
    if not any((path / folder).is_dir() for folder in FOLDERS.values()):
        raise DataError(f"{path} must hold one of {', '.join(FOLDERS.values())} to be read as {format}")
    said = list(notes)
    train, query, gallery = (_read_split(path, name, format, said) for name in FOLDERS)
    refuse_shared_identities(_placed(train), [*_placed(query), *_placed(gallery)])
    return Dataset(path, format, train, query, gallery, tuple(said), protocol=protocol)


def _first_names(folder: Path, count: int | None = None) -> list[str]:
    """Give the names, up to the first dot, of the first images that the file system lists, whatever its order."""
    try:
        with os.scandir(folder) as entries:
            images = (entry.name for entry in entries if is_image(Path(entry.name)) and not entry.name.startswith("."))
            return [name.split(".")[0] for name in islice(images, count)]
    except OSError:  # which `read` reports
        return []


def _read_split(root: Path, name: str, format: str, notes: list[str]) -> Split:
    folder = root / FOLDERS[name]
    if not folder.is_dir():
        notes.append(f"there is no {folder}, so that {name} is empty")
        return Split(name)
    images, passed_over = images_in(folder)
    if not images:
        raise DataError(f"{folder} must hold the images of {name}, but it holds none; fill it or take it away")
    if passed_over:
        notes.append(passed_over_note(folder, passed_over))
    naming = NAMINGS[format]
    samples = [parse_name(image, naming.pattern, format, naming.example) for image in images]
    kept = samples if name == "gallery" else [sample for sample in samples if sample.pid != JUNK_PID]
    if len(kept) < len(samples):
        notes.append(f"{len(samples) - len(kept)} junk images (identity -1) in {folder} left out of {name}")
    return Split(name, tuple(kept))


def _placed(split: Split) -> list[Placed]:
    return [(str(sample.path), sample) for sample in split]
