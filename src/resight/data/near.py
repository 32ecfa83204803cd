"""Training images that the evaluation would meet again in another guise: re-encoded, resized, brightened or trimmed.

A leak needs two witnesses. The perceptual hashes of both images differ in at most `DISTANCE` of 64 bits; this finds
candidates, and among crops of one street many that are none. Then the pixels must agree (`alignment.same_picture`).

Measured on 300 images each of Market-1501 and of two small sets of people and of vehicles: JPEG quality 50 to 95, PNG,
50 to 200 % in size, one pixel trimmed on every side, 10 % brighter, or several of these are always found again; one or
two pixels trimmed in 99 %, two pixels on every side of crops 48 to 80 pixels wide in 97 % and more. Of the 3 × 10^8
pairs of train and test as the three sets ship none is taken for a leak: the most alike of the 1,421 candidates have a
correlation of 0.96 and 12 grey levels between them. Two frames of someone standing still are told apart where one sees
that they differ: of 67,105 pairs of Market-1501 with one identity, camera and split, 33 are taken for the same picture.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from resight.data import alignment, phash
from resight.data.alignment import same_picture
from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError
from resight.data.hamming import pairs_within
from resight.data.leaks import Leak, split_digests
from resight.data.phash import picture_hashes
from resight.data.table import with_table
from resight.types import Dataset, Picture

VERSION = 1
"""Part of every remembered answer's key: raise it when other pairs come to be found."""
DISTANCE = 10
THUMB = 16
ALIKE = 0.5
"""Least correlation of two thumbnails, nothing moved, at which it is worth searching for a trim."""
MOST_ALIGNED = 20
"""Candidates of one training image, the most alike first, that are compared with their trim searched for."""
TABLE_NAME = "near.sqlite"
SCHEMA = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, pairs TEXT)"

Progress = Callable[[int, int], None]


def find_near_leaks(dataset: Dataset, cache_dir: Path, progress: Progress | None = None) -> tuple[Leak, ...]:
    """Find the training images of which query or gallery hold the same picture in other bytes, in training order.

    Each counts once, with the image that is most alike, the first of equals, query before gallery. Images with equal
    content are none (`find_leaks` finds those), nor are broken, flat (`phash.FLAT`) and mirrored ones. The answer is
    remembered in `cache_dir`; `progress` is called with images done and images in all where they must be decoded.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    if not dataset.train or not (dataset.query or dataset.gallery):
        return ()
    digests = split_digests(dataset, cache_dir)
    train, others = digests[dataset.train.name], [*digests[dataset.query.name], *digests[dataset.gallery.name]]
    key, file = _key(train, others), cache_dir / TABLE_NAME
    row = with_table(file, SCHEMA, lambda t: t.execute("SELECT pairs FROM answers WHERE key = ?", (key,)).fetchone())
    if row is None:
        tested = dict(zip(others, (*dataset.query.pictures, *dataset.gallery.pictures), strict=True))
        trained = {d: p for d, p in zip(train, dataset.train.pictures, strict=True) if d not in tested}
        matches = _matches(trained, tested, cache_dir, progress)
        entry = (key, json.dumps(matches))
        with_table(file, SCHEMA, lambda t: t.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", entry))
    else:
        matches = json.loads(row[0])
    return _leaks(dataset, digests, matches)


def _key(train: Sequence[str], others: Sequence[str]) -> str:
    """Name the question by what the images hold and by everything that decides what is found."""
    limits = [DISTANCE, THUMB, ALIKE, MOST_ALIGNED, phash.FLAT]
    aligned = [alignment.SIDE, alignment.CORRELATION, alignment.DIFFERENCE, alignment.INSET, alignment.STEPS]
    facts = json.dumps([VERSION, limits, aligned, train, others])
    return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()


def _leaks(dataset: Dataset, digests: Mapping[str, Sequence[str]], matches: Mapping[str, str]) -> tuple[Leak, ...]:
    """Give the matches, a digest of a training image → the other's, as leaks."""
    seen: dict[str, tuple[Picture, str]] = {}
    for split in (dataset.query, dataset.gallery):
        for picture, digest in zip(split.pictures, digests[split.name], strict=True):
            seen.setdefault(digest, (picture, split.name))
    train = zip(dataset.train.pictures, digests[dataset.train.name], strict=True)
    return tuple(Leak(picture, *seen[matches[digest]], kind="near") for picture, digest in train if digest in matches)


def _matches(
    train: Mapping[str, Picture], others: Mapping[str, Picture], cache_dir: Path, progress: Progress | None
) -> dict[str, str]:
    """Find the training images that are the same picture as another, both as digests."""
    names, pictures = [*train, *others], [*train.values(), *others.values()]
    hashes, usable = picture_hashes(pictures, cache_dir, progress)
    left, right = np.flatnonzero(usable[: len(train)]), len(train) + np.flatnonzero(usable[len(train) :])
    looked_at = _Pictures(pictures)
    matches = {}
    for row, candidates in _candidates(hashes, left, right):
        match = looked_at.most_alike(row, candidates)
        if match is not None:
            matches[names[row]] = names[match]
    return matches


def _candidates(hashes: np.ndarray, left: np.ndarray, right: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Give each row of `left` that has any, with the rows of `right` whose hash is near its own, ascending."""
    # Equal hashes are looked up once: thousands of images may share one.
    left_hashes, left_group = np.unique(hashes[left], return_inverse=True)
    right_hashes, right_group = np.unique(hashes[right], return_inverse=True)
    members_left, members_right = _members(left, left_group), _members(right, right_group)
    for i, j in pairs_within(left_hashes, right_hashes, DISTANCE):
        order = np.argsort(i, kind="stable")
        groups, starts = np.unique(i[order], return_index=True)
        for group, near in zip(groups, np.split(j[order], starts[1:]), strict=True):
            rows = np.sort(np.concatenate([members_right[k] for k in near]))
            yield from ((int(row), rows) for row in members_left[group])


def _members(rows: np.ndarray, group: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(group, kind="stable")
    return np.split(rows[order], np.cumsum(np.bincount(group))[:-1])


class _Pictures:
    """Pictures by row, with the thumbnails of those that were asked for so far."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures
        self.thumbs: dict[int, np.ndarray] = {}

    def most_alike(self, row: int, candidates: Int[np.ndarray, " c"]) -> int | None:
        """Give the candidate that shows the same picture with the highest correlation, if one does."""
        self._look_at([row, *candidates.tolist()])
        scores = np.stack([self.thumbs[place] for place in candidates.tolist()]) @ self.thumbs[row]
        nearest = [k for k in np.argsort(-scores, kind="stable")[:MOST_ALIGNED] if scores[k] >= ALIKE]
        if not nearest:
            return None
        chosen = np.sort(candidates[nearest]).tolist()
        (pixels,) = each_decoded([self.pictures[row]], np.copy)
        if isinstance(pixels, BrokenImageError):
            raise pixels
        agreements = each_decoded([self.pictures[k] for k in chosen], lambda other: same_picture(pixels, other))
        agreed = [(value, k) for value, k in zip(agreements, chosen, strict=True) if isinstance(value, float)]
        return max(agreed, key=lambda pair: pair[0], default=(0.0, None))[1]

    def _look_at(self, rows: Sequence[int]) -> None:
        new = [row for row in rows if row not in self.thumbs]
        for row, thumb in zip(new, each_decoded([self.pictures[row] for row in new], _thumbnail), strict=True):
            if isinstance(thumb, BrokenImageError):  # it has a hash, so that it was changed a moment ago
                raise thumb
            self.thumbs[row] = thumb


def _thumbnail(pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " d"]:
    """Give the image small, without each channel's mean, at unit length."""
    small = np.asarray(Image.fromarray(pixels).resize((THUMB, THUMB), Image.Resampling.BILINEAR), dtype=np.float32)
    flat = (small - small.mean(axis=(0, 1))).ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-9)
