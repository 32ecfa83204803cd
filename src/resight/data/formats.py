"""The table of readers: which layouts of data are known, and how one is recognised."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
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

LOOKED_INTO = 100
"""How many of the folders in a folder, and in those, are looked at for a data set inside."""

NAMED = 5
"""Data sets inside that an error names before it stops."""

TAKE_ALL = "or use --format folder to take all images for training"


def _lacks_nothing(path: Path) -> list[str]:
    del path
    return []


@dataclass(frozen=True)
class Reader:
    """What a format is: `matches` looks at names only and is quick; `read` lists every image or raises DataError.

    `lacks` names the files without which a folder does not match that else looks like the format.
    """

    matches: Callable[[Path], bool]
    read: Callable[[Path], Dataset]
    lacks: Callable[[Path], list[str]] = _lacks_nothing


FORMATS: dict[str, Reader] = {
    "veriwild": Reader(veriwild.matches, veriwild.read, veriwild.lacks),
    "vehicleid": Reader(vehicleid.matches, vehicleid.read, vehicleid.lacks),
    "veri776": Reader(veri776.matches, veri776.read),
    "msmt17": Reader(msmt17.matches, msmt17.read, msmt17.lacks),
    "dukemtmc": Reader(dukemtmc.matches, dukemtmc.read),
    "cuhk03np": Reader(cuhk03np.matches, cuhk03np.read),
    "market1501": Reader(market1501.matches, market1501.read),
    "mot": Reader(mot.matches, mot.read),
    "mot-det": Reader(mot.matches_detections, mot.read_detections),  # only by its name: it matches nothing
    "wildlife": Reader(wildlife.matches, wildlife.read),
    "folder-per-identity": Reader(identities.matches, identities.read),  # only by its name: it matches nothing
    "manifest": Reader(manifest.matches, manifest.read),
    "folder": Reader(folder.matches, folder.read),  # last: any folder matches
}


def read_dataset(path: Path, format: str | None = None) -> Dataset:
    """Read the data set at `path`, a folder or a manifest, by the named format or the first in `FORMATS` that matches.

    Raises:
        ConfigError: no format has that name.
        DataError: the path is missing, is nothing that can be read, or holds no images; or no format is named and it
            only seems to be a plain folder, see `detect`.
    """
    if format is not None and format not in FORMATS:
        raise no_such_name("format", format, FORMATS)
    with _said_of(path):
        if not path.exists():
            raise DataError(f"there is nothing at {path}; give a folder of images, or a .csv or .parquet manifest")
        dataset = FORMATS[detect(path) if format is None else format].read(path)
    if not any(dataset.splits):
        raise DataError("; ".join([f"there are no images in {path} (read as {dataset.format})", *dataset.notes]))
    return dataset


def detect(path: Path) -> str:
    """Name the first format that matches what is at `path`.

    Raises:
        DataError: none does; or only the plain folder does, which trains on every image, but a data set lies in it, or
            it looks like one whose lists are missing; or a folder cannot be looked into.
    """
    with _said_of(path):
        name = _first_match(path)
        if name == "folder":
            _refuse_hidden_data_sets(path)
    if name is None:
        raise DataError(
            f"{path} is neither a folder nor a manifest; give a folder of images, or a .csv or .parquet file"
        )
    return name


def _first_match(path: Path) -> str | None:
    return next((name for name, reader in FORMATS.items() if reader.matches(path)), None)


def _refuse_hidden_data_sets(path: Path) -> None:
    """Raise DataError where `path`, or a folder at most two levels below it, is a data set or nearly one."""
    _refuse_incomplete(path)
    inside: dict[Path, str] = {}
    for place in islice(_two_levels(path), LOOKED_INTO):
        if place.parent in inside:
            continue
        name = _first_match(place)
        if name is None or name == "folder":
            _refuse_incomplete(place)
        else:
            inside[place] = name
    if len(inside) == 1:
        [(place, name)] = inside.items()
        raise DataError(f"{path} is no data set, but inside is a {name} data set: give {place}, {TAKE_ALL}")
    if inside:
        named = [f"{place} ({name})" for place, name in inside.items()]
        more = [f"{len(named) - NAMED} more"] * (len(named) > NAMED)
        raise DataError(
            f"{path} is no data set, but inside are {len(named)}: give one of {', '.join([*named[:NAMED], *more])}, "
            f"{TAKE_ALL}"
        )


def _refuse_incomplete(path: Path) -> None:
    for name, reader in FORMATS.items():
        missing = reader.lacks(path)
        if missing:
            raise DataError(
                f"{path} looks like a {name} data set without its lists {', '.join(missing)}; put them there, "
                f"{TAKE_ALL}"
            )


def _two_levels(path: Path) -> Iterator[Path]:
    """Give the folders in `path`, sorted, then those in each of them."""
    nearest = sorted(folder.folders_in(path))
    yield from nearest
    for place in nearest:
        yield from sorted(folder.folders_in(place))


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Say what the file system refuses while `path` is looked at."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be looked at: {error.strerror or error}; make it readable, "
            "or give another folder"
        ) from error
