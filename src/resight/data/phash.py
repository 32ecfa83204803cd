"""Perceptual hash of an image: 64 bits that stay nearly the same when it is re-encoded, resized or brightened.

The same bits as `phash` of the ImageHash library, so that hashes can be compared with those of other tools. The library
itself is left out: it brings SciPy and PyWavelets, 150 MB, for two matrix products, and takes three times as long.

Method: the low frequencies of the discrete cosine transform against their median, as in pHash (Zauner, 2010,
Implementation and benchmarking of perceptual image hash functions).
"""

import functools
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8, UInt64
from PIL import Image

from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError
from resight.data.digests import content_digests
from resight.data.table import with_table
from resight.types import Picture

SIDE = 32
LOW = 8
FLAT = 4.0
"""Standard deviation, in grey levels, below which an image shows nothing that could be recognised."""
BATCH = 1024
TABLE_NAME = "hashes.sqlite"
SCHEMA = "CREATE TABLE IF NOT EXISTS hashes (digest TEXT PRIMARY KEY, hash TEXT)"


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


def picture_hashes(
    pictures: Sequence[Picture],
    cache_dir: Path,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[UInt64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Hash images, and tell which hashes mean something: not those of broken or flat (`FLAT`) ones, which are 0.

    A table in `cache_dir` remembers them by the images' content; `progress` is called with images done and images in
    all, of those that it does not hold.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    digests = content_digests(pictures, cache_dir)
    known = with_table(cache_dir / TABLE_NAME, SCHEMA, lambda table: _look_up(table, digests)) or {}
    unknown = list({d: p for d, p in zip(digests, pictures, strict=True) if d not in known}.items())
    for start in range(0, len(unknown), BATCH):
        # Remembered batch by batch: if the first look is stopped, what it has done is kept.
        fresh = _hash(unknown[start : start + BATCH], (start, len(unknown)), progress)
        rows = [(digest, text) for digest, text in fresh.items() if text is not None]
        with_table(cache_dir / TABLE_NAME, SCHEMA, functools.partial(_remember, rows))
        known |= fresh
    texts = [known[digest] for digest in digests]
    return np.array([int(text or "0", 16) for text in texts], np.uint64), np.array([bool(text) for text in texts], bool)


def _hash(
    pictures: Sequence[tuple[str, Picture]], done: tuple[int, int], progress: Callable[[int, int], None] | None
) -> dict[str, str | None]:
    """Give the hash in hexadecimal by digest, "" for a flat image, None for a broken one."""
    texts: dict[str, str | None] = {}
    squares = []
    each = each_decoded([picture for _, picture in pictures], grey_square)
    for count, ((digest, _), square) in enumerate(zip(pictures, each, strict=True), start=1):
        texts[digest] = None
        if not isinstance(square, BrokenImageError):
            texts[digest] = ""
            if square.std() >= FLAT:
                squares.append((digest, square))
        if progress is not None:
            progress(done[0] + count, done[1])
    if squares:
        hashes = perceptual_hash(np.stack([square for _, square in squares]))
        texts |= {digest: f"{value:016x}" for (digest, _), value in zip(squares, hashes.tolist(), strict=True)}
    return texts


def _look_up(table: sqlite3.Connection, digests: Sequence[str]) -> dict[str, str | None]:
    found = ((d, table.execute("SELECT hash FROM hashes WHERE digest = ?", (d,)).fetchone()) for d in set(digests))
    return {digest: row[0] for digest, row in found if row is not None}


def _remember(rows: Sequence[tuple[str, str]], table: sqlite3.Connection) -> None:
    table.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?)", rows)
