"""Rows of a grouping: image files and boxes, named by their content, from DATA or a gallery."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int, Int64
from torch import Tensor

from resight.data.digests import content_digests
from resight.errors import DataError
from resight.groups.links import Pair
from resight.matching import number_cameras
from resight.pair_answers import PairAnswer, picture_name
from resight.types import UNKNOWN_TRACKLET, Picture, Sample, Split, UnlabelledImages
from resight.whole_files import refuse_unwritable

if TYPE_CHECKING:
    from resight.gallery import Entry


@dataclass(frozen=True)
class Row:
    """One image, a file or a part of one.

    `id`: digest of its content (`content_digests`). `name`: as answers name it (`picture_name`). `sample`: without its
    identity, which nothing here may know. `origin`: the reading that the numbers of its camera and tracklet count in:
    nothing for DATA, for a gallery's entry its source. `carried`: of an earlier result, whose number of a tracklet is
    only written again and holds nothing together.
    """

    id: str
    name: str
    sample: Sample
    origin: tuple[str, ...] = ()
    carried: bool = dataclasses.field(default=False, compare=False)

    @property
    def key(self) -> tuple[str, Picture]:
        """What makes a row this one: content and place."""
        return self.id, self.sample.picture


@dataclass(frozen=True)
class Crops:
    """Rows, and the different contents among them: copies of one file are one crop.

    `crop`: of each row the number of its content, 0 up by first row. `first`: of each crop its first row.
    """

    rows: tuple[Row, ...]
    crop: Int64[np.ndarray, " r"]
    first: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Crops":
        """Number the contents of some rows."""
        rows = tuple(rows)
        number: dict[str, int] = {}
        crop = np.array([number.setdefault(row.id, len(number)) for row in rows], dtype=np.int64)
        return cls(rows, crop, np.unique(crop, return_index=True)[1].astype(np.int64))

    @property
    def firsts(self) -> list[Row]:
        """The first row of each crop."""
        return [self.rows[row] for row in self.first.tolist()]

    @property
    def split(self) -> Split:
        """One sample of each crop."""
        return Split("crops", tuple(row.sample for row in self.firsts))

    @property
    def unlabelled(self) -> UnlabelledImages:
        """The same for `find_constraints`: one tracklet number from two origins is two tracklets."""
        number: dict[tuple[tuple[str, ...], int], int] = {}
        tracklets = tuple(
            UNKNOWN_TRACKLET
            if row.sample.tracklet is None or row.carried
            else number.setdefault((row.origin, row.sample.tracklet), len(number))
            for row in self.firsts
        )
        return dataclasses.replace(self.split.unlabelled(), tracklets=tracklets)

    @property
    def names(self) -> list[str]:
        """A name of each crop, for errors."""
        return [row.name for row in self.firsts]


def rows_of(split: Split, root: Path, cache_dir: Path) -> list[Row]:
    """Name the images of a split by content.

    Raises:
        DataError: a file cannot be read, or its name is none that a table can hold.
    """
    refuse_unwritable(split.paths)
    digests = content_digests(split.pictures, cache_dir)
    plain = (dataclasses.replace(sample, pid=None, path=_whole(sample.path)) for sample in split)
    names = (picture_name(sample, root) for sample in split)
    return [Row(*parts) for parts in zip(digests, names, plain, strict=True)]


def _whole(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - as a gallery names it: links stay as they are


def entry_rows(entries: "Iterable[Entry]", root: Path) -> list[Row]:
    """Make rows of a gallery's entries, named as those of DATA below `root` would be."""
    rows = []
    for entry in entries:
        sample = Sample(entry.path, None, entry.camid, entry.timestamp, entry.tracklet, entry.box)
        rows.append(Row(entry.id, picture_name(sample, root), sample, (entry.source or "",)))
    return rows


def cameras_apart(rows: Sequence[Row]) -> Int[Tensor, " n"]:
    """Number the cameras of rows, told apart by their origins; see `number_cameras`."""
    return number_cameras([(row.origin, row.sample.camid) for row in rows])


def answered(answers: Iterable[PairAnswer], crops: Crops) -> tuple[list[Pair], list[Pair], int]:
    """Give the pairs of crops that answers say are the same and different, and how many answers name no crop here.

    Raises:
        DataError: a name is of several crops, or no answer fits at all.
    """
    place: dict[str, set[int]] = {}
    for row, crop in zip(crops.rows, crops.crop.tolist(), strict=True):
        whole = picture_name(row.sample, Path("/"))  # an image outside the data's folder is named by its whole path
        for name in {row.name, whole, f"/{whole}"}:
            place.setdefault(name, set()).add(crop)
    same: list[Pair] = []
    different: list[Pair] = []
    said = [answer for answer in answers if answer.same is not None]
    missing = 0
    for answer in said:
        ends = [_crop(name, place) for name in (answer.left, answer.right)]
        if ends[0] is None or ends[1] is None:
            missing += 1
        else:
            (same if answer.same else different).append((ends[0], ends[1]))
    if said and missing == len(said):
        raise DataError(
            f"the answers must name images that are grouped, but {said[0].left} and all others are not among the "
            f"{len(crops.rows):,} here; give the data that the answers were asked about"
        )
    return same, different, missing


def _crop(name: str, place: dict[str, set[int]]) -> int | None:
    found = place.get(name, set())
    if len(found) > 1:
        raise DataError(
            f"the answers name {name}, which {len(found)} different images are called here, from several folders; "
            "name these by their whole paths"
        )
    return next(iter(found), None)
