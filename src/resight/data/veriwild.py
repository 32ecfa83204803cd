"""The VeRi-Wild layout: a folder of images for each identity, lists for training and three tests, a table of cameras.

    images/00001/000001.jpg
    train_test_split/train_list.txt, vehicle_info.txt, test_3000.txt, test_3000_query.txt, and so for 5000 and 10000

A line of a list is `IDENTITY/IMAGE`. The lists also go round as `train_list_start0.txt`, `test_3000_id.txt` and
`test_3000_id_query.txt`, a line being `IDENTITY/IMAGE.jpg NUMBER CAMERA`; the number, which counts the training
identities anew from 0, is not used. A line of the table is `IDENTITY/IMAGE;CAMERA;TIME;MODEL;TYPE;COLOUR`. A gallery
list does not name the query images of its own test; those of a smaller test are gallery images of a larger one.

Also read are the folders into which the script of SSML-FD's authors copies the images, named `00001_c2_000001.jpg`
(identity, camera, image): `bounding_box_train` (`train_set` in their loader); `query` and `bounding_box_test`, the
large test; `query_middle` and `test_middle`; `query_small` and `test_small`. There the training identities may be
counted anew, so those of the tests are given numbers beyond them.

Sources: the authors' repository PKU-IMRE/VERI-Wild (README, test code and issue 2) for folders, lines and the camera
rule; FastReID's loader `veriwild.py` for the lists' names, the table and the training and test counts; the README,
`veri_wild_transform.py` and evaluation log of andreYoo/VeRI_SSML_FD for the lists with cameras, the copied folders and
the counts of each query and gallery. How the table writes times no source says: whatever has the fourteen digits of
year to second in order is read, and the rest noted.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from resight.data.folder import by_stem, folders_in, images_in
from resight.data.lists import Placed, filled_list, refuse_shared_identities, refuse_twice
from resight.data.numbering import identity_or_camera, is_too_large, too_large
from resight.data.sized_tests import first_image, splits_and_tests
from resight.errors import DataError
from resight.protocols import PROTOCOLS
from resight.types import Dataset, Sample, Split

IMAGES, LISTS, TABLE = "images", "train_test_split", "vehicle_info.txt"
TRAIN_LISTS = ("train_list.txt", "train_list_start0.txt")
SIZES = {"small": 3000, "medium": 5000, "large": 10000}
TEST_LISTS = (("test_{}_query.txt", "test_{}.txt"), ("test_{}_id_query.txt", "test_{}_id.txt"))
LINE = re.compile(r"(?P<key>(?P<pid>\d+)/[^/\s.]+)(?i:\.jpg)?(?:\s+\d+\s+(?P<camid>\d+))?")
COLUMNS = ("id/image", "Camera ID", "Time")
IDENTITY = re.compile(r"\d{5}")
LOOKED_AT = 5
"""How many folders of identities are looked at to tell the layout without its lists."""

COPIED_TRAIN = ("bounding_box_train", "train_set")
COPIED_TESTS = {
    "small": ("query_small", "test_small"),
    "medium": ("query_middle", "test_middle"),
    "large": ("query", "bounding_box_test"),
}
# Five digits at least, by which the names differ from those of CUHK03-NP.
COPIED_NAME = re.compile(r"(?P<pid>\d{5,})_c(?P<camid>\d+)_\d+\.\w+")
COPIED_EXAMPLE = "00001_c2_000001.jpg"


@dataclass(frozen=True, slots=True)
class _Tree:
    """The images that are there, by names as `00001/000001`, and what the table says of each: camera and time.

    Names are in lower case. `images`: how many there are.
    """

    root: Path
    images: int
    present: dict[str, Path]
    table: dict[str, tuple[str, float | None]]


def matches(path: Path) -> bool:
    """Tell whether `path` holds the folder of images and one of the lists, or copied folders with names as copied."""
    return (_is_official(path) and _has_list(path / LISTS)) or _is_copied(path)


def lacks(path: Path) -> list[str]:
    """Name the lists that are missing where the images lie in folders as in this layout."""
    if not (path / IMAGES).is_dir() or _has_list(path / LISTS):
        return []
    named = any(IDENTITY.fullmatch(folder.name) for folder in islice(folders_in(path / IMAGES), LOOKED_AT))
    tests = [name.format(count) for count in SIZES.values() for name in TEST_LISTS[0]]
    return [f"{LISTS}/{name}" for name in (TRAIN_LISTS[0], *tests)] if named else []


def read(path: Path) -> Dataset:
    """Read the training images and those of the three tests that are there.

    `timestamp` is in seconds. Query and gallery hold each image of all tests once.

    Raises:
        DataError: a folder is missing; a list is missing or empty; a line is of another form, names an image that is
            not there, that stood in the list before, or whose camera is not known; or an identity is in train and test.
    """
    if _is_official(path):
        return _read_official(path)
    if _copied_folders(path):
        return _read_copied(path)
    raise DataError(f"{path} must hold the folders {IMAGES} and {LISTS} to be read as veriwild")


def _is_official(path: Path) -> bool:
    return (path / IMAGES).is_dir() and (path / LISTS).is_dir()


def _has_list(folder: Path) -> bool:
    there = any((folder / name).is_file() for name in TRAIN_LISTS)
    return there or any(_test_lists(folder, count) is not None for count in SIZES.values())


def _copied_folders(path: Path) -> list[Path]:
    names = [*COPIED_TRAIN, *(name for pair in COPIED_TESTS.values() for name in pair)]
    return [path / name for name in names if (path / name).is_dir()]


def _is_copied(path: Path) -> bool:
    folders = _copied_folders(path)
    return bool(folders) and all(COPIED_NAME.fullmatch(first_image(folder)) for folder in folders)


def _read_official(root: Path) -> Dataset:
    notes: list[str] = []
    tree = _Tree(root, *_present(root / IMAGES), _read_table(root / LISTS / TABLE, notes))
    train = _read_list(tree, _first_there(root / LISTS, TRAIN_LISTS))
    tests = {}
    for size, count in SIZES.items():
        pair = _test_lists(root / LISTS, count)
        if pair is None:
            notes.append(f"there is no {root / LISTS / TEST_LISTS[0][1].format(count)}, so the {size} test is left out")
            continue
        placed = [_read_list(tree, file) for file in pair]
        for part in placed:
            refuse_shared_identities(train, part)
        tests[size] = (_samples(placed[0]), _samples(placed[1]))
    query, gallery, sets = splits_and_tests(tests, key=lambda sample: sample.path)
    listed = {sample.path for samples in (_samples(train), query, gallery) for sample in samples}
    if len(listed) < tree.images:
        notes.append(f"{tree.images - len(listed)} images in {root / IMAGES} passed over: in no list that is there")
    split = Split("train", tuple(_samples(train)))
    return Dataset(root, "veriwild", split, query, gallery, tuple(notes), sets, PROTOCOLS["veriwild"])


def _present(images: Path) -> tuple[int, dict[str, Path]]:
    """List each identity's folder once: how many images there are, and where each is."""
    with os.scandir(images) as entries:
        folders = [Path(entry) for entry in entries if entry.is_dir()]
    count = 0
    present: dict[str, Path] = {}
    for folder in folders:
        files, _ = images_in(folder)
        count += len(files)
        present |= {f"{folder.name}/{stem}": file for stem, file in by_stem(files).items()}
    return count, present


def _first_there(folder: Path, names: Sequence[str]) -> Path:
    """Give the first file that is there, or, to be missed by its reader, the first."""
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _test_lists(folder: Path, count: int) -> list[Path] | None:
    """Give query list and gallery list of the first kind of which one is there, or None."""
    for names in TEST_LISTS:
        files = [folder / name.format(count) for name in names]
        if any(file.is_file() for file in files):
            return files
    return None


def _read_list(tree: _Tree, file: Path) -> list[Placed]:
    placed = [(place, _sample(place, line, tree)) for place, line in filled_list(file)]
    refuse_twice(placed)
    return placed


def _sample(place: str, line: str, tree: _Tree) -> Sample:
    parts = LINE.fullmatch(line)
    if parts is None:
        raise DataError(f"{place} must be like 00001/000001 (identity, image) to be read as veriwild, got '{line}'")
    key = parts["key"]
    image = tree.present.get(key.casefold())
    if image is None:
        missing = tree.root / IMAGES / f"{key}.jpg"
        raise DataError(f"{place} names {missing}, which is no file; put the image there or take the line out")
    camid, time = tree.table.get(key.casefold(), (parts["camid"], None))
    if camid is None:
        table = tree.root / LISTS / TABLE
        raise DataError(f"{table} must give the camera of {key}, named by {place}; put the one the data set ships with")
    return Sample(image, identity_or_camera(parts["pid"], place), identity_or_camera(camid, place), time)


def _read_table(file: Path, notes: list[str]) -> dict[str, tuple[str, float | None]]:
    """Read camera and time of each image; the models' names, in whatever encoding, are not looked at.

    Where the first line does not name the columns, or otherwise, they are taken to stand in the usual order.
    """
    if not file.is_file():
        notes.append(f"there is no {file}, so that times are not known")
        return {}
    table: dict[str, tuple[str, float | None]] = {}
    unread = 0
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        cells = [cell.strip() for cell in line.split(";")]
        if number == 1 and tuple(cells[:3]) != COLUMNS:
            notes.append(f"{file} line 1 does not begin with {';'.join(COLUMNS)}: columns taken to stand in this order")
        is_row = len(cells) >= len(COLUMNS) and cells[1].isdecimal()
        if cells == [""] or (number == 1 and not is_row):
            continue
        if not is_row:
            raise DataError(f"{file} line {number} must give image, camera and time between semicolons, got '{line}'")
        time = _seconds(cells[2])
        unread += time is None
        table[cells[0].casefold().removesuffix(".jpg")] = (cells[1], time)
    if unread:
        notes.append(f"{unread} times in {file} not known: they are not written like 2018-03-11 07:41:20")
    return table


def _seconds(text: str) -> float | None:
    """Read year to second, whatever stands between the digits, as seconds since 1970; None where that fails."""
    digits = re.sub(r"\D", "", text)[:14]
    try:
        return datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}Z").timestamp() if len(digits) == 14 else None
    except ValueError:
        return None


def _read_copied(root: Path) -> Dataset:
    notes: list[str] = []
    train_folder = next((root / name for name in COPIED_TRAIN if (root / name).is_dir()), None)
    if train_folder is None:
        notes.append(f"there is no {root / COPIED_TRAIN[0]}, so that train is empty")
    train = _read_folder(train_folder) if train_folder else []
    beyond = 1 + max((sample.pid for sample in train if sample.pid is not None), default=-1)
    tests = {}
    for size, names in COPIED_TESTS.items():
        there = [(root / name).is_dir() for name in names]
        if not any(there):
            notes.append(f"there is no {root / names[1]}, so the {size} test is left out")
            continue
        if not all(there):
            missing, other = names[there.index(False)], names[there.index(True)]
            raise DataError(f"there is no {root / missing} beside {other}; put it there or take {other} away")
        tests[size] = (_read_folder(root / names[0], beyond), _read_folder(root / names[1], beyond))
    query_split, gallery_split, sets = splits_and_tests(tests, key=lambda sample: sample.path.name)
    split = Split("train", tuple(train))
    return Dataset(root, "veriwild", split, query_split, gallery_split, tuple(notes), sets, PROTOCOLS["veriwild"])


def _read_folder(folder: Path, beyond: int = 0) -> list[Sample]:
    """Read a copied folder; identities are counted from `beyond`."""
    files, _ = images_in(folder)
    if not files:
        raise DataError(f"{folder} must hold at least one image, and it holds none; fill it or take it away")
    return [_copied(file, beyond) for file in files]


def _copied(file: Path, beyond: int) -> Sample:
    parts = COPIED_NAME.fullmatch(file.name)
    if parts is None:
        raise DataError(f"{file} must be named like {COPIED_EXAMPLE} (identity, camera, image) to be read as veriwild")
    pid, camid = (identity_or_camera(parts[name], str(file)) for name in ("pid", "camid"))
    if is_too_large(beyond + pid):
        raise too_large(f"{file}, counted from {beyond}, has the number", str(beyond + pid))
    return Sample(file, beyond + pid, camid)


def _samples(placed: Sequence[Placed]) -> list[Sample]:
    return [sample for _, sample in placed]
