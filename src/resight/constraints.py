"""What is known of a training image's identity without any label, as constraints on its mined positives.

One tracklet shows one identity, so its images are positives of each other. Two images that one camera took at the same
moment show two identities, so they are not, and neither are the other images of their tracklets.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from resight.errors import CheckpointError, ConfigError
from resight.progress import Say
from resight.types import UNKNOWN_CAMID, UNKNOWN_TRACKLET, UnlabelledImages

MOST_APART = 2**24
"""Most pairs of tracklets (an image of none counts as one) that are kept apart: 0.3 GB, as each is listed both ways."""

PAIRS_AT_ONCE = 2**22
"""How many pairs are spelt out at a time."""


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of whole numbers end to end: list k is `items[offsets[k]:offsets[k + 1]]`."""

    offsets: Int[Tensor, " l1"]
    items: Int[Tensor, " p"]

    @classmethod
    def from_sorted(cls, owner: Int[Tensor, " p"], items: Int[Tensor, " p"], count: int) -> "Lists":
        """Make `count` lists from items whose owners ascend."""
        ends = torch.bincount(owner, minlength=count).cumsum(0)
        return cls(torch.cat([ends.new_zeros(1), ends]), items)

    @property
    def lengths(self) -> Int[Tensor, " l"]:
        """How many items each list holds."""
        return self.offsets.diff()

    def of(self, wanted: Int[Tensor, " k"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        """Give all items of the lists `wanted`, in order, each with the position in `wanted` that it comes from."""
        count = self.lengths[wanted]
        position = torch.arange(len(wanted), device=wanted.device).repeat_interleave(count)
        before = count.cumsum(0) - count
        place = torch.arange(len(position), device=wanted.device) + (self.offsets[wanted] - before)[position]
        return position, self.items[place]

    def to(self, device: torch.device | str) -> "Lists":
        """Give the lists on `device`."""
        return Lists(self.offsets.to(device), self.items.to(device))


@dataclass(frozen=True, slots=True)
class Constraints:
    """Who is the same and who is not, stored by group; a group is a tracklet, or one image that is in none.

    Attributes:
        group: of each image.
        members: the images of each group.
        apart: of each group those that are other identities; symmetric, none is apart from itself.
        tracklets: how many there are in use.
        in_tracklets: how many images they hold.
        same_time: whether images of the same moment are kept apart.
    """

    group: Int[Tensor, " n"]
    members: Lists
    apart: Lists
    tracklets: int = 0
    in_tracklets: int = 0
    same_time: bool = False

    def __len__(self) -> int:
        return len(self.group)

    @property
    def binding(self) -> bool:
        """Whether they can change any positives at all."""
        return len(self.members.lengths) < len(self) or len(self.apart.items) > 0

    @property
    def pairs_apart(self) -> int:
        """How many pairs of images are kept apart."""
        size = self.members.lengths
        owner, other = self.apart.of(torch.arange(len(size), device=size.device))
        return int((size[owner] * size[other]).sum()) // 2

    def apply(self, positives: Bool[Tensor, "b n"], index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Give the positives of the images at `index` as the constraints have them; the own index is always positive.

        Images of one tracklet in one frame contradict each other; the tracklet is believed. Where nothing is known the
        positives come back as they are, not copied.
        """
        if not self.binding:
            return positives
        positives = positives.clone()
        step = max(1, PAIRS_AT_ONCE // max(1, len(self)))
        for row in torch.arange(len(index), device=positives.device).split(step):
            group = self.group[index[row].to(self.group.device)]
            at, other = self.apart.of(group)
            pair, image = self.members.of(other)
            mark(positives, row, at[pair], image, value=False)
            mark(positives, row, *self.members.of(group), value=True)
        return positives

    def to(self, device: torch.device | str) -> "Constraints":
        """Give the constraints on `device`."""
        return replace(self, group=self.group.to(device), members=self.members.to(device), apart=self.apart.to(device))

    def digest(self) -> str | None:
        """Name the content, for a checkpoint; None where nothing is known."""
        if not self.binding:
            return None
        parts = (self.group, self.apart.offsets, self.apart.items)
        content = b"".join(part.cpu().numpy().tobytes() for part in parts)
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def record(self) -> dict[str, int]:
        """Give the counts, for the log."""
        return {"tracklets": self.tracklets, "in_tracklets": self.in_tracklets, "pairs_apart": self.pairs_apart}

    def sentence(self) -> str:
        """Say what is known; empty where nothing is and nothing was asked for."""
        said = []
        if self.tracklets:
            said.append(f"tracklets: {self.tracklets:,} over {self.in_tracklets:,} images")
        if self.same_time:
            said.append(f"seen at the same time: {self.pairs_apart:,} pairs kept apart")
        return "; ".join(said)


def mark(
    positives: Bool[Tensor, "b n"],
    rows: Int[Tensor, " r"],
    at: Int[Tensor, " p"],
    image: Int[Tensor, " p"],
    *,
    value: bool,
) -> None:
    """Write `value` in place at `image` of the rows `rows[at]`."""
    device = positives.device
    positives[rows[at.to(device)], image.to(device)] = value


def find_constraints(images: UnlabelledImages, *, tracklets: bool, same_time: bool) -> Constraints:
    """Work out what is known of the images: from their tracklets, and from their moments, as far as asked for.

    A tracklet lies in one camera: the same number in another camera is another tracklet, and images of unknown camera
    belong to the number's only camera if it has one. A moment is one timestamp of one camera; where no image's camera
    is known all come from one, otherwise an image of unknown camera has no moment.

    Raises:
        ConfigError: more than `MOST_APART` pairs are to be kept apart.
    """
    camid = torch.tensor(images.camids, dtype=torch.long)
    number = torch.tensor(images.tracklets, dtype=torch.long)
    in_tracklet = (number != UNKNOWN_TRACKLET) & tracklets
    camid[in_tracklet] = only_camera(camid[in_tracklet], number[in_tracklet])
    first = joint(camid[in_tracklet], number[in_tracklet])
    count = int(first.max()) + 1 if len(first) else 0
    group = torch.full((len(images),), -1)
    group[in_tracklet] = first
    group[~in_tracklet] = torch.arange(len(images) - len(first)) + count
    groups = count + len(images) - len(first)
    by_group = group.argsort(stable=True)
    apart = (
        seen_together(group, camid, torch.tensor(images.timestamps, dtype=torch.float64), groups)
        if same_time
        else Lists.from_sorted(group[:0], group[:0], groups)
    )
    members = Lists.from_sorted(group[by_group], by_group, groups)
    return Constraints(group, members, apart, count, len(first), same_time)


def only_camera(camid: Int[Tensor, " n"], tracklet: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Fill unknown cameras in by the other images of the same tracklet number, where those name one camera alone."""
    place = joint(tracklet)
    high = torch.full_like(camid, UNKNOWN_CAMID).scatter_reduce(0, place, camid, "amax")
    known = camid.where(camid != UNKNOWN_CAMID, high[place])
    low = high.scatter_reduce(0, place, known, "amin")
    return camid.where((camid != UNKNOWN_CAMID) | (low != high)[place], high[place])


def seen_together(
    group: Int[Tensor, " n"], camid: Int[Tensor, " n"], timestamp: Shaped[Tensor, " n"], groups: int
) -> Lists:
    """List for each group those that one camera saw at some moment together with it.

    Raises:
        ConfigError: there are more than `MOST_APART` pairs.
    """
    timed = ~timestamp.isnan() & ((camid != UNKNOWN_CAMID) | (camid == UNKNOWN_CAMID).all())
    moment = joint(camid[timed], timestamp[timed])
    present = (moment * groups + group[timed]).unique()  # a tracklet once, however many of its images
    moment, present = present // groups, present % groups
    at_moment = Lists.from_sorted(moment, present, int(moment.max()) + 1 if len(moment) else 0)
    found = group[:0]
    for part in parts_of(at_moment.lengths[moment]):
        at, other = at_moment.of(moment[part])
        one = present[part][at]
        found = torch.cat([found, (one * groups + other)[one != other]]).unique()
        if len(found) > 2 * MOST_APART:
            raise ConfigError(
                f"miner.same_time keeps images of one moment apart, but that is more than {MOST_APART:,} pairs here: a "
                "timestamp that so many images share is no moment; give finer timestamps or set miner.same_time=false"
            )
    return Lists.from_sorted(found // groups, found % groups, groups)


def parts_of(lengths: Int[Tensor, " l"]) -> Iterator[slice]:
    """Cut a row of lists into parts that hold about `PAIRS_AT_ONCE` items each, at least one list."""
    part = (lengths.cumsum(0) - lengths) // PAIRS_AT_ONCE
    bounds = [0, *part.unique_consecutive(return_counts=True)[1].cumsum(0).tolist()]
    for start, stop in pairwise(bounds):
        yield slice(start, stop)


def joint(*columns: Shaped[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Number the different rows of some columns from 0, in ascending order."""
    code = torch.zeros(len(columns[0]), dtype=torch.long)
    for column in columns:
        values, number = column.unique(return_inverse=True)
        code = (code * len(values) + number).unique(return_inverse=True)[1]
    return code


def tell(constraints: Constraints, say: Say) -> dict[str, Any]:
    """Say what is known, where anything is; give it as a field of the log's first event."""
    sentence = constraints.sentence()
    if not sentence:
        return {}
    say(sentence)
    return {"constraints": constraints.record()}


def refuse_other_constraints(checkpoint: Path, stored: str | None, found: str | None) -> None:
    """Refuse to resume with tracklets or moments that are not those of the checkpoint.

    Raises:
        CheckpointError: as said.
    """
    if stored != found:
        raise CheckpointError(
            f"{checkpoint} was trained with other tracklets, cameras or timestamps than the data now hold; put back "
            "those that the run began with"
        )
