"""The VeRi-776 layout: three folders, a list of names for each, and names such as `0002_c002_00030600_0.jpg`.

    image_train/, image_query/, image_test/
    name_train.txt, name_query.txt, name_test.txt
    test_track.txt
    gt_index.txt, jk_index.txt, train_label.xml, test_label.xml, list_color.txt, list_type.txt, camera_ID.txt and others

The parts of a name are identity, camera, frame and a running number. Cameras keep the numbers they are written with,
counted from 1. The query images stand in the gallery too, where the camera rule leaves them out. A line of
`test_track.txt` is a tracklet: its name, then the names of its images in the gallery. The files of the last line are
not read: right answers and junk of each query follow from the camera rule, and `train_label.xml` leaves out 32 of the
37,778 training images, whence the 37,746 that some count.

The folders may also be called `bounding_box_train`, `query` and `bounding_box_test`, as SSML-FD's authors call them.

Sources: the ReadMe.txt that the data set ships with, for files and counts; listings of unpacked copies, where its
gt_image.txt and jk_image.txt are called gt_index.txt and jk_index.txt; public loaders that read `test_track.txt`, for
the form of its lines, and one that counts what `train_label.xml` leaves out; the README of andreYoo/VeRI_SSML_FD for
the other names of the folders.
"""

import re
from dataclasses import replace
from pathlib import Path

from resight.data.folder import images_in, passed_over_note
from resight.data.lists import Placed, filled_list, list_lines, refuse_shared_identities, refuse_twice
from resight.data.names import parse_name
from resight.data.sized_tests import first_image
from resight.errors import DataError
from resight.protocols import GENERAL, PROTOCOLS
from resight.types import Dataset, Sample, Split

LISTS = {"train": "name_train.txt", "query": "name_query.txt", "gallery": "name_test.txt"}
FOLDERS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
RENAMED = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
TRACKS = "test_track.txt"
ONLY_HERE = (
    TRACKS,
    "gt_index.txt",
    "gt_image.txt",
    "jk_index.txt",
    "jk_image.txt",
    "train_label.xml",
    "test_label.xml",
)
EXAMPLE = "0002_c002_00030600_0.jpg"
NAME = re.compile(r"(?P<pid>\d+)_c(?P<camid>\d+)_(?P<frame>\d+)_\d+")


def matches(path: Path) -> bool:
    """Tell whether `path` holds at least one of the three folders; renamed ones must hold names of this layout."""
    return bool(_there(path, FOLDERS)) or _is_renamed(path)


def read(path: Path) -> Dataset:
    """Read what the lists name, or, where there is no list at all, all that is in the folders.

    A split without a folder is empty. `timestamp` is the frame number. Tracklets are known of gallery images, and of
    query images by their names, where `test_track.txt` is there; its lines that name what is no gallery image, images
    of several vehicles or cameras, or an image of another tracklet are left out. What was passed over stands in the
    notes. A data set that only borrows the layout, with none of the further files of VeRi-776, has the general
    protocol.

    Raises:
        DataError: none of the folders is there; a folder or list is empty; some lists are there but not that of a
            folder; a listed image is missing or listed twice; a name does not follow the pattern; an identity is in
            train and test.
    """
    folders = FOLDERS if _there(path, FOLDERS) or not _there(path, RENAMED) else RENAMED
    if not _there(path, folders):
        raise DataError(f"{path} must hold one of {', '.join(FOLDERS.values())} to be read as veri776")
    notes: list[str] = []
    listed = any((path / name).is_file() for name in LISTS.values())
    if not listed:
        names = ", ".join(_there(path, folders))
        notes.append(f"there are no lists such as {LISTS['train']} in {path}, so all images in {names} are taken")
    placed = {name: _read_split(path, name, folders[name], notes, listed=listed) for name in LISTS}
    refuse_shared_identities(placed["train"], [*placed["query"], *placed["gallery"]])
    tracklet = _read_tracks(path / TRACKS, placed["gallery"], notes)
    train, query, gallery = (
        Split(name, tuple(replace(s, tracklet=tracklet.get(s.path.name)) if name != "train" else s for _, s in samples))
        for name, samples in placed.items()
    )
    official = any((path / name).is_file() for name in ONLY_HERE)
    protocol = PROTOCOLS["veri776"] if official else GENERAL
    return Dataset(path, "veri776", train, query, gallery, tuple(notes), protocol=protocol)


def _there(path: Path, folders: dict[str, str]) -> list[str]:
    return [folder for folder in folders.values() if (path / folder).is_dir()]


def _is_renamed(path: Path) -> bool:
    folders = _there(path, RENAMED)
    names = (first_image(path / folder).split(".")[0] for folder in folders)
    return bool(folders) and all(NAME.fullmatch(name) for name in names)


def _read_split(root: Path, name: str, folder_name: str, notes: list[str], *, listed: bool) -> list[Placed]:
    folder, names = root / folder_name, root / LISTS[name]
    if not folder.is_dir():
        notes.append(f"there is no {folder}, so that {name} is empty")
        return []
    images, passed_over = images_in(folder)
    if passed_over:
        notes.append(passed_over_note(folder, passed_over))
    if listed:
        return _read_list(names, images, folder, notes)
    if not images:
        raise DataError(f"{folder} must hold at least one image, and it holds none; fill it or take it away")
    return [(str(image), parse_name(image, NAME, "veri776", EXAMPLE)) for image in images]


def _read_list(names: Path, images: list[Path], folder: Path, notes: list[str]) -> list[Placed]:
    """Take the listed images in the list's order."""
    present = {image.name for image in images}
    placed: list[Placed] = []
    for place, name in filled_list(names):
        if name not in present:
            raise DataError(f"{place} lists '{name}', which is no image in {folder}")
        placed.append((place, parse_name(folder / name, NAME, "veri776", EXAMPLE, place=f"'{name}' in {place}")))
    refuse_twice(placed)
    if len(placed) < len(present):
        notes.append(f"{len(present) - len(placed)} images in {folder} passed over: not in {names.name}")
    return placed


def _read_tracks(file: Path, gallery: list[Placed], notes: list[str]) -> dict[str, int]:
    """Number the tracklets from 0 in the order of their lines: file name of an image → its tracklet."""
    if not gallery or not file.is_file():
        return {}
    samples = {sample.path.name: sample for _, sample in gallery}
    tracklet: dict[str, int] = {}
    kept, left_out = 0, []
    for place, line in list_lines(file):
        # The first word is the tracklet's name; where a copy has left that out, it is an image like the others.
        first, *others = line.split()
        names = [first, *others] if first in samples else others
        fault = _fault(names, samples, tracklet)
        if fault:
            left_out.append(f"{place} {fault}")
            continue
        tracklet.update(dict.fromkeys(names, kept))
        kept += 1
    if left_out:
        notes.append(f"{len(left_out)} tracklets left out: {left_out[0]}{', and so on' * (len(left_out) > 1)}")
    return tracklet


def _fault(names: list[str], samples: dict[str, Sample], tracklet: dict[str, int]) -> str:
    """Say why these images are no tracklet, or "" where they are one."""
    if not names:
        return "names no image"
    for name in names:
        if name not in samples:
            return f"names '{name}', which is no image of the gallery"
        if name in tracklet:
            return f"names {name}, as a line before it does"
    if len({(samples[name].pid, samples[name].camid) for name in names}) > 1:
        return "names images of several vehicles or cameras"
    return ""
