"""The table of readers: which layouts of data are known, and how one is recognised."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resight.data import (
    cuhk03np,
    dukemtmc,
    folder,
    identities,
    manifest,
    market1501,
    mot,
    msmt17,
    vehicleid,
    veri776,
    veriwild,
    wildlife,
)
from resight.errors import DataError, no_such_name
from resight.types import Dataset


@dataclass(frozen=True)
class Reader:
    """What a format is: `matches` looks at names only and is quick; `read` lists every image or raises DataError."""

    matches: Callable[[Path], bool]
    read: Callable[[Path], Dataset]


FORMATS: dict[str, Reader] = {
    "veriwild": Reader(veriwild.matches, veriwild.read),
    "vehicleid": Reader(vehicleid.matches, vehicleid.read),
    "veri776": Reader(veri776.matches, veri776.read),
    "msmt17": Reader(msmt17.matches, msmt17.read),
    "dukemtmc": Reader(dukemtmc.matches, dukemtmc.read),
    "cuhk03np": Reader(cuhk03np.matches, cuhk03np.read),
    "market1501": Reader(market1501.matches, market1501.read),
    "mot": Reader(mot.matches, mot.read),
    "mot-det": Reader(mot.matches, mot.read_detections),  # only by its name: what it matches is mot
    "wildlife": Reader(wildlife.matches, wildlife.read),
    "folder-per-identity": Reader(identities.matches, identities.read),  # only by its name: it matches nothing
    "manifest": Reader(manifest.matches, manifest.read),
    "folder": Reader(folder.matches, folder.read),  # last: any folder matches
}


def read_dataset(path: Path, format: str | None = None) -> Dataset:
    """Read the data set at `path`, a folder or a manifest, by the named format or the first in `FORMATS` that matches.

    Raises:
        ConfigError: no format has that name.
        DataError: the path is missing, is nothing that can be read, or holds no images.
    """
    if format is not None and format not in FORMATS:
        raise no_such_name("format", format, FORMATS)
    if not path.exists():
        raise DataError(f"there is nothing at {path}; give a folder of images, or a .csv or .parquet manifest")
    reader = FORMATS[detect(path) if format is None else format]
    dataset = reader.read(path)
    if not any(dataset.splits):
        raise DataError("; ".join([f"there are no images in {path} (read as {dataset.format})", *dataset.notes]))
    return dataset


def detect(path: Path) -> str:
    """Name the first format that matches what is at `path`.

    Raises:
        DataError: none does.
    """
    for name, reader in FORMATS.items():
        if reader.matches(path):
            return name
    raise DataError(f"{path} is neither a folder nor a manifest; give a folder of images, or a .csv or .parquet file")
