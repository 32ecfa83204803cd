"""Who is right and who is left out, for each query: a protocol applied to what is known of the images.

A query has few gallery images of its identity, so that all is kept as pairs (query, gallery image), never as a table of
all queries by all gallery images.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from resight.errors import DataError
from resight.protocols import EvaluationProtocol
from resight.sparse_rows import runs
from resight.types import JUNK_PID, UNKNOWN_CAMID, UNKNOWN_TRACKLET, Split

Pairs = tuple[Int[Tensor, " p"], Int[Tensor, " p"]]
"""Positions of queries, ascending, and of gallery images, ascending for each query."""


@dataclass(frozen=True)
class Facts:
    """What is known of the images of a split, one entry each.

    `pid`, `camid`, `tracklet`: as in the split, the last two -1 where not known. `file`: a number for the picture, the
    same in query and gallery. `timestamp`: NaN where not known.
    """

    pid: np.ndarray
    camid: np.ndarray
    tracklet: np.ndarray
    timestamp: np.ndarray
    file: np.ndarray

    @classmethod
    def of(cls, split: Split, files: dict[object, int]) -> "Facts":
        """Gather the facts; `files` numbers the pictures met so far.

        Raises:
            DataError: an image has no identity.
        """
        if split.pids is None:
            raise DataError(
                f"every image of {split.name} must have an identity, got {len(split)} images without a full set; "
                "evaluate on labelled query and gallery images"
            )
        folders: dict[str, str] = {}
        keys = ((_real_path(sample.path, folders), sample.box) for sample in split)
        return cls(
            np.array(split.pids),
            np.array(split.camids),
            np.array(split.tracklets),
            np.array(split.timestamps),
            np.array([files.setdefault(key, len(files)) for key in keys]),
        )

    def __len__(self) -> int:
        return len(self.pid)


class Answers:
    """The answers that a protocol counts for each query.

    Left out: gallery images of the query's identity by its camera (or all by its camera, or none, as the protocol says)
    or too close to it in time; its own image and what is of its own tracklet; junk.
    """

    def __init__(self, query: Split, gallery: Split, protocol: EvaluationProtocol) -> None:
        files: dict[object, int] = {}
        self.query, self.gallery = Facts.of(query, files), Facts.of(gallery, files)
        self.protocol = protocol
        self.junk = torch.from_numpy((self.gallery.pid == JUNK_PID).nonzero()[0])
        self._by_pid = _Index(self.gallery.pid)
        self._by_file = _Index(self.gallery.file)
        self._by_tracklet = _Index(self.gallery.tracklet)

    def left_out(self, first: int, last: int) -> Pairs:
        """Pairs of the queries `first` to `last` - 1, counted from 0 there, that are left out, junk aside."""
        own = self._by_file.matches(self.query.file[first:last])
        return _joined(self.left_out_by_rule(first, last), own)

    def left_out_by_rule(self, first: int, last: int) -> Pairs:
        """Of those, the ones that camera, time or tracklet leave out; the own image may not be among them."""
        query, gallery, rules = self.query, self.gallery, self.protocol
        rows, columns = self._by_pid.matches(query.pid[first:last])
        own, other = rows + first, columns
        same_camera = (query.camid[own] == gallery.camid[other]) & (query.camid[own] != UNKNOWN_CAMID)
        out = same_camera if rules.cameras != "none" else np.zeros(len(rows), dtype=bool)
        if rules.seconds:
            unknown = (query.camid[own] == UNKNOWN_CAMID) | (gallery.camid[other] == UNKNOWN_CAMID)
            apart = np.abs(query.timestamp[own] - gallery.timestamp[other])
            out = out | ((same_camera | unknown) & (apart <= rules.seconds))
        tracklets = self._by_tracklet.matches(query.tracklet[first:last], unknown=UNKNOWN_TRACKLET)
        return _joined((rows[out], columns[out]), tracklets)

    def of_same_identity(self, first: int, last: int) -> Pairs:
        """Pairs of the queries `first` to `last` - 1 with all gallery images of their identity, left out or not."""
        rows, columns = self._by_pid.matches(self.query.pid[first:last], unknown=JUNK_PID)
        return torch.from_numpy(rows), torch.from_numpy(columns)

    def strangers_out(self, first: int, last: int) -> Tensor | None:
        """Mask (q, g) of what is left out for being of the query's camera; None unless the protocol says "all"."""
        if self.protocol.cameras != "all":
            return None
        own = torch.from_numpy(self.query.camid[first:last]).unsqueeze(1)
        return (own == torch.from_numpy(self.gallery.camid)) & (own != UNKNOWN_CAMID)

    def right(self, first: int, last: int) -> Pairs:
        """Pairs of the queries `first` to `last` - 1 with their right answers."""
        return without(self.of_same_identity(first, last), self.left_out(first, last), len(self.gallery))


def _joined(*parts: tuple[Any, Any]) -> Pairs:
    rows, columns = (np.concatenate([np.asarray(part[side]) for part in parts]) for side in (0, 1))
    return torch.from_numpy(rows), torch.from_numpy(columns)


def without(pairs: tuple[Any, Any], out: tuple[Any, Any], width: int) -> Pairs:
    """Take some pairs out; `width`: how many gallery images there are."""
    (rows, columns), (out_rows, out_columns) = pairs, out
    kept = ~torch.isin(rows * width + columns, out_rows * width + out_columns)
    return rows[kept], columns[kept]


class _Index:
    """Where each key stands in a list."""

    def __init__(self, keys: np.ndarray) -> None:
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]

    def matches(self, wanted: np.ndarray, *, unknown: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of positions in `wanted` and in the list that hold the same key; the key `unknown` matches none."""
        first = np.searchsorted(self.keys, wanted)
        count = np.searchsorted(self.keys, wanted, side="right") - first
        if unknown is not None:
            count[wanted == unknown] = 0
        rows = np.repeat(np.arange(len(wanted)), count)
        return rows, self.order[runs(first, count)]


def _real_path(path: Path, folders: dict[str, str]) -> str:
    """Resolve links and `..`; each folder is looked up once, since galleries hold many files of few folders."""
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    whole = f"{folders[folder]}{os.sep}{name}"
    return os.path.realpath(whole) if os.path.islink(whole) else whole  # noqa: PTH114  a Path costs ten times as much
