"""MOT Challenge sequences: people in video frames, cut out by the boxes of the ground truth or of a detector.

A sequence is a folder with `img1/000001.jpg` …, `gt/gt.txt` (training sequences), `det/det.txt` and `seqinfo.ini`.
Sources: the files of a sequence, its columns and classes, and that boxes are counted from 1, from the papers of MOT15,
MOT16 and MOT20 (Leal-Taixé et al. 2015; Milan et al. 2016; Dendorfer et al. 2020) and the site's instructions; three
copies of each sequence, from the download of MOT17; `val` and names of eight digits, from the README of DanceTrack;
keys of `seqinfo.ini` and blanks after commas, from the README of SportsMOT.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from resight.data.mot_sequence import (
    DETECTIONS,
    FRAMES,
    GROUND_TRUTH,
    INFO,
    PARTS,
    Row,
    VideoSequence,
    open_sequence,
    read_rows,
    sequence_folders,
)
from resight.errors import DataError
from resight.types import Dataset, Sample, Split

DETECTORS = ("SDP", "FRCNN", "DPM")
"""The detectors of MOT17, the best first. A sequence is there once for each, with the same frames and ground truth."""

NAMED = 5
"""Sequences that a note names before it stops."""


def matches(path: Path) -> bool:
    """Tell whether `path` is a sequence or holds one, itself or in train, val or test."""
    return path.is_dir() and next(sequence_folders(path), None) is not None


def matches_detections(path: Path) -> bool:
    """Say no: sequences are read by their ground truth unless their detections are asked for."""
    del path
    return False


def read(path: Path) -> Dataset:
    """Read the ground truth of each sequence, or its detections where it has none; all are training images.

    Each identity of a sequence is an identity and a tracklet of its own; detections have neither. Sequences are
    cameras, numbered from 0 in sorted order. `timestamp` is in seconds of the sequence's video, or the frame's number
    where there is no `seqinfo.ini`. What is left out stands in the notes.

    Raises:
        DataError: there is no sequence, or one is not whole, or a list cannot be read; the message names the line.
    """
    return _read(path, "mot", (GROUND_TRUTH, DETECTIONS))


def read_detections(path: Path) -> Dataset:
    """Read the detections of each sequence, and no ground truth; else as `read`.

    Raises:
        DataError: see `read`.
    """
    return _read(path, "mot-det", (DETECTIONS,))


def _read(path: Path, format: str, lists: tuple[str, ...]) -> Dataset:
    if not matches(path):
        raise DataError(
            f"{path} must hold sequences (folders with {FRAMES} and {' or '.join(lists)}), itself or in "
            f"{', '.join(PARTS)}, to be read as {format}"
        )
    notes: list[str] = []
    folders = _one_copy_of_each(sorted(sequence_folders(path)), notes)
    listed = [_first_list(folder, lists) for folder in folders]
    _note_lists(folders, listed, lists, notes)
    samples: list[Sample] = []
    left_out: Counter[str] = Counter()
    identities = 0
    for camid, (folder, list_file) in enumerate(zip(folders, listed, strict=True)):
        if list_file is None:
            continue
        sequence = open_sequence(folder)
        _note_info(sequence, notes)
        rows = read_rows(list_file, sequence)
        left_out.update(row.left_out for row in rows if row.left_out)
        kept = [row for row in rows if not row.left_out]
        pids = _numbers(kept, identities) if list_file == folder / GROUND_TRUTH else {}
        identities += len(pids)
        samples += [_sample(row, sequence, camid, pids.get(row.number)) for row in kept]
    notes += [f"{count} {reason} left out" for reason, count in sorted(left_out.items())]
    if samples:
        notes.append(_count(samples, identities))
    return Dataset(path, format, Split("train", tuple(samples)), Split("query"), Split("gallery"), tuple(notes))


def _first_list(folder: Path, lists: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in lists if (folder / name).is_file()), None)


def _numbers(rows: Sequence[Row], first: int) -> dict[int, int]:
    """Number the identities of a sequence from `first`, in their order."""
    return {number: first + place for place, number in enumerate(sorted({row.number for row in rows}))}


def _sample(row: Row, sequence: VideoSequence, camid: int, pid: int | None) -> Sample:
    timestamp = row.frame / sequence.rate if sequence.rate else float(row.frame)
    return Sample(sequence.frames[row.frame], pid, camid, timestamp, pid, row.box)


def _one_copy_of_each(folders: Sequence[Path], notes: list[str]) -> list[Path]:
    """Take one of the copies that MOT17 has of a sequence, named like MOT17-02-FRCNN."""
    copies: dict[Path, list[Path]] = {}
    for folder in folders:
        name, _, detector = folder.name.rpartition("-")
        copies.setdefault(folder.with_name(name) if name and detector in DETECTORS else folder, []).append(folder)
    taken = sorted(min(group, key=_rank) for group in copies.values())
    if len(taken) < len(folders):
        notes.append(
            f"{len(folders) - len(taken)} folders passed over that show the same frames as another, with other "
            f"detections: {_named(taken)} taken"
        )
    return taken


def _rank(folder: Path) -> int:
    detector = folder.name.rpartition("-")[2]
    return DETECTORS.index(detector) if detector in DETECTORS else len(DETECTORS)


def _note_lists(
    folders: Sequence[Path], listed: Sequence[Path | None], lists: tuple[str, ...], notes: list[str]
) -> None:
    """Say which sequences lack the first of the lists, and what is made of them."""
    for name in lists[1:]:
        others = [folder for folder, file in zip(folders, listed, strict=True) if file == folder / name]
        if others:
            notes.append(f"without {lists[0]}, {name} taken: {_named(others)}")
    without = [folder for folder, file in zip(folders, listed, strict=True) if file is None]
    if without:
        notes.append(f"without {' and '.join(lists)}, left out: {_named(without)}")


def _note_info(sequence: VideoSequence, notes: list[str]) -> None:
    if sequence.rate is None:
        notes.append(f"there is no {sequence.folder / INFO}, so that timestamps are numbers of frames")
    elif len(sequence.frames) != sequence.length:
        notes.append(
            f"{len(sequence.frames)} frames of {sequence.length} that {sequence.folder / INFO} counts are there"
        )


def _count(samples: Sequence[Sample], identities: int) -> str:
    frames, cameras = len({sample.path for sample in samples}), len({sample.camid for sample in samples})
    return (
        f"{len(samples)} boxes of {identities} identities in {frames} frames of {cameras} sequences: each is an image"
    )


def _named(folders: Sequence[Path]) -> str:
    more = [f"and {len(folders) - NAMED} more"] * (len(folders) > NAMED)
    return ", ".join([*(folder.name for folder in folders[:NAMED]), *more])
