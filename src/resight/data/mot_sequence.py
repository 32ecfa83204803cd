"""One MOT Challenge sequence: its frames, `seqinfo.ini`, and the boxes that a list gives; see `resight.data.mot`."""

import configparser
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from resight.data.decode import clipped
from resight.data.folder import folders_in, images_in
from resight.data.lists import list_lines
from resight.errors import DataError
from resight.types import Box

FRAMES, INFO, GROUND_TRUTH, DETECTIONS = "img1", "seqinfo.ini", "gt/gt.txt", "det/det.txt"
PARTS = ("train", "val", "test")

TRUTH_COLUMNS = 9
"""Columns of a ground truth with class and visibility; that of MOT15 has ten, the last three a place in space."""

PEDESTRIAN = 1
LEAST_VISIBLE = 0.3
"""Where less of a person is visible, the box shows mostly something or somebody else."""

ENDLESS = 2**31
"""Width and height of a frame whose size is not known."""


@dataclass(frozen=True)
class VideoSequence:
    """The frames of a sequence by their numbers.

    What `seqinfo.ini` says is None, or `ENDLESS`, where there is none. `rate`: frames a second. `length`: frames that
    there should be. `width`, `height`: of a frame.
    """

    folder: Path
    frames: Mapping[int, Path]
    rate: float | None = None
    length: int | None = None
    width: int = ENDLESS
    height: int = ENDLESS


class Row(NamedTuple):
    """A box as a line of a list gives it; `left_out`: why it is not used, if so."""

    place: str
    frame: int
    number: int
    box: Box
    left_out: str


def sequence_folders(path: Path) -> Iterator[Path]:
    """Find the sequences: `path` itself, or folders in it or in its parts train, val and test; in no order."""
    if _is_sequence(path):
        yield path
        return
    for part in (path, *(path / name for name in PARTS)):
        if part.is_dir():
            yield from (child for child in folders_in(part) if _is_sequence(child))


def _is_sequence(folder: Path) -> bool:
    return (folder / FRAMES).is_dir() or any((folder / name).is_file() for name in (INFO, GROUND_TRUTH, DETECTIONS))


def open_sequence(folder: Path) -> VideoSequence:
    """Read `seqinfo.ini`, where there is one, and list the frames.

    Raises:
        DataError: there are no frames, one is there twice or has no number, or `seqinfo.ini` cannot be read.
    """
    info = _info(folder / INFO) if (folder / INFO).is_file() else None
    images = folder / (FRAMES if info is None else info.get("imDir", FRAMES))
    if not images.is_dir():
        raise DataError(f"{images} must hold the frames of the sequence, and there is no such folder; put it there")
    frames = _frames(images)
    if info is None:
        return VideoSequence(folder, frames)
    rate, length, width, height = (
        _positive(folder / INFO, info, key) for key in ("frameRate", "seqLength", "imWidth", "imHeight")
    )
    return VideoSequence(folder, frames, rate, int(length), int(width), int(height))


def _info(file: Path) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8-sig"))
        return parser["Sequence"]
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} must be an INI file with a section [Sequence]: {reason}") from error


def _positive(file: Path, info: Mapping[str, str], key: str) -> float:
    text = info.get(key, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise DataError(f"{file} must give {key} as a number above 0, got '{text}'")
    return value


def _frames(folder: Path) -> dict[int, Path]:
    frames: dict[int, Path] = {}
    for image in images_in(folder)[0]:
        if not image.stem.isdecimal():
            raise DataError(f"{image} must be named by the number of its frame, such as 000001.jpg; rename it")
        before = frames.setdefault(int(image.stem), image)
        if before is not image:
            raise DataError(f"{before} and {image} are both frame {int(image.stem)}; keep one of them")
    if not frames:
        raise DataError(f"{folder} must hold the frames of the sequence, and there is no image in it; put them there")
    return frames


def read_rows(file: Path, sequence: VideoSequence) -> list[Row]:
    """Read the boxes of a sequence from `gt.txt`, or from another file as detections, sorted by frame.

    Raises:
        DataError: the file holds none; a line is none, or names a frame that is not there; or, in a ground truth, an
            identity has two boxes in a frame.
    """
    truth = file == sequence.folder / GROUND_TRUTH
    rows = [_row(place, text, sequence, truth=truth) for place, text in list_lines(file)]
    if not rows:
        raise DataError(f"{file} must hold at least one box, and it is empty; put the one that the data set ships with")
    first: dict[tuple[int, object], Row] = {}
    for at, row in enumerate(rows):
        if row.left_out:
            continue
        before = first.setdefault((row.frame, row.number if truth else row.box), row)
        if before is row:
            continue
        if truth:
            raise DataError(
                f"{before.place} and {row.place} both give identity {row.number} a box in frame {row.frame}; "
                "keep one of them"
            )
        rows[at] = row._replace(left_out="boxes that the detector gives twice")
    return sorted(rows, key=lambda row: row.frame)


def _row(place: str, text: str, sequence: VideoSequence, *, truth: bool) -> Row:
    try:
        values = [float(cell) for cell in text.split(",")]
        frame, number, left, top, width, height = values[:6]
        box = _box(left, top, width, height)
        if not (frame.is_integer() and number.is_integer()) or (truth and number < 0):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{place} must be numbers with commas between: frame, identity, left, top, width, height; got '{text}'"
        ) from error
    if frame not in sequence.frames:
        images = next(iter(sequence.frames.values())).parent
        raise DataError(f"{place} names frame {int(frame)}, which is no image in {images}; put it there")
    reason = _not_considered(values) if truth else ""
    try:
        box = clipped(box, sequence.height, sequence.width)
    except ValueError:
        reason = reason or "boxes that hold no pixel of the frame"
    return Row(place, int(frame), int(number), box, reason)


def _box(left: float, top: float, width: float, height: float) -> Box:
    """Round the edges to whole pixels; the first pixel is 1 in the list and 0 in a box."""
    x, y = math.floor(left - 0.5), math.floor(top - 0.5)
    return x, y, math.floor(left + width - 0.5) - x, math.floor(top + height - 0.5) - y


def _not_considered(values: list[float]) -> str:
    """Say why a row of a ground truth is not used, if so."""
    if len(values) > 6 and values[6] == 0:
        return "boxes marked as not to be considered"
    if len(values) == TRUTH_COLUMNS and values[7] not in (PEDESTRIAN, -1):
        return f"boxes of another class than {PEDESTRIAN} (pedestrian)"
    if len(values) == TRUTH_COLUMNS and 0 <= values[8] < LEAST_VISIBLE:
        return f"boxes of which less than {LEAST_VISIBLE:.0%} is visible"
    return ""
