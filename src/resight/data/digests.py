"""What an image contains, as a short digest; files that have not changed are not read twice."""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import platformdirs

from resight.data.decode import path_and_box
from resight.data.threads import mapped
from resight.errors import DataError
from resight.types import Box, Picture

Answer = TypeVar("Answer")
Stamp = tuple[str, int, int]  # absolute path, size in bytes, time of the last change in ns

DIGEST_BYTES = 16
TABLE_NAME = "digests.sqlite"
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
    known = _with_table(cache_dir, lambda table: _look_up(table, stamps)) or {}
    unknown = list(dict.fromkeys(stamp for stamp in stamps if stamp not in known))
    fresh = dict(zip(unknown, mapped(_digest, [Path(stamp[0]) for stamp in unknown]), strict=True))
    settled = time.time_ns() - SETTLED_NS
    rows = [(*stamp, digest) for stamp, digest in fresh.items() if stamp[2] < settled]
    if rows:
        _with_table(cache_dir, lambda table: _remember(table, rows))
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


def _with_table(cache_dir: Path, use: Callable[[sqlite3.Connection], Answer]) -> Answer | None:
    """Open the table and give what `use` answers, or None where there is no usable table."""
    file = cache_dir / TABLE_NAME
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(file, timeout=30)) as table, table:
            table.execute("PRAGMA journal_mode = WAL")  # another run may read while this one writes
            table.execute("CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size, changed_ns, digest TEXT)")
            return use(table)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}:
            with contextlib.suppress(OSError):
                file.unlink()  # the next run starts a new table
    except (OSError, UnicodeEncodeError):  # no such folder can be made, or a file's name is no text
        pass
    return None


def _look_up(table: sqlite3.Connection, stamps: Sequence[Stamp]) -> dict[Stamp, str]:
    query = "SELECT digest FROM digests WHERE path = ? AND size = ? AND changed_ns = ?"
    found = ((stamp, table.execute(query, stamp).fetchone()) for stamp in stamps)
    return {stamp: row[0] for stamp, row in found if row is not None}


def _remember(table: sqlite3.Connection, rows: Sequence[tuple[str, int, int, str]]) -> None:
    table.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", rows)
