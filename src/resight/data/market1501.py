"""The Market-1501 layout: three folders, and names such as `0002_c1s1_000451_03.jpg`.

The parts of a name are identity, camera, recording, frame and detection. Identity -1 is junk and 0000 a distractor.
Cameras keep the numbers they are written with, counted from 1. The folders `gt_bbox` and `gt_query` and the readme.txt
that Market-1501 ships with are not used. Folders and names are those of Market-1501-v15.09.15; data of one's own may
use the layout too.
"""

from pathlib import Path

from resight.data.market_folders import format_of, read_folders
from resight.protocols import PROTOCOLS
from resight.types import Dataset


def matches(path: Path) -> bool:
    """Tell whether `path` holds at least one of the three folders, with file names that no other data set has."""
    return format_of(path) == "market1501"


def read(path: Path) -> Dataset:
    """Read the three folders; one that is missing is an empty split, junk is kept in the gallery only.

    `timestamp` is the frame number, and 1,000,000 more for each recording. What was passed over stands in the notes.

    Raises:
        DataError: none of the folders is there, one is empty, an image's name does not follow the pattern, or an
            identity is in both train and test.
    """
    return read_folders(path, "market1501", PROTOCOLS["market1501"])
