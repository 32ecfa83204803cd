"""A look at a data set before it is used: what is there, and what is wrong with it."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.data.decode import BrokenImageError, decode
from resight.data.leaks import Leak, match_leaks, split_digests
from resight.data.threads import mapped
from resight.types import JUNK_PID, Dataset, Split

SHOWN = 5


@dataclass(frozen=True)
class SplitReport:
    """What one split holds.

    `identities`: distinct pids without junk; None where no image has one. `cameras`: the same for camids.
    `distractors`: gallery images whose identity no query has. `heights`, `widths`: smallest, median and largest in
    pixels; None where no image can be decoded. `broken`: path and reason. `duplicates`: groups of files with equal
    bytes.
    """

    name: str
    images: int
    identities: int | None
    cameras: int | None
    junk: int
    distractors: int
    heights: tuple[int, int, int] | None
    widths: tuple[int, int, int] | None
    broken: tuple[tuple[Path, str], ...]
    duplicates: tuple[tuple[Path, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Give the same as numbers, texts and lists."""
        return {
            "images": self.images,
            "identities": self.identities,
            "cameras": self.cameras,
            "junk": self.junk,
            "distractors": self.distractors,
            "heights": self.heights and list(self.heights),
            "widths": self.widths and list(self.widths),
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
            "duplicates": [[str(path) for path in group] for group in self.duplicates],
        }

    def lines(self) -> list[str]:
        """Give one line of counts, then what is wrong with the split."""
        parts = [f"{self.name}: {_count(self.images, 'image')}"]
        if self.images:
            parts.append("identities not known" if self.identities is None else _count(self.identities, "identity"))
            parts.append("cameras not known" if self.cameras is None else _count(self.cameras, "camera"))
        parts += [f"{self.junk} junk"] * bool(self.junk)
        parts += [_count(self.distractors, "distractor")] * bool(self.distractors)
        if self.heights and self.widths:
            parts.append(f"height {_range(self.heights)}, width {_range(self.widths)} pixels (min-median-max)")
        broken = [f"{path}: {reason}" for path, reason in self.broken]
        duplicates = [" = ".join(str(path) for path in group) for group in self.duplicates]
        return [
            ", ".join(parts),
            *_listed(f"{_count(len(broken), 'broken image')} in {self.name}", broken, shown=len(broken)),
            *_listed(f"{_count(len(duplicates), 'group')} of equal images in {self.name}", duplicates),
        ]


@dataclass(frozen=True)
class DataReport:
    """What a data set holds, split by split.

    `leaks`: training images that are in query or gallery too. `shared_pids`: identities, junk aside, that train shares
    with query or gallery. `notes`: what the reader passed over.
    """

    root: Path
    format: str
    splits: tuple[SplitReport, ...]
    leaks: tuple[Leak, ...]
    shared_pids: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def broken(self) -> tuple[tuple[Path, str], ...]:
        """The broken images of all splits, with the reason."""
        return tuple(entry for split in self.splits for entry in split.broken)

    def to_json(self) -> dict[str, Any]:
        """Give the same as numbers, texts and lists, ready for `json.dumps`."""
        leaks = [
            {"train": str(leak.train_path), "other": str(leak.other_path), "split": leak.other_split}
            for leak in self.leaks
        ]
        return {
            "root": str(self.root),
            "format": self.format,
            "splits": {split.name: split.to_json() for split in self.splits},
            "leaks": leaks,
            "shared_pids": list(self.shared_pids),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Give what to print: counts, then every problem with its first few cases."""
        leaks = [f"{leak.train_path} = {leak.other_path} ({leak.other_split})" for leak in self.leaks]
        lines = [f"{self.root} ({self.format})"]
        for split in self.splits:
            lines += split.lines()
        lines += _listed(f"warning: {_count(len(leaks), 'training image')} also in query or gallery", leaks)
        if self.shared_pids:
            count = _count(len(self.shared_pids), "identity")
            lines.append(f"warning: train shares {count} with query or gallery")
        return lines + [f"note: {note}" for note in self.notes]


def inspect_dataset(dataset: Dataset, cache_dir: Path) -> DataReport:
    """Count, decode and compare every image of a data set.

    Raises:
        DataError: a file is missing or cannot be read at all. One that cannot be decoded is reported instead.
    """
    digests = split_digests(dataset, cache_dir)
    train, query, gallery = (_known_pids(split) for split in dataset.splits)
    return DataReport(
        root=dataset.root,
        format=dataset.format,
        splits=tuple(_inspect_split(split, digests[split.name], query) for split in dataset.splits),
        leaks=match_leaks(dataset, digests),
        shared_pids=tuple(sorted(train & (query | gallery))),
        notes=dataset.notes,
    )


def _inspect_split(split: Split, digests: Sequence[str], query_pids: set[int]) -> SplitReport:
    sizes, broken = _decode_all(split.paths)
    pids, camids = _known_pids(split), {s.camid for s in split if s.camid is not None}
    labelled = any(sample.pid is not None for sample in split)
    counted = query_pids and split.name == "gallery"
    return SplitReport(
        name=split.name,
        images=len(split),
        identities=len(pids) if labelled else None,
        cameras=len(camids) or None,
        junk=sum(sample.pid == JUNK_PID for sample in split),
        distractors=sum(sample.pid in pids - query_pids for sample in split) if counted else 0,
        heights=_spread([height for height, _ in sizes]),
        widths=_spread([width for _, width in sizes]),
        broken=tuple(broken),
        duplicates=_groups(split.paths, digests),
    )


def _known_pids(split: Split) -> set[int]:
    return {sample.pid for sample in split if sample.pid is not None and sample.pid != JUNK_PID}


def _decode_all(paths: Sequence[Path]) -> tuple[list[tuple[int, int]], list[tuple[Path, str]]]:
    """Give height and width of the images that decode, and path and reason of the others."""

    def outcome(path: Path) -> tuple[int, int] | str:
        try:
            height, width, _ = decode(path).shape
            return height, width
        except BrokenImageError as error:
            return error.reason

    sizes, broken = [], []
    for path, result in zip(paths, mapped(outcome, paths), strict=True):
        if isinstance(result, str):
            broken.append((path, result))
        else:
            sizes.append(result)
    return sizes, broken


def _groups(paths: Sequence[Path], digests: Sequence[str]) -> tuple[tuple[Path, ...], ...]:
    groups = defaultdict(list)
    for path, digest in zip(paths, digests, strict=True):
        groups[digest].append(path)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _spread(values: Sequence[int]) -> tuple[int, int, int] | None:
    return (min(values), statistics.median_low(values), max(values)) if values else None


def _range(spread: tuple[int, int, int]) -> str:
    return "-".join(str(value) for value in spread)


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def _listed(title: str, cases: Sequence[str], shown: int = SHOWN) -> list[str]:
    if not cases:
        return []
    more = [f"  ... and {len(cases) - shown} more"] * (len(cases) > shown)
    return [f"{title}:", *(f"  {case}" for case in cases[:shown]), *more]
