"""Answers on the disk: one SQLite file, each answer there before it counts as given, so that no kill loses one."""

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from resight.errors import ConfigError, DataError

FILE = "review.sqlite"
"""Its name in a run folder."""

FORMAT = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    first TEXT NOT NULL,
    second TEXT NOT NULL,
    same INTEGER,
    purpose TEXT NOT NULL,
    score REAL,
    model TEXT NOT NULL,
    made TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0,
    CHECK (first < second)
)
"""

STANDING = "SELECT max(number) FROM decisions WHERE undone = 0 GROUP BY first, second, purpose"
"""Numbers of the decisions that count: of each pair and purpose the last one that is not undone."""

Pair = tuple[str, str]
"""Two pictures by their whole names (`questions.whole_name`), in alphabetical order."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said of a pair.

    `same`: None where the pair was skipped. `purpose`: what it was asked for, see `questions`. `score`: cosine of the
    two in the model that has the fingerprint `model`; None where it is not known.
    """

    pair: Pair
    same: bool | None
    purpose: str
    score: float | None = None
    model: str = ""


class ReviewStore:
    """Decisions in one file, open for one app at a time; safe to use from several threads.

    Raises:
        ConfigError: another app has it open, or it cannot be made.
        DataError: the file is none of ours, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changes = 0  # how often it changed since it was opened: a page that shows it knows when to look again
        self._lock = threading.Lock()
        self._table = _opened(path)
        self._finalizer = weakref.finalize(self, self._table.close)

    def __enter__(self) -> "ReviewStore":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give it back to other apps; what was decided is there whether or not this is called."""
        with self._lock:
            self._table.close()

    def record(self, decision: Decision) -> int:
        """Add a decision; it is on the disk when this returns. Gives its number.

        A later decision of the same pair and purpose takes the place of an earlier one.

        Raises:
            DataError: it cannot be written, as when the disk is full; then nothing has changed.
        """
        same = None if decision.same is None else int(decision.same)
        row = (*decision.pair, same, decision.purpose, decision.score, decision.model, _now())
        with self._writing() as table:
            added = table.execute(
                "INSERT INTO decisions (first, second, same, purpose, score, model, made) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            return int(added.lastrowid or 0)

    def undo(self) -> Decision | None:
        """Take the last decision back, and give it; what was decided of that pair before counts again.

        None where there is none.

        Raises:
            DataError: it cannot be written.
        """
        with self._writing() as table:
            row = table.execute("SELECT * FROM decisions WHERE undone = 0 ORDER BY number DESC LIMIT 1").fetchone()
            if row is None:
                return None
            table.execute("UPDATE decisions SET undone = 1 WHERE number = ?", (row["number"],))
            return _decision(row)

    def take_back(self, pair: Pair) -> int:
        """Take back whatever was decided of a pair, for all purposes; gives how many decisions those were.

        Raises:
            DataError: it cannot be written.
        """
        with self._writing() as table:
            return table.execute(
                "UPDATE decisions SET undone = 1 WHERE undone = 0 AND first = ? AND second = ?", pair
            ).rowcount

    def ask_skipped_again(self, purpose: str) -> int:
        """Forget which pairs were skipped, and give how many those were.

        Raises:
            DataError: it cannot be written.
        """
        skipped = f"SELECT number FROM decisions WHERE same IS NULL AND purpose = ? AND number IN ({STANDING})"
        with self._writing() as table:
            return table.execute(f"UPDATE decisions SET undone = 1 WHERE number IN ({skipped})", (purpose,)).rowcount

    def decisions(self, purpose: str | None = None) -> list[Decision]:
        """Give the decisions that count, oldest first: of each pair and purpose the last one; None: of all purposes."""
        with self._lock:
            rows = self._table.execute(
                f"SELECT * FROM decisions WHERE number IN ({STANDING}) AND (? IS NULL OR purpose = ?) ORDER BY number",
                (purpose, purpose),
            ).fetchall()
        return [_decision(row) for row in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._table:
                    yield self._table
                self.changes += 1
            except sqlite3.Error as error:
                raise DataError(
                    f"{self.path} cannot be written ({error}), so this was not saved; what was saved before is safe: "
                    "make room on the disk and try again"
                ) from error


def _opened(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table = sqlite3.connect(path, timeout=0.5, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"{path} cannot be opened ({error}); give another file with --state") from error
    try:
        table.row_factory = sqlite3.Row
        _set_up(table, path)
    except BaseException:
        table.close()
        raise
    return table


def _set_up(table: sqlite3.Connection, path: Path) -> None:
    try:
        # One app at a time: two would ask the same pairs, and undo each other's answers. A kill lets go of it.
        table.execute("PRAGMA locking_mode = EXCLUSIVE")
        _check_ours(table, path)
        table.execute("PRAGMA journal_mode = WAL")
        table.execute("PRAGMA synchronous = FULL")
        with table:
            table.execute("BEGIN IMMEDIATE")
            table.execute(SCHEMA)
            table.execute(f"PRAGMA user_version = {FORMAT}")
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise ConfigError(
                f"{path} is open in another resight app; use that one, close it, or give another file with --state"
            ) from error
        if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            raise DataError(f"{path} is no file of answers, or damaged ({error}); give another with --state") from error
        raise ConfigError(f"{path} cannot be written ({error}); give another file with --state") from error


def _check_ours(table: sqlite3.Connection, path: Path) -> None:
    """Refuse another program's file, or a newer version's, before anything is changed in it."""
    version = int(table.execute("PRAGMA user_version").fetchone()[0])
    tables = table.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    if version > FORMAT or (version == 0 and tables):
        raise DataError(
            f"{path} is no file of answers that this version of resight can read; give another with --state"
        )


def _decision(row: sqlite3.Row) -> Decision:
    same = None if row["same"] is None else bool(row["same"])
    return Decision((row["first"], row["second"]), same, row["purpose"], row["score"], row["model"])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
