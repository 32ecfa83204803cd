"""The VehicleID layout: one folder of images, and lists of `IMAGE IDENTITY` a line; there are no cameras.

    image/0000001.jpg
    train_test_split/train_list.txt, test_list_800.txt, test_list_1600.txt, test_list_2400.txt
    attribute/

Images are listed without their ending. The lists `test_list_3200.txt`, `test_list_6000.txt` and `test_list_13164.txt`
that lie there too belong to no published test and are not read, nor are the attributes (colour and model). In a test
one random image of each identity is the gallery and the others are queries, ten times over. So query and gallery hold
the same images here, all that a list names, and the evaluation draws.

Sources: layout and lists from FastReID's loader `vehicleid.py`, whose counts of images are the official ones here; the
protocol from Liu et al., Deep Relative Distance Learning, CVPR 2016.
"""

import re
from pathlib import Path

from resight.data.folder import by_stem, images_in
from resight.data.lists import Placed, filled_list, refuse_shared_identities, refuse_twice
from resight.data.numbering import identity_or_camera
from resight.data.sized_tests import first_image, splits_and_tests
from resight.errors import DataError
from resight.protocols import PROTOCOLS
from resight.types import Dataset, Sample, Split

IMAGES, LISTS = "image", "train_test_split"
TRAIN_LIST = "train_list.txt"
TEST_LISTS = {"small": "test_list_800.txt", "medium": "test_list_1600.txt", "large": "test_list_2400.txt"}
LINE = re.compile(r"(?P<image>[^\s/.]+)\s+(?P<pid>\d+)")
NAME = re.compile(r"\d{7}\.jpg")


def matches(path: Path) -> bool:
    """Tell whether `path` holds the layout's folder of images and one of its lists."""
    return (path / IMAGES).is_dir() and len(_missing_lists(path)) < 1 + len(TEST_LISTS)


def lacks(path: Path) -> list[str]:
    """Name the lists that are missing where the images lie, and are named, as in this layout."""
    return _missing_lists(path) if NAME.fullmatch(first_image(path / IMAGES)) else []


def _missing_lists(path: Path) -> list[str]:
    names = [f"{LISTS}/{name}" for name in (TRAIN_LIST, *TEST_LISTS.values())]
    return [name for name in names if not (path / name).is_file()]


def read(path: Path) -> Dataset:
    """Read the training list and those of the three tests that are there.

    Raises:
        DataError: a folder or the training list is missing, a list is empty, a line is not of the form `IMAGE
            IDENTITY`, names an image that is not there or one that stood in it before, or an identity is in train and
            test.
    """
    if not ((path / IMAGES).is_dir() and (path / LISTS).is_dir()):
        raise DataError(f"{path} must hold the folders {IMAGES} and {LISTS} to be read as vehicleid")
    images, _ = images_in(path / IMAGES)
    present = by_stem(images)
    train = _read_list(path, TRAIN_LIST, present)
    notes: list[str] = []
    tests = {}
    for size, name in TEST_LISTS.items():
        if not (path / LISTS / name).is_file():
            notes.append(f"there is no {path / LISTS / name}, so that the {size} test is left out")
            continue
        placed = _read_list(path, name, present)
        refuse_shared_identities(train, placed)
        samples = [sample for _, sample in placed]
        tests[size] = (samples, samples)
    query, gallery, sets = splits_and_tests(tests, key=lambda sample: sample.path)
    listed = {sample.path for samples in ([sample for _, sample in train], query) for sample in samples}
    if len(listed) < len(images):
        notes.append(f"{len(images) - len(listed)} images in {path / IMAGES} passed over: in no list that is read")
    split = Split("train", tuple(sample for _, sample in train))
    return Dataset(path, "vehicleid", split, query, gallery, tuple(notes), sets, PROTOCOLS["vehicleid"])


def _read_list(root: Path, name: str, present: dict[str, Path]) -> list[Placed]:
    placed = [(place, _sample(place, line, root / IMAGES, present)) for place, line in filled_list(root / LISTS / name)]
    refuse_twice(placed)
    return placed


def _sample(place: str, line: str, folder: Path, present: dict[str, Path]) -> Sample:
    parts = LINE.fullmatch(line)
    if parts is None:
        raise DataError(f"{place} must be like '0000001 1' (image, identity) to be read as vehicleid, got '{line}'")
    image = present.get(parts["image"].casefold())
    if image is None:
        missing = folder / f"{parts['image']}.jpg"
        raise DataError(f"{place} names {missing}, which is no file; put the image there or take the line out")
    return Sample(image, identity_or_camera(parts["pid"], place))
