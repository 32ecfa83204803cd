"""A small SQLite table in the cache folder: what it holds can be made again, so that no trouble with it stops a run."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")


def with_table(file: Path, schema: str, use: Callable[[sqlite3.Connection], Answer]) -> Answer | None:
    """Open the table, made by `schema` where there is none, and give what `use` answers; None where it is not usable.

    A damaged file is removed, so that the next run starts a new one.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(file, timeout=30)) as table, table:
            table.execute("PRAGMA journal_mode = WAL")  # another run may read while this one writes
            table.execute(schema)
            return use(table)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}:
            with contextlib.suppress(OSError):
                file.unlink()
    except (OSError, UnicodeEncodeError):  # no such folder can be made, or a file's name is no text
        pass
    return None
