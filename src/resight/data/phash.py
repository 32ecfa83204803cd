"""Perceptual hash of an image: 64 bits that stay nearly the same when it is re-encoded, resized or brightened.

The same bits as `phash` of the ImageHash library, so that hashes can be compared with those of other tools. The library
itself is left out: it brings SciPy and PyWavelets, 150 MB, for two matrix products, and takes three times as long.

Method: the low frequencies of the discrete cosine transform against their median, as in pHash (Zauner, 2010,
Implementation and benchmarking of perceptual image hash functions).
"""

import functools
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8, UInt64
from PIL import Image

from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError
from resight.data.digests import content_digests
from resight.data.table import with_table
from resight.data.thumbnails import SIDE as THUMB
from resight.data.thumbnails import thumbnails
from resight.types import Picture

SIDE = 32
LOW = 8
DIM = THUMB * THUMB
FLAT = 4.0
"""Standard deviation, in grey levels, below which an image shows nothing that could be recognised."""
BATCH = 1024
TABLE_NAME = "looks.sqlite"
SCHEMA = "CREATE TABLE IF NOT EXISTS looks (digest TEXT PRIMARY KEY, hash TEXT, thumb BLOB) WITHOUT ROWID"


def grey_square(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "32 32"]:
    """Give the image in grey at the size that is hashed; proportions are not kept."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.array(grey)


def perceptual_hash(grey: UInt8[np.ndarray, "n 32 32"]) -> UInt64[np.ndarray, " n"]:
    """Hash grey squares: a bit a frequency, 1 above their median, the lowest vertical frequency in the highest bits.

    The constant takes part and is nearly always 1, so that 63 bits tell images apart, and two hashes differ in an even
    number of bits.
    """
    place, frequency = np.arange(SIDE), np.arange(LOW)
    waves = np.cos(np.pi * frequency[:, None] * (2 * place + 1) / (2 * SIDE))
    low = (waves @ grey.astype(np.float64) @ waves.T).reshape(-1, LOW * LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


class Looks(NamedTuple):
    """What pictures look like, in 8 and in 256 bytes; `usable` is false for broken and flat (`FLAT`) ones, all 0."""

    hashes: UInt64[np.ndarray, " n"]
    thumbs: UInt8[np.ndarray, "n 256"]
    usable: Bool[np.ndarray, " n"]


def picture_looks(
    pictures: Sequence[Picture],
    cache_dir: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Looks:
    """Hash images, and make their thumbnails (`thumbnails.thumbnails`).

    A table in `cache_dir` remembers them by the images' content; `progress` is called with images done and images in
    all, of those that it does not hold.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    digests = content_digests(pictures, cache_dir)
    first = {digest: place for place, digest in reversed(list(enumerate(digests)))}
    looks = Looks(*(np.zeros((len(digests), *shape), kind) for shape, kind in (((), "u8"), ((DIM,), "u1"), ((), "?"))))
    known = with_table(cache_dir / TABLE_NAME, SCHEMA, lambda table: _look_up(table, first, looks)) or set()
    unknown = [digest for digest in dict.fromkeys(digests) if digest not in known]
    for start in range(0, len(unknown), BATCH):
        # Remembered batch by batch: if the first look is stopped, what it has done is kept.
        batch = [first[digest] for digest in unknown[start : start + BATCH]]
        done = _look(pictures, batch, looks, None if progress is None else _further(progress, start, len(unknown)))
        rows = [_row(digests[place], looks, place) for place in done]
        with_table(cache_dir / TABLE_NAME, SCHEMA, functools.partial(_remember, rows))
    if len(first) == len(digests):
        return looks
    places = np.array([first[digest] for digest in digests])
    return Looks(*(values[places] for values in looks))


def _further(progress: Callable[[int, int], None], start: int, total: int) -> Callable[[int], None]:
    return lambda done: progress(start + done, total)


def _look(
    pictures: Sequence[Picture], places: Sequence[int], looks: Looks, progress: Callable[[int], None] | None
) -> list[int]:
    """Fill in some of the looks; give the places of the pictures that are not broken."""
    found, squares = [], []
    each = each_decoded([pictures[place] for place in places], grey_square)
    for count, (place, square) in enumerate(zip(places, each, strict=True), start=1):
        if not isinstance(square, BrokenImageError):
            found.append(place)
            squares.append(square)
        if progress is not None:
            progress(count)
    if found:
        grey = np.stack(squares)
        usable = grey.std(axis=(1, 2)) >= FLAT
        looks.usable[found] = usable
        looks.hashes[found] = np.where(usable, perceptual_hash(grey), 0).astype(np.uint64)
        looks.thumbs[found] = np.where(usable[:, None], thumbnails(grey), 0)
    return found


Row = tuple[str, str, bytes]
"""Digest, hash in hexadecimal, thumbnail; the last two are empty for a flat image."""


def _row(digest: str, looks: Looks, place: int) -> Row:
    return (
        (digest, f"{looks.hashes[place]:016x}", looks.thumbs[place].tobytes())
        if looks.usable[place]
        else (
            digest,
            "",
            b"",
        )
    )


def _look_up(table: sqlite3.Connection, first: Mapping[str, int], looks: Looks) -> set[str]:
    """Fill in the looks that the table holds, at each digest's place; give these digests."""
    known = set()
    for digest, place in first.items():
        row = table.execute("SELECT hash, thumb FROM looks WHERE digest = ?", (digest,)).fetchone()
        if row is not None:
            known.add(digest)
            looks.usable[place] = bool(row[0])
            looks.hashes[place] = int(row[0] or "0", 16)
            looks.thumbs[place] = np.frombuffer(row[1], np.uint8) if row[0] else 0
    return known


def _remember(rows: Sequence[Row], table: sqlite3.Connection) -> None:
    table.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?, ?)", rows)
