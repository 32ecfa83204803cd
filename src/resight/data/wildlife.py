"""Tables of animals as WildlifeDatasets writes them: `metadata.csv` with identity and path, beside the images.

Sources: the columns image_id, identity, path, bbox, date and video, and "unknown", from the documentation of
WildlifeDatasets (Čermák et al. 2024); original_split, camera, trap_id, encounter and encounter_id from its readers;
metadata.csv in the folder of the images, and its column split, from those of WildlifeReID-10k and AnimalCLEF 2025.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from resight.data.lists import Placed, refuse_twice
from resight.data.numbering import in_sorted_order
from resight.data.tracklets import of_each_camera, refuse_mixed
from resight.data.wildlife_cells import Row, box_of, image_of, is_day, read_rows, timestamp_of
from resight.errors import DataError
from resight.protocols import PROTOCOLS
from resight.types import Dataset, Sample, Split

FILE = "metadata.csv"
NEEDED = ("identity", "path")
SPLITS = ("split", "original_split")
CAMERAS = ("camera", "camera_id", "station", "trap_id")
TRACKLET = "tracklet"
NO_TRACKLETS = ("video", "encounter", "encounter_id")
"""One of these may show several animals: taken for a tracklet, it would make them positives of each other."""

OTHERS = ("image_id", "date", "bbox")
UNKNOWN = "unknown"

MEMBERSHIP = {
    "train": ("train",),
    "val": ("train",),
    "valid": ("train",),
    "validation": ("train",),
    "test": ("query", "gallery"),
    "query": ("query",),
    "database": ("gallery",),
    "gallery": ("gallery",),
}
"""The splits that an image belongs to by what its row says."""


def matches(path: Path) -> bool:
    """Tell whether `path` is a folder with a metadata.csv that has the columns identity and path."""
    try:
        with (path / FILE).open(encoding="utf-8-sig", newline="") as file:
            return {name.strip() for name in next(csv.reader(file), [])}.issuperset(NEEDED)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError, csv.Error):
        return False


def read(path: Path) -> Dataset:
    """Read the table, `path` itself or metadata.csv in it; paths are absolute or start from the table's folder.

    Identities, cameras and tracklets are numbered from 0 in the sorted order of their names; "unknown" and empty ones
    are None. Tracklets are of a column tracklet alone. The column split, or else original_split, gives the splits; a
    test image is both a query and a gallery image, and never its own answer. Train and test may share identities.
    `timestamp` is the date in seconds.

    Raises:
        DataError: the file is no such table, a row cannot be used, or a tracklet is of two identities; the message
            names the line.
    """
    table = path / FILE if path.is_dir() else path
    columns, rows = read_rows(table)
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise DataError(f"{table} must have a column '{missing[0]}', got {', '.join(columns) or 'none'}")
    _refuse_repeated_ids(rows)
    notes: list[str] = []
    samples = _samples(table, columns, rows, notes)
    members = _members(_first(columns, SPLITS), rows, samples, notes)
    for placed in members.values():
        refuse_twice(placed)
    known = {name: _with_identity(name, placed, notes) for name, placed in members.items()}
    train, query, gallery = (Split(name, known[name]) for name in ("train", "query", "gallery"))
    _note_shared(train, query, gallery, notes)
    return Dataset(path, "wildlife", train, query, gallery, tuple(notes), protocol=PROTOCOLS["wildlife"])


def _first(columns: Sequence[str], names: Sequence[str]) -> str:
    return next((name for name in names if name in columns), "")


def _refuse_repeated_ids(rows: Sequence[Row]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        before = first.setdefault(row["image_id"], row)
        if before is not row and row["image_id"]:
            raise DataError(f"{before.place} and {row.place} both have image_id '{row['image_id']}'; keep one of them")


def _samples(table: Path, columns: Sequence[str], rows: Sequence[Row], notes: list[str]) -> list[Sample]:
    camera = _first(columns, CAMERAS)
    pids = _numbers(["" if row["identity"].lower() == UNKNOWN else row["identity"] for row in rows])
    camids = _numbers([row[camera] for row in rows])
    tracklets = of_each_camera(_numbers([row[TRACKLET] for row in rows]), camids, table, notes)
    _note_unused(columns, {*NEEDED, *OTHERS, TRACKLET, camera, _first(columns, SPLITS)}, notes)
    days = sum(is_day(row) for row in rows)
    if camera and days:
        notes.append(
            f"{days} dates have no time of day, so that one camera's images of a day seem to be of one moment; "
            "leave miner.same_time off"
        )
    samples = [
        Sample(image_of(row, table.parent), pid, camid, timestamp_of(row), tracklet, box_of(row))
        for row, pid, camid, tracklet in zip(rows, pids, camids, tracklets, strict=True)
    ]
    refuse_mixed(samples, "identity", lambda row, column: rows[row][column], lambda row: rows[row].place)
    return samples


def _note_unused(columns: Sequence[str], used: set[str], notes: list[str]) -> None:
    unused = [name or "(no name)" for name in columns if name not in used or not name]
    if unused:
        notes.append(f"columns not used: {', '.join(unused)}")
    doubtful = [name for name in unused if name in NO_TRACKLETS]
    if doubtful:
        notes.append(
            f"{' and '.join(doubtful)} not taken for tracklets, since several animals may be in one; where each value "
            "shows one animal by one camera, name the column tracklet"
        )


def _numbers(names: Sequence[str]) -> list[int | None]:
    """Number the names, be they integers or not, from 0 in sorted order; an empty one is None."""
    numbers = in_sorted_order({*names} - {""})
    return [numbers.get(name) for name in names]


def _members(column: str, rows: Sequence[Row], samples: Sequence[Sample], notes: list[str]) -> dict[str, list[Placed]]:
    """Sort the samples into splits; without a column all are training images."""
    members: dict[str, list[Placed]] = {"train": [], "query": [], "gallery": []}
    said = dict.fromkeys(("test", "val", ""), 0)
    for row, sample in zip(rows, samples, strict=True):
        text = row[column].lower()
        if text and text not in MEMBERSHIP:
            raise DataError(
                f"{row.place} has {column} '{row[column]}', which must be one of {', '.join(MEMBERSHIP)} or empty"
            )
        for name in MEMBERSHIP.get(text, ("train",)):
            members[name].append((row.place, sample))
        key = text[:3] if text.startswith("val") else text
        said[key] = said.get(key, 0) + 1
    if said["test"]:
        notes.append(f"{said['test']} test images are both query and gallery images; none answers itself")
    if said["val"]:
        notes.append(f"{said['val']} validation images are training images")
    if column and said[""]:
        notes.append(f"{said['']} images without {column} are training images")
    return members


def _with_identity(name: str, placed: Sequence[Placed], notes: list[str]) -> tuple[Sample, ...]:
    """Leave images without an identity out of a test in which others have one: they would be no right answers."""
    samples = tuple(sample for _, sample in placed)
    known = tuple(sample for sample in samples if sample.pid is not None)
    if name == "train" or not known or len(known) == len(samples):
        return samples
    notes.append(f"{len(samples) - len(known)} images of unknown identity left out of {name}")
    return known


def _note_shared(train: Split, query: Split, gallery: Split, notes: list[str]) -> None:
    of_train, of_test = (
        {sample.pid for split in splits for sample in split} - {None} for splits in ((train,), (query, gallery))
    )
    if of_train & of_test:
        notes.append(
            f"{len(of_train & of_test)} of {len(of_test)} identities of query and gallery are in train too: "
            "the data are meant so, but scores are of animals that the model has seen"
        )
