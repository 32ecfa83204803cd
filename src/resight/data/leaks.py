"""Training images that the evaluation would meet again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resight.data.digests import content_digests
from resight.errors import DataError
from resight.types import Dataset

SHOWN = 3


@dataclass(frozen=True)
class Leak:
    """A training image and a file with the same bytes in the split `other_split`, query or gallery."""

    train_path: Path
    other_path: Path
    other_split: str


def find_leaks(dataset: Dataset, cache_dir: Path) -> tuple[Leak, ...]:
    """Find the training images whose exact content also occurs in query or gallery, in training order.

    Each counts once, with its first match, query before gallery. An image in both query and gallery is no leak.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    if not dataset.train or not (dataset.query or dataset.gallery):
        return ()
    return match_leaks(dataset, split_digests(dataset, cache_dir))


def split_digests(dataset: Dataset, cache_dir: Path) -> dict[str, list[str]]:
    """Compute the content digests of each split's files, by the split's name."""
    return {split.name: content_digests(split.paths, cache_dir) for split in dataset.splits}


def match_leaks(dataset: Dataset, digests: Mapping[str, Sequence[str]]) -> tuple[Leak, ...]:
    """Find the leaks from digests at hand; see `find_leaks`."""
    seen: dict[str, tuple[Path, str]] = {}
    for split in (dataset.query, dataset.gallery):
        for path, digest in zip(split.paths, digests[split.name], strict=True):
            seen.setdefault(digest, (path, split.name))
    train = zip(dataset.train.paths, digests[dataset.train.name], strict=True)
    return tuple(Leak(path, *seen[digest]) for path, digest in train if digest in seen)


def refuse_leaks(leaks: Sequence[Leak], kind: str = "training image") -> None:
    """Do nothing if there are no leaks; `kind` names the images of which none may be one.

    Raises:
        DataError: there are some.
    """
    if not leaks:
        return
    first = ", ".join(f"{leak.train_path} = {leak.other_path} ({leak.other_split})" for leak in leaks[:SHOWN])
    more = ", ..." if len(leaks) > SHOWN else ""
    raise DataError(
        f"no {kind} may be in query or gallery too, but {len(leaks)} of them are: {first}{more}; "
        "take them out, or pass --allow-leak"
    )
