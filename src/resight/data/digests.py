"""What an image contains, as a short digest; files that have not changed are not read twice."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from resight.data.decode import path_and_box
from resight.data.table import with_table
from resight.data.threads import mapped
from resight.errors import DataError
from resight.types import Box, Picture

Stamp = tuple[str, int, int]  # absolute path, size in bytes, time of the last change in ns

DIGEST_BYTES = 16
TABLE_NAME = "digests.sqlite"
SCHEMA = "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size, changed_ns, digest TEXT)"
SETTLED_NS = 2_000_000_000
"""A file changed less than this ago is not remembered: a second change might leave the same time stamp."""


def default_cache_dir() -> Path:
    """Give the folder for everything that can be made again: `$RESIGHT_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("RESIGHT_CACHE") or platformdirs.user_cache_dir("resight"))


def content_digests(pictures: Sequence[Picture], cache_dir: Path) -> list[str]:
    """Compute the digest of each file's bytes, or of these and the box (blake2b, 16 bytes, hexadecimal), in order.

    Equal digests mean equal content; equal content in a box and as a file of its own has two digests. A table in
    `cache_dir` remembers the files' by path, size and time of change; where it cannot be used, every file is read.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    parts = [path_and_box(picture) for picture in pictures]
    files = list(dict.fromkeys(path for path, _ in parts))
    digests = dict(zip(files, _file_digests(files, cache_dir), strict=True))
    return [digests[path] if box is None else _box_digest(digests[path], box) for path, box in parts]


def _file_digests(paths: Sequence[Path], cache_dir: Path) -> list[str]:
    stamps = list(mapped(_stamp, paths))
    known = with_table(cache_dir / TABLE_NAME, SCHEMA, lambda table: _look_up(table, stamps)) or {}
    unknown = list(dict.fromkeys(stamp for stamp in stamps if stamp not in known))
    fresh = dict(zip(unknown, mapped(_digest, [Path(stamp[0]) for stamp in unknown]), strict=True))
    settled = time.time_ns() - SETTLED_NS
    rows = [(*stamp, digest) for stamp, digest in fresh.items() if stamp[2] < settled]
    if rows:
        with_table(cache_dir / TABLE_NAME, SCHEMA, lambda table: _remember(table, rows))
    known.update(fresh)
    return [known[stamp] for stamp in stamps]


def _box_digest(digest: str, box: Box) -> str:
    return hashlib.blake2b(f"{digest} {','.join(map(str, box))}".encode(), digest_size=DIGEST_BYTES).hexdigest()


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return str(path.absolute()), status.st_size, status.st_mtime_ns


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _look_up(table: sqlite3.Connection, stamps: Sequence[Stamp]) -> dict[Stamp, str]:
    query = "SELECT digest FROM digests WHERE path = ? AND size = ? AND changed_ns = ?"
    found = ((stamp, table.execute(query, stamp).fetchone()) for stamp in stamps)
    return {stamp: row[0] for stamp, row in found if row is not None}


def _remember(table: sqlite3.Connection, rows: Sequence[tuple[str, int, int, str]]) -> None:
    table.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", rows)
