"""Training images that the evaluation would meet again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resight.data.digests import content_digests
from resight.errors import DataError
from resight.types import Dataset, Picture

SHOWN = 3
OTHER_GUISE = "re-encoded, resized, brightened or trimmed"


@dataclass(frozen=True)
class Leak:
    """A training image and one with the same content in the split `other_split`, query or gallery.

    Content is a file's bytes, or these and a box: the same part of equal files is a leak, another part is none. `kind`
    is "exact", or "near" for the same picture in other bytes (`near.find_near_leaks`).
    """

    train_path: Picture
    other_path: Picture
    other_split: str
    kind: Literal["exact", "near"] = "exact"

    def __str__(self) -> str:
        sign = "=" if self.kind == "exact" else "≈"
        return f"{self.train_path} {sign} {self.other_path} ({self.other_split})"


def can_leak(dataset: Dataset) -> bool:
    """Whether there are training images, and any that they could be met again as."""
    return bool(dataset.train and (dataset.query or dataset.gallery))


def find_leaks(dataset: Dataset, cache_dir: Path) -> tuple[Leak, ...]:
    """Find the training images whose exact content also occurs in query or gallery, in training order.

    Each counts once, with its first match, query before gallery. An image in both query and gallery is no leak.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    if not can_leak(dataset):
        return ()
    return match_leaks(dataset, split_digests(dataset, cache_dir))


def split_digests(dataset: Dataset, cache_dir: Path) -> dict[str, list[str]]:
    """Compute the content digests of each split's images, by the split's name."""
    return {split.name: content_digests(split.pictures, cache_dir) for split in dataset.splits}


def match_leaks(
    dataset: Dataset, digests: Mapping[str, Sequence[str]], near: Mapping[str, str] | None = None
) -> tuple[Leak, ...]:
    """Find the leaks from digests at hand; see `find_leaks`.

    With `near`, digest of a training image → digest of the one that it is a copy of, these are the leaks instead.
    """
    seen: dict[str, tuple[Picture, str]] = {}
    for split in (dataset.query, dataset.gallery):
        for picture, digest in zip(split.pictures, digests[split.name], strict=True):
            seen.setdefault(digest, (picture, split.name))
    train = zip(dataset.train.pictures, digests[dataset.train.name], strict=True)
    if near is None:
        return tuple(Leak(picture, *seen[digest]) for picture, digest in train if digest in seen)
    return tuple(Leak(picture, *seen[near[digest]], kind="near") for picture, digest in train if digest in near)


def refuse_leaks(leaks: Sequence[Leak], kind: str = "training image") -> None:
    """Do nothing if there are no leaks; `kind` names the images of which none may be one.

    Raises:
        DataError: there are some.
    """
    if not leaks:
        return
    first = ", ".join(map(str, leaks[:SHOWN]))
    more = ", ..." if len(leaks) > SHOWN else ""
    guise = f", {OTHER_GUISE}" if all(leak.kind == "near" for leak in leaks) else ""
    raise DataError(
        f"no {kind} may be in query or gallery too{guise}, but {len(leaks)} of them are: {first}{more}; "
        "take them out, or pass --allow-leak"
    )
