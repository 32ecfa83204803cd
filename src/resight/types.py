"""The records that travel between the parts.

Axis names, used in every signature: b batch, n training images, q queries, g gallery, d dimensions, k neighbours,
c channels, h height, w width.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.errors import ResightError
from resight.protocols import GENERAL, EvaluationProtocol

JUNK_PID = -1
"""`pid` of an image that is neither right nor wrong for any query (a detector's junk box)."""

MOST_POSITIVES = 2**31
"""Most mined pairs that are kept of one epoch: 8.6 GB of them."""

UNKNOWN_CAMID = -1
"""`camid` in tensors where a sample's camera is not known."""

UNKNOWN_TRACKLET = -1
"""`tracklet` in tensors where a sample's tracklet is not known."""

Box = tuple[int, int, int, int]
"""Left, top, width, height in pixels of the upright image; may stick out of it."""


class Crop(NamedTuple):
    """A part of an image file."""

    path: Path
    box: Box

    def __str__(self) -> str:
        return f"{self.path} {list(self.box)}"


Picture = Path | Crop
"""An image: a whole file, or a part of one."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, a file or a part of one, and what is known of it.

    `pid`: identity, 0 or more; -1 is junk; None where it is not known. On Market-1501 pid 0 is a distractor: an
    ordinary identity that no query has. `camid`: camera, 0 or more, or None. `timestamp`: seconds or frame number.
    `tracklet`: 0 or more; images of one tracklet show one identity in one camera. `box`: the part of the file that is
    meant; None is all of it.
    """

    path: Path
    pid: int | None = None
    camid: int | None = None
    timestamp: float | None = None
    tracklet: int | None = None
    box: Box | None = None

    @property
    def picture(self) -> Picture:
        """The file, or the part of it that is meant."""
        return self.path if self.box is None else Crop(self.path, self.box)


@dataclass(frozen=True, slots=True)
class Split:
    """An ordered list of samples; the position of a sample is its `index`."""

    name: str
    samples: tuple[Sample, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in order; one with several parts stands there as often."""
        return tuple(sample.path for sample in self.samples)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What to decode, in order: the files, or the parts of them that are meant."""
        return tuple(sample.picture for sample in self.samples)

    @property
    def camids(self) -> tuple[int, ...]:
        """Camera of each image; `UNKNOWN_CAMID` where it is not known."""
        return tuple(UNKNOWN_CAMID if s.camid is None else s.camid for s in self.samples)

    @property
    def tracklets(self) -> tuple[int, ...]:
        """Tracklet of each image; `UNKNOWN_TRACKLET` where it is not known."""
        return tuple(UNKNOWN_TRACKLET if s.tracklet is None else s.tracklet for s in self.samples)

    @property
    def timestamps(self) -> tuple[float, ...]:
        """Time of each image; NaN where it is not known."""
        return tuple(math.nan if s.timestamp is None else s.timestamp for s in self.samples)

    @property
    def pids(self) -> tuple[int, ...] | None:
        """Identity of each image, or None unless every image has one. For evaluators only."""
        pids = tuple(s.pid for s in self.samples if s.pid is not None)
        return pids if pids and len(pids) == len(self.samples) else None

    def unlabelled(self) -> "UnlabelledImages":
        """Give what a trainer may see: files, cameras, tracklets and times, no identities."""
        return UnlabelledImages(self.paths, self.camids, self.tracklets, self.timestamps)

    def at(self, positions: tuple[int, ...] | None) -> "Split":
        """Give the samples at `positions`, in that order; None is all of them."""
        return self if positions is None else Split(self.name, tuple(self.samples[i] for i in positions))

    def without(self, indexes: set[int]) -> "Split":
        """Give the split without the samples at `indexes`, the others in order."""
        return Split(self.name, tuple(s for i, s in enumerate(self.samples) if i not in indexes))


@dataclass(frozen=True, slots=True)
class UnlabelledImages:
    """The training split as the trainer sees it. There is no `pid` here, so none can leak."""

    paths: tuple[Path, ...]
    camids: tuple[int, ...]
    tracklets: tuple[int, ...]
    timestamps: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class TestSet:
    """One test of a data set: which of its query and gallery images take part.

    `query`, `gallery`: positions in the data set's query and gallery splits, ascending; None is all of them.
    """

    __test__ = False  # no test case, whatever pytest thinks of its name

    name: str = "test"
    query: tuple[int, ...] | None = None
    gallery: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set as a reader found it. A split that the data set lacks is empty.

    `query` and `gallery` hold each image of all the tests once. `format`: the reader's name in `data.formats.FORMATS`.
    `notes`: what the reader passed over, one sentence each. `tests`: smallest first; scores during training are of the
    first. `protocol`: the rules of its evaluation.
    """

    root: Path
    format: str
    train: Split
    query: Split
    gallery: Split
    notes: tuple[str, ...] = ()
    tests: tuple[TestSet, ...] = (TestSet(),)
    protocol: EvaluationProtocol = GENERAL

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """Train, query, gallery."""
        return self.train, self.query, self.gallery

    @property
    def can_be_evaluated(self) -> bool:
        """True where query and gallery both hold images and all of those have identities."""
        return self.query.pids is not None and self.gallery.pids is not None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The most similar images of each image of a batch: itself first, the others by falling score, ties by index.

    Row i holds `width[i]` of them; beyond that it is filled up with the image itself.

    Attributes:
        index: the images.
        k: k_i = |{j : s_ij ≥ tau}|, the image itself included once its row is written; may exceed `width`.
        width: how many were asked for: max(k_i, least), cut to `most` and to N.
    """

    index: Int[Tensor, "b k"]
    k: Int[Tensor, " b"]
    width: Int[Tensor, " b"]

    @property
    def place(self) -> Int[Tensor, " k"]:
        """0, 1, 2 … along the lists."""
        return torch.arange(self.index.shape[1], device=self.index.device)

    @property
    def within(self) -> Bool[Tensor, "b k"]:
        """Where a list has not ended yet."""
        return self.place < self.width.unsqueeze(1)

    def positives(self, kept: Bool[Tensor, "b k"], images: int) -> Bool[Tensor, "b n"]:
        """Mark the kept candidates, and always the image itself, among all images."""
        marks = torch.zeros(len(self.index), images, dtype=torch.bool, device=self.index.device)
        row, place = (kept & self.within).nonzero(as_tuple=True)
        marks[row, self.index[row, place]] = True
        return marks.scatter_(1, self.index[:, :1], True)


@runtime_checkable
class Memory(Protocol):
    """What a miner may ask of a feature memory of N rows."""

    def __len__(self) -> int: ...

    def read(self, index: Int[Tensor, " *b"]) -> Float[Tensor, " *b d"]:
        """Copies of the rows at `index`."""
        ...

    def top(self, index: Int[Tensor, " b"], tau: float, least: int, most: int = 0) -> Candidates:
        """Top(i, K) of the rows at `index`, K = max(k_i, least), cut to `most` where that is not 0."""
        ...

    def outranked(
        self, rows: Int[Tensor, " p"], images: Int[Tensor, " p"], limit: Int[Tensor, " p"]
    ) -> Bool[Tensor, " p"]:
        """Whether rank_j(i) > limit, for pairs j of `rows` and i of `images`: more than that are more similar to j."""
        ...

    def adjacency_distance(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Squared distances between rows of the similarity matrix with zero diagonal."""
        ...


@runtime_checkable
class Miner(Protocol):
    """Feature memory → positives: which rows hold the same identity as the images at `index`."""

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mine; the own index is always positive."""
        ...


@runtime_checkable
class Loss(Protocol):
    """Scores of a batch against the memory, and its positives → one number."""

    def __call__(self, scores: Float[Tensor, "b n"], positives: Bool[Tensor, "b n"]) -> Float[Tensor, ""]:
        """Give the loss, differentiable in `scores`."""
        ...


@dataclass(frozen=True, slots=True)
class SparsePositives:
    """Positives of all N images, mined at once: image i has `columns[offsets[i]:offsets[i + 1]]`, ascending."""

    offsets: Int[Tensor, " n1"]
    columns: Int[Tensor, " p"]

    @classmethod
    def from_blocks(cls, blocks: Iterable[Bool[Tensor, "b n"]]) -> "SparsePositives":
        """Gather dense blocks that together hold all rows in order.

        Raises:
            ResightError: they hold more than `MOST_POSITIVES`; labels so many mean nothing and fill the RAM.
        """
        counts, columns, total, images = [torch.zeros(1, dtype=torch.long)], [], 0, 0
        for block in blocks:
            counts.append(block.sum(dim=1).cpu())
            columns.append(block.nonzero()[:, 1].to(torch.int32).cpu())
            total, images = total + len(columns[-1]), images + len(block)
            if total > MOST_POSITIVES:
                raise ResightError(
                    f"the miner takes {total / images:,.0f} of {block.shape[1]:,} images as positives of an image on "
                    f"average, more than {MOST_POSITIVES:,} in all; raise miner.tau or set miner.max_candidates"
                )
        return cls(torch.cat(counts).cumsum(0), torch.cat(columns))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def dense(self, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """The rows at `index`, dense, on the device of `index`."""
        rows = index.cpu()
        count = self.offsets[rows + 1] - self.offsets[rows]
        row = torch.arange(len(rows)).repeat_interleave(count)
        within = torch.arange(int(count.sum())) - (count.cumsum(0) - count).repeat_interleave(count)
        column = self.columns[self.offsets[rows].repeat_interleave(count) + within].long()
        positives = torch.zeros(len(rows), len(self), dtype=torch.bool)
        positives[row, column] = True
        return positives.to(index.device)
