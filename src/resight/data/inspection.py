"""A look at a data set before it is used: what is there, and what is wrong with it."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError
from resight.data.leaks import OTHER_GUISE, Leak, match_leaks, split_digests
from resight.data.near import find_near_leaks
from resight.data.official import DO_NOT_COMPARE, NOT_PUBLISHED, differences, in_one_line
from resight.data.times import without_false_times
from resight.protocols import GENERAL
from resight.types import JUNK_PID, Dataset, Picture, Split, TestSet

SHOWN = 5
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SplitReport:
    """What one split holds.

    `identities`: distinct pids without junk; None where no image has one. `cameras`: the same for camids.
    `distractors`: gallery images whose identity no query has. `heights`, `widths`: smallest, median and largest in
    pixels; None where no image can be decoded. `broken`: image and reason. `duplicates`: groups of images
    with equal content. `tracklets`: how many; None where no image is of one. `times`: first and last timestamp; None
    where there is none.
    """

    name: str
    images: int
    identities: int | None
    cameras: int | None
    junk: int
    distractors: int
    heights: tuple[int, int, int] | None
    widths: tuple[int, int, int] | None
    broken: tuple[tuple[Picture, str], ...]
    duplicates: tuple[tuple[Picture, ...], ...]
    tracklets: int | None = None
    times: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Give the same as numbers, texts and lists."""
        return {
            "images": self.images,
            "identities": self.identities,
            "cameras": self.cameras,
            "tracklets": self.tracklets,
            "times": self.times and list(self.times),
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
        parts += [] if self.tracklets is None else [_count(self.tracklets, "tracklet")]
        parts += [f"{self.junk} junk"] * bool(self.junk)
        parts += [_count(self.distractors, "distractor")] * bool(self.distractors)
        if self.heights and self.widths:
            parts.append(f"height {_range(self.heights)}, width {_range(self.widths)} pixels (min-median-max)")
        parts += [] if self.times is None else [f"times {self.times[0]:.12g} to {self.times[1]:.12g}"]
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

    `leaks`: training images that are in query or gallery too, those with equal content first. `shared_pids`:
    identities, junk aside, that train shares with query or gallery. `notes`: what the reader passed over. `protocol`:
    the name of the rules it is scored by. `tests`: each test's name, query and gallery images. `differences`: how it
    differs from the counts published with these rules, one sentence each.
    """

    root: Path
    format: str
    splits: tuple[SplitReport, ...]
    leaks: tuple[Leak, ...]
    shared_pids: tuple[int, ...]
    notes: tuple[str, ...]
    protocol: str = GENERAL.name
    tests: tuple[tuple[str, int, int], ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def not_as_published(self) -> str | None:
        """What the differences mean, in one line; None where there are none."""
        return in_one_line(self.differences)

    @property
    def broken(self) -> tuple[tuple[Picture, str], ...]:
        """The broken images of all splits, with the reason."""
        return tuple(entry for split in self.splits for entry in split.broken)

    def to_json(self) -> dict[str, Any]:
        """Give the same as numbers, texts and lists, ready for `json.dumps`."""
        leaks = [
            {"train": str(leak.train_path), "other": str(leak.other_path), "split": leak.other_split, "kind": leak.kind}
            for leak in self.leaks
        ]
        return {
            "root": str(self.root),
            "format": self.format,
            "splits": {split.name: split.to_json() for split in self.splits},
            "leaks": leaks,
            "shared_pids": list(self.shared_pids),
            "notes": list(self.notes),
            "protocol": self.protocol,
            "tests": [{"name": name, "query": query, "gallery": gallery} for name, query, gallery in self.tests],
            "not_as_published": self.not_as_published,
        }

    def lines(self) -> list[str]:
        """Give what to print: counts, then every problem with its first few cases."""
        exact, near = ([str(leak) for leak in self.leaks if leak.kind == kind] for kind in ("exact", "near"))
        lines = [f"{self.root} ({self.format})"]
        for split in self.splits:
            lines += split.lines()
        if len(self.tests) > 1:
            lines += [
                f"test {name}: {queries} query, {gallery} gallery images" for name, queries, gallery in self.tests
            ]
        lines += [f"protocol: {self.protocol}"] * any(query and gallery for _, query, gallery in self.tests)
        if len(self.differences) == 1:
            lines.append(f"warning: {self.not_as_published}")
        else:
            lines += _listed(f"warning: {NOT_PUBLISHED}; {DO_NOT_COMPARE}", self.differences, len(self.differences))
        warning = "warning: {} also in query or gallery"
        lines += _listed(warning.format(_count(len(exact), "training image")), exact)
        near_title = warning.format(_count(len(near), "training image"))
        lines += _listed(f"{near_title}, {OTHER_GUISE}", near)
        if self.shared_pids:
            count = _count(len(self.shared_pids), "identity")
            lines.append(f"warning: train shares {count} with query or gallery")
        return lines + [f"note: {note}" for note in self.notes]


def inspect_dataset(
    dataset: Dataset, cache_dir: Path, progress: Progress | None = None, decoding: Progress | None = None
) -> DataReport:
    """Count, decode and compare every image of a data set.

    `decoding` hears of images decoded and in all. `progress`: see `find_near_leaks`.

    Raises:
        DataError: a file is missing or cannot be read at all. One that cannot be decoded is reported instead.
    """
    digests = split_digests(dataset, cache_dir)
    seen = _counted(decoding, sum(len(split) for split in dataset.splits))
    train, query, gallery = (_known_pids(split) for split in dataset.splits)
    return DataReport(
        root=dataset.root,
        format=dataset.format,
        splits=tuple(_inspect_split(split, digests[split.name], query, seen) for split in dataset.splits),
        leaks=(*match_leaks(dataset, digests), *find_near_leaks(dataset, cache_dir, progress, digests)),
        shared_pids=tuple(sorted(train & (query | gallery))),
        notes=without_false_times(dataset).notes,
        protocol=dataset.protocol.name,
        tests=tuple((test.name, *_test_sizes(dataset, test)) for test in dataset.tests),
        differences=tuple(differences(dataset)),
    )


def _counted(progress: Progress | None, total: int) -> Callable[[], None]:
    """Give what is to be called after each of `total` images."""
    done = itertools.count(1)
    return lambda: None if progress is None else progress(next(done), total)


def _test_sizes(dataset: Dataset, test: TestSet) -> tuple[int, int]:
    query = dataset.query if test.query is None else test.query
    gallery = dataset.gallery if test.gallery is None else test.gallery
    return len(query), len(gallery)


def _inspect_split(split: Split, digests: Sequence[str], query_pids: set[int], seen: Callable[[], None]) -> SplitReport:
    sizes, broken = _decode_all(split.pictures, seen)
    pids, camids = _known_pids(split), {s.camid for s in split if s.camid is not None}
    labelled = any(sample.pid is not None for sample in split)
    counted = query_pids and split.name == "gallery"
    return SplitReport(
        name=split.name,
        images=len(split),
        identities=len(pids) if labelled else None,
        cameras=len(camids) or None,
        tracklets=len({s.tracklet for s in split if s.tracklet is not None}) or None,
        times=_extremes([s.timestamp for s in split if s.timestamp is not None]),
        junk=sum(sample.pid == JUNK_PID for sample in split),
        distractors=sum(sample.pid in pids - query_pids for sample in split) if counted else 0,
        heights=_spread([height for height, _ in sizes]),
        widths=_spread([width for _, width in sizes]),
        broken=tuple(broken),
        duplicates=_groups(split.pictures, digests),
    )


def _known_pids(split: Split) -> set[int]:
    return {sample.pid for sample in split if sample.pid is not None and sample.pid != JUNK_PID}


def _decode_all(
    pictures: Sequence[Picture], seen: Callable[[], None]
) -> tuple[list[tuple[int, int]], list[tuple[Picture, str]]]:
    """Give height and width of the images that decode, and picture and reason of the others."""
    sizes, broken = [], []
    for picture, result in zip(pictures, each_decoded(pictures, lambda pixels: pixels.shape[:2]), strict=True):
        if isinstance(result, BrokenImageError):
            broken.append((picture, result.reason))
        else:
            sizes.append((result[0], result[1]))
        seen()
    return sizes, broken


def _groups(pictures: Sequence[Picture], digests: Sequence[str]) -> tuple[tuple[Picture, ...], ...]:
    groups = defaultdict(list)
    for picture, digest in zip(pictures, digests, strict=True):
        groups[digest].append(picture)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _extremes(values: Sequence[float]) -> tuple[float, float] | None:
    return (min(values), max(values)) if values else None


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
