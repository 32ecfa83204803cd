"""The MSMT17 layout, V1 (`train`, `test`) and V2 with masked faces (`mask_train_v2`, `mask_test_v2`): four lists.

A line such as `0000/0000_000_01_0303morning_0008_0.jpg 0` gives a file, below the folder of its half of the data, and
its label, which is the identity. The parts of a name are identity, running number, camera (1 to 15), month, day and
part of the day of the recording, a number that grows with time within it, the detection, and at times `ex`. Train is
list_train and list_val, test is list_query and list_gallery. Folders and counts are of the paper (Wei et al. 2018)
and of the lists' copies in public repositories (MSMT17-Dataset by SamvitJ), from which the names are, too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from resight.data.folder import folders_in, images_below, passed_over_note
from resight.data.lists import Placed, filled_list, is_file, refuse_shared_identities, refuse_twice
from resight.data.sized_tests import first_image
from resight.errors import DataError
from resight.protocols import PROTOCOLS
from resight.types import Dataset, Sample, Split

LISTS = {"train": ("list_train.txt", "list_val.txt"), "query": ("list_query.txt",), "gallery": ("list_gallery.txt",)}
FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
"""Where the images of train and test are, in V1 and in V2."""

TEST_PIDS = 10_000
"""Added to the identities of query and gallery: they count from 0 again, with four digits, but are other people."""

RECORDING = 10_000
"""Added to the time from one part of a day to the next, above all numbers that the names give within one."""

PARTS = ("morning", "noon", "afternoon")
EXAMPLE = "0000/0000_000_01_0303morning_0008_0.jpg 0"
IMAGE = re.compile(
    r"(?P<folder>\d{4})/(?P<pid>\d{4})_\d+_(?P<camid>\d{2})_(?P<day>\d{4})(?P<part>morning|noon|afternoon)"
    r"_(?P<number>\d{4})_\d+(_ex)?\.\w+"
)
LINE = re.compile(rf"(?P<image>{IMAGE.pattern})\s+(?P<label>\d+)")
LOOKED_AT = 5
"""How many folders of people are looked into to tell the layout without its lists."""


@dataclass(frozen=True)
class _Half:
    """The images of train or of test: their folder, what is in it, and what is added to their identities."""

    folder: Path
    images: frozenset[Path]
    first_pid: int


def matches(path: Path) -> bool:
    """Tell whether `path` holds one of the four lists and one of the folders of images."""
    return len(_missing_lists(path)) < len(_list_names()) and bool(_folders_there(path))


def lacks(path: Path) -> list[str]:
    """Name the lists that are missing where the images lie, and are named, as in this layout."""
    people = (person for folder in _folders_there(path) for person in islice(folders_in(folder), LOOKED_AT))
    named = any(IMAGE.fullmatch(f"{person.name}/{first_image(person)}") for person in people)
    return _missing_lists(path) if named else []


def _list_names() -> list[str]:
    return [name for names in LISTS.values() for name in names]


def _missing_lists(path: Path) -> list[str]:
    return [name for name in _list_names() if not (path / name).is_file()]


def _folders_there(path: Path) -> list[Path]:
    return [path / name for names in FOLDERS for name in names if (path / name).is_dir()]


def read(path: Path) -> Dataset:
    """Read what the lists name, in their order; a half without folder and lists is empty.

    Identities of query and gallery are those of the lists and `TEST_PIDS` more. `timestamp` puts the images of a
    camera in order: within one part of a day its differences are those of the numbers in the names, whose unit the
    authors do not give, and recordings are `RECORDING` or more apart, whatever the time between them was. Images
    that no list names are passed over with a note.

    Raises:
        DataError: there are no folders, or those of V1 and of V2; a list is missing or empty, names an image twice or
            one that is not there, or has a line that is not like `EXAMPLE` or whose label is not the folder's.
    """
    notes: list[str] = []
    train_folder, test_folder = (path / name for name in _folders(path))
    (train,) = _read_half(path, train_folder, ("train",), notes)
    query, gallery = _read_half(path, test_folder, ("query", "gallery"), notes)
    refuse_shared_identities(train, [*query, *gallery])
    splits = [Split(name, tuple(s for _, s in half)) for name, half in zip(LISTS, (train, query, gallery), strict=True)]
    return Dataset(path, "msmt17", splits[0], splits[1], splits[2], tuple(notes), protocol=PROTOCOLS["msmt17"])


def _folders(root: Path) -> tuple[str, str]:
    """Name the folders of train and of test in the version that is there."""
    there = [names for names in FOLDERS if any((root / name).is_dir() for name in names)]
    if len(there) == 1:
        return there[0]
    versions = " or ".join(" and ".join(names) for names in FOLDERS)
    raise DataError(f"{root} must hold either {versions} to be read as msmt17, and holds {'both' if there else 'none'}")


def _read_half(root: Path, folder: Path, splits: Sequence[str], notes: list[str]) -> list[list[Placed]]:
    """Read the lists of `splits`, all images of which lie below `folder`."""
    lists = {split: [root / name for name in LISTS[split]] for split in splits}
    if not folder.is_dir():
        listed = [file.name for files in lists.values() for file in files if file.is_file()]
        if listed:
            raise DataError(f"{root / listed[0]} lists images in {folder}, and there is none; put it there")
        notes.append(
            f"there is no {folder}, so that {' and '.join(splits)} {'is' if len(splits) == 1 else 'are'} empty"
        )
        return [[] for _ in splits]
    images, passed_over = images_below(folder)
    if passed_over:
        notes.append(passed_over_note(folder, passed_over))
    half = _Half(folder, frozenset(images), 0 if "train" in splits else TEST_PIDS)
    read = [[placed for file in files for placed in _read_list(file, half)] for files in lists.values()]
    for split in read:
        refuse_twice(split)
    unlisted = half.images - {sample.path for split in read for _, sample in split}
    if unlisted:
        notes.append(f"{len(unlisted)} images in {folder} passed over: in no list")
    return read


def _read_list(file: Path, half: _Half) -> list[Placed]:
    return [(place, _sample(place, line, half)) for place, line in filled_list(file)]


def _sample(place: str, line: str, half: _Half) -> Sample:
    parts = LINE.fullmatch(line)
    if parts is None:
        raise DataError(f"{place} must be like `{EXAMPLE}` to be read as msmt17, got `{line}`")
    if not int(parts["label"]) == int(parts["folder"]) == int(parts["pid"]):
        raise DataError(
            f"{place} must give one identity as folder, in the name and as label, got {parts['folder']}, "
            f"{parts['pid']} and {parts['label']}; put the list that was shipped there"
        )
    image = half.folder / parts["image"]
    if image not in half.images and not is_file(image):
        raise DataError(f"{place} lists {image}, which is no file; put it there or take the line out")
    # The recordings are of 13 and 14 January and of 2 and 3 March: month, day and part give their order in the year.
    recording = int(parts["day"]) * len(PARTS) + PARTS.index(parts["part"])
    timestamp = float(recording * RECORDING + int(parts["number"]))
    return Sample(image, half.first_pid + int(parts["label"]), int(parts["camid"]), timestamp)
