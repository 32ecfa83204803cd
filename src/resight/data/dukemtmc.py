"""The DukeMTMC-reID layout: the folders of Market-1501, and names such as `0001_c2_f0046182.jpg`.

The parts of a name are identity, camera and the frame in that camera's own count. Cameras keep the numbers they are
written with, 1 to 8. Gallery identities that no query has are ordinary strangers. Names are as listings of the
published archive show them and as the README of DukeMTMC-reID_baseline (Zheng) explains them.
"""

from pathlib import Path

from resight.data.market_folders import format_of, read_folders
from resight.protocols import PROTOCOLS
from resight.types import Dataset

WITHDRAWN = (
    "DukeMTMC-reID was withdrawn by its authors in 2019 for the privacy of the people in it; it is read so that "
    "published figures can be checked, and should not be used for new work"
)


def matches(path: Path) -> bool:
    """Tell whether `path` holds at least one of the three folders, with file names of DukeMTMC-reID."""
    return format_of(path) == "dukemtmc"


def read(path: Path) -> Dataset:
    """Read the three folders; one that is missing is an empty split. The first note says that it was withdrawn.

    `timestamp` is the frame number, which the cameras do not share.

    Raises:
        DataError: none of the folders is there, one is empty, an image's name does not follow the pattern, or an
            identity is in both train and test.
    """
    return read_folders(path, "dukemtmc", PROTOCOLS["dukemtmc"], notes=(WITHDRAWN,))
