"""Training images that the evaluation would meet again in another guise: re-encoded, resized, brightened or trimmed.

A leak needs three witnesses, each dearer than the one before. The perceptual hashes of both images differ in at most
`DISTANCE` of 64 bits; this finds candidates, and among crops of one street many that are none. Their thumbnails, kept
beside the hashes, explain each other (`thumbnails.likeness`). Then both are decoded, and the pixels must agree
(`alignment.same_picture`).

Measured on 300 images each of Market-1501 and of two small sets of people and of vehicles: JPEG quality 50 to 95, PNG,
50 to 200 % in size, one pixel trimmed on every side, 10 % brighter, or several of these are always found again; one or
two pixels trimmed in 99 %, two pixels on every side of crops 48 to 80 pixels wide in 97 % and more. Of the 3 × 10^8
pairs of train and test as the three sets ship none is taken for a leak: 1,421 are candidates, 7 of them are decoded.
Thumbnails lose no copy: the least likeness of 15,273 is 0.980, and 0.948 the other way round. Two frames of someone
standing still are told apart where one sees that they differ: of 67,105 pairs of Market-1501 with one identity, camera
and split, 33 are taken for the same picture.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from resight.data import alignment, phash, thumbnails
from resight.data.alignment import bounded, same_picture
from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError
from resight.data.hamming import HashIndex
from resight.data.leaks import Leak, can_leak, match_leaks, split_digests
from resight.data.phash import Looks, picture_looks
from resight.data.table import with_table
from resight.data.threads import mapped
from resight.data.thumbnails import explained_by, likeness, spreads
from resight.sparse_rows import runs
from resight.types import Dataset, Picture

VERSION = 2
"""Part of every remembered answer's key: raise it when other pairs come to be found."""
DISTANCE = 10
ALIKE = 0.97
"""Least likeness of two thumbnails (`thumbnails.likeness`) at which it is worth decoding both."""
NEARLY_ALIKE = 0.93
"""Least likeness one way at which the other way is asked too: the trimmed picture explains the whole one less well."""
ASKED_TWICE = 5
"""Candidates that are asked both ways, for one that may be decoded."""
MOST_ALIGNED = 20
"""Candidates of one training image, the most alike first, that are decoded and laid over it."""
PART = 512
"""Hashes of training images searched before what was found is remembered."""
AT_ONCE = 256
"""Pairs laid over each other at a time: what bounds the decoded images in memory."""
TABLE_NAME = "near.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS parts (key TEXT, start INTEGER, stop INTEGER, whole INTEGER, matches TEXT,
PRIMARY KEY (key, start))"""

Progress = Callable[[int, int], None]
Pair = tuple[int, int]
"""Rows of a training image and of another."""


def find_near_leaks(
    dataset: Dataset,
    cache_dir: Path,
    progress: Progress | None = None,
    digests: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Leak, ...]:
    """Find the training images of which query or gallery hold the same picture in other bytes, in training order.

    Each counts once, with the image that is most alike, the first of equals, query before gallery. Images with equal
    content are none (`find_leaks` finds those), nor are broken, flat (`phash.FLAT`) and mirrored ones. Answers are
    remembered in `cache_dir` part by part, so that little is lost if the search is stopped. `progress` is called with
    images done and images in all: those to decode, then the training images to compare; not if all is remembered.
    `digests`: what `split_digests` gives, where it is at hand.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    if not can_leak(dataset):
        return ()
    digests = digests or split_digests(dataset, cache_dir)
    train, others = digests[dataset.train.name], [*digests[dataset.query.name], *digests[dataset.gallery.name]]
    answers = _Answers(cache_dir / TABLE_NAME, _key(train, others))
    if not answers.complete:
        tested = dict(zip(others, (*dataset.query.pictures, *dataset.gallery.pictures), strict=True))
        trained = {d: p for d, p in zip(train, dataset.train.pictures, strict=True) if d not in tested}
        _compare(trained, tested, answers, cache_dir, progress)
    return match_leaks(dataset, digests, answers.matches)


def _key(train: Sequence[str], others: Sequence[str]) -> str:
    """Name the question by what the images hold and by everything that decides what is found."""
    limits = [
        DISTANCE,
        ALIKE,
        NEARLY_ALIKE,
        ASKED_TWICE,
        MOST_ALIGNED,
        phash.FLAT,
        thumbnails.SIDE,
        thumbnails.SMOOTHED,
    ]
    aligned = [alignment.SIDE, alignment.CORRELATION, alignment.DIFFERENCE, alignment.INSET, alignment.STEPS]
    aligned += [alignment.LARGEST, alignment.HOPELESS]
    facts = json.dumps([VERSION, limits, aligned, train, others])
    return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()


class _Answers:
    """What was found so far about one question: matches (digest of a training image → the other's), and how far."""

    def __init__(self, file: Path, key: str) -> None:
        self.file, self.key = file, key
        self.matches: dict[str, str] = {}
        self.done = 0
        self.complete = False
        query = "SELECT start, stop, whole, matches FROM parts WHERE key = ? ORDER BY start"
        for start, stop, whole, matches in (
            with_table(file, SCHEMA, lambda t: t.execute(query, (key,)).fetchall()) or ()
        ):
            if start == self.done:  # what lies behind a gap, a part that could not be written, is searched again
                self._take(stop, whole, json.loads(matches))

    def add(self, stop: int, whole: int, matches: Mapping[str, str]) -> None:
        """Remember what was found among the hashes `self.done` to `stop` of `whole`."""
        entry = (self.key, self.done, stop, whole, json.dumps(matches))
        with_table(self.file, SCHEMA, lambda t: t.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?)", entry))
        self._take(stop, whole, matches)

    def _take(self, stop: int, whole: int, matches: Mapping[str, str]) -> None:
        self.matches |= matches
        self.done, self.complete = stop, stop == whole


def _compare(
    train: Mapping[str, Picture],
    others: Mapping[str, Picture],
    answers: _Answers,
    cache_dir: Path,
    progress: Progress | None,
) -> None:
    """Find the training images that are the same picture as another, from where `answers` ends."""
    names, pictures = [*train, *others], [*train.values(), *others.values()]
    decoded = 0

    def hashing(done: int, total: int) -> None:
        nonlocal decoded
        decoded = total
        if progress is not None:
            progress(done, total + len(train))

    looks = picture_looks(pictures, cache_dir, hashing)
    search = _Search(looks, len(train))
    whole = len(search.left.hashes)
    while not answers.complete:
        stop = min(answers.done + PART, whole)
        found = (match for pairs in search.alike(answers.done, stop) for match in _same(pairs, pictures))
        answers.add(stop, whole, {names[row]: names[match] for row, match in found})
        if progress is not None:
            done = len(train) * stop // whole if whole else len(train)
            progress(decoded + done, decoded + len(train))


class _Groups:
    """Rows with equal hashes, looked up once: thousands of images may share one."""

    def __init__(self, hashes: np.ndarray, rows: np.ndarray) -> None:
        self.hashes, group = np.unique(hashes[rows], return_inverse=True)
        self.rows = rows[np.argsort(group, kind="stable")].astype(np.int32)
        self.starts = np.concatenate([[0], np.bincount(group, minlength=len(self.hashes)).cumsum()])

    def members(self, groups: np.ndarray) -> np.ndarray:
        """Give the rows of some groups, group after group."""
        return self.rows[runs(self.starts[groups], self.starts[groups + 1] - self.starts[groups])]


class _Search:
    """The rows of train and test, of which the first `count` are train, grouped by hash."""

    def __init__(self, looks: Looks, count: int) -> None:
        usable = np.flatnonzero(looks.usable)
        self.thumbs, self.spreads = looks.thumbs, spreads(looks.thumbs)
        self.left = _Groups(looks.hashes, usable[usable < count])
        self.right = _Groups(looks.hashes, usable[usable >= count])
        self.index = HashIndex(self.right.hashes, DISTANCE)

    def alike(self, start: int, stop: int) -> Iterator[list[Pair]]:
        """Give the pairs worth decoding of the left hashes `start` to `stop`, at least `AT_ONCE` at a time."""
        pairs: list[Pair] = []
        for i, j in self.index.pairs(self.left.hashes[start:stop]):
            order = np.argsort(i, kind="stable")
            groups, starts = np.unique(start + i[order], return_index=True)
            explained = self._explained(self.left.members(groups))
            for group, near in zip(groups, np.split(j[order], starts[1:]), strict=True):
                others = np.sort(self.right.members(near))
                for row in self.left.members(group[None]).tolist():
                    pairs += self._most_alike(row, next(explained), others)
                    if len(pairs) >= AT_ONCE:
                        yield pairs
                        pairs = []
        if pairs:
            yield pairs

    def _explained(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(rows), AT_ONCE):
            yield from explained_by(self.thumbs[rows[start : start + AT_ONCE]])

    def _most_alike(self, row: int, explained: np.ndarray, others: np.ndarray) -> list[Pair]:
        """Give the pairs of a training image that are worth decoding, ascending."""
        scores = likeness(explained, self.thumbs[others], self.spreads[others])
        # A row explains one that is trimmed better than the other way round; few are worth asking both ways.
        best = np.argsort(-scores, kind="stable")[: ASKED_TWICE * MOST_ALIGNED]
        best = best[scores[best] >= NEARLY_ALIKE]
        if not len(best):
            return []
        back = [
            likeness(e, self.thumbs[[row]], self.spreads[[row]])[0] for e in explained_by(self.thumbs[others[best]])
        ]
        twice = np.maximum(scores[best], back)
        nearest = best[np.argsort(-twice, kind="stable")[:MOST_ALIGNED][: np.count_nonzero(twice >= ALIKE)]]
        return [(row, int(other)) for other in np.sort(others[nearest])]


def _same(pairs: Sequence[Pair], pictures: Sequence[Picture]) -> Iterator[Pair]:
    """Give each left row with the right one that shows the same picture with the highest correlation, if one does."""
    rows = sorted({row for pair in pairs for row in pair})  # in order, so that parts of one file are decoded together
    small = {}
    for row, pixels in zip(rows, each_decoded([pictures[row] for row in rows], bounded), strict=True):
        if isinstance(pixels, BrokenImageError):  # it has a hash, so that it was changed a moment ago
            raise pixels
        small[row] = pixels
    agreements = mapped(lambda pair: same_picture(small[pair[0]], small[pair[1]]), pairs)
    best: dict[int, tuple[float, int]] = {}
    for (row, other), value in zip(pairs, agreements, strict=True):
        if value is not None and (row not in best or value > best[row][0]):
            best[row] = value, other
    yield from ((row, other) for row, (_, other) in best.items())
