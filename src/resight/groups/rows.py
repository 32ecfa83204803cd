"""Rows of a grouping: image files and boxes, named by their content, those of an earlier result and those of DATA."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from resight.data.digests import content_digests
from resight.errors import DataError
from resight.groups.links import NO_GROUP, Pair
from resight.pair_answers import PairAnswer, picture_name
from resight.types import Picture, Sample, Split


@dataclass(frozen=True)
class Row:
    """One image, a file or a part of one.

    `id`: digest of its content (`content_digests`). `name`: as answers name it (`picture_name`). `sample`: without its
    identity, which nothing here may know.
    """

    id: str
    name: str
    sample: Sample

    @property
    def key(self) -> tuple[str, Picture]:
        """What makes a row this one: content and place."""
        return self.id, self.sample.picture


@dataclass(frozen=True)
class Known:
    """An earlier result: its rows, the number of each one's group, and their embeddings where it holds them.

    `fingerprint`: of the model that these are of.
    """

    rows: tuple[Row, ...] = ()
    group: tuple[int, ...] = ()
    embeddings: Float[Tensor, "n d"] | None = None
    fingerprint: str = ""


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
    def split(self) -> Split:
        """One sample of each crop."""
        return Split("crops", tuple(self.rows[row].sample for row in self.first.tolist()))

    @property
    def names(self) -> list[str]:
        """A name of each crop, for errors."""
        return [self.rows[row].name for row in self.first.tolist()]


def rows_of(split: Split, root: Path, cache_dir: Path) -> list[Row]:
    """Name the images of a split by content.

    Raises:
        DataError: a file cannot be read.
    """
    digests = content_digests(split.pictures, cache_dir)
    plain = (dataclasses.replace(sample, pid=None, path=sample.path.absolute()) for sample in split)
    names = (picture_name(sample, root) for sample in split)
    return [Row(*parts) for parts in zip(digests, names, plain, strict=True)]


def with_known(known: Known, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Give the earlier rows, with what DATA says of them now, and the rows that are new.

    What the earlier result says of tracklets is left out where DATA does not say it again: numbers of tracklets mean
    something in their own data only.
    """
    now = {row.key: row for row in rows}
    before = []
    for row in known.rows:
        again = now.pop(row.key, None)
        before.append(again or dataclasses.replace(row, sample=dataclasses.replace(row.sample, tracklet=None)))
    return before, list(now.values())


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


def earlier_of(crops: Crops, known: Known) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Give each crop's number in an earlier result, and whether that result held it."""
    number = {row.key: group for row, group in zip(known.rows, known.group, strict=True)}
    first = [crops.rows[row].key for row in crops.first.tolist()]
    held = np.array([key in number for key in first], dtype=bool)
    return np.array([number.get(key, NO_GROUP) for key in first], dtype=np.int64), held


def earlier_rows(crops: Crops, known: Known) -> Float[Tensor, "n d"] | None:
    """Give the embeddings that the earlier result holds of its crops, which come first; None where it holds none."""
    if known.embeddings is None:
        return None
    return known.embeddings[torch.from_numpy(crops.first[crops.first < len(known.rows)])]
