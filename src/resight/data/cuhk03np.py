"""The CUHK03-NP layout: `labeled` and `detected`, each with the folders of Market-1501 and names like `0001_c1_1.png`.

This is CUHK03 split anew into 767 and 700 people (Zhong et al. 2017), once with boxes drawn by hand and once with a
detector's. The parts of a name are identity, camera and a running number; no time is known. Cameras keep the numbers
they are written with, 1 and 2. Folders, rules and counts are of the README of CUHK03-NP in Zhong's
person-re-ranking, names of listings in readers written for it.
"""

from dataclasses import replace
from pathlib import Path

from resight.data.market_folders import format_of, read_folders
from resight.data.official import differences
from resight.errors import DataError
from resight.protocols import PROTOCOLS
from resight.types import Dataset

BOXES = {"labeled": "cuhk03np", "detected": "cuhk03np-detected"}
"""The folders, by who drew the boxes, and their protocols, which differ in the counts."""


def matches(path: Path) -> bool:
    """Tell whether `path`, or `labeled` or `detected` in it, holds one of the three folders with names of CUHK03-NP."""
    return any(format_of(folder) == "cuhk03np" for folder in (path, *(path / boxes for boxes in BOXES)))


def read(path: Path) -> Dataset:
    """Read the three folders of `path`, or of the one of `labeled` and `detected` that is there.

    The protocol is the one whose counts the images agree with better, or, if neither, that of `detected` if the folder
    has that name, and of `labeled` otherwise.

    Raises:
        DataError: both are there, none of the three folders is, one is empty, an image's name does not follow the
            pattern, or an identity is in both train and test.
    """
    inside = [path / boxes for boxes in BOXES if format_of(path / boxes) is not None]
    if format_of(path) is None and len(inside) > 1:
        labeled, detected = inside
        raise DataError(
            f"{path} holds the same people in boxes drawn by hand and in a detector's, so one must be chosen; "
            f"give {labeled} or {detected}"
        )
    folder = path if format_of(path) is not None or not inside else inside[0]
    named = BOXES.get(folder.absolute().name, "cuhk03np")
    dataset = read_folders(folder, "cuhk03np", PROTOCOLS[named])
    others = [replace(dataset, protocol=PROTOCOLS[name]) for name in BOXES.values() if name != named]
    return min((dataset, *others), key=lambda counted: len(differences(counted)))  # the first of equals
