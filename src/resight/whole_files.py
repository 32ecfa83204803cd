"""Files that hold either their old content or all of the new, whatever happens while they are written."""

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from resight.errors import CheckpointError, DataError, ResightError


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing(
    file: Path,
    failure: type[ResightError] = CheckpointError,
    *,
    advice: str = "give another file",
    folder: Path | None = None,
    settled: bool = True,
) -> Iterator[Path]:
    """Give a name to write to; what was written there then takes the place of `file`, or is removed after an error.

    Args:
        file: what is to be written.
        failure: the kind of error where that cannot be done.
        advice: the end of its sentence.
        folder: where the new file lies until it is whole, on the same disk (None: beside `file`).
        settled: wait until it is on the disk, so that not even a power cut leaves half of it.

    Raises:
        ResightError: it cannot be written, or its text is none that UTF-8 can hold.
    """
    # Two threads, or two machines on one disk, may write the same file at once.
    temporary = (folder or file.parent) / f".{file.name}.{secrets.token_hex(8)}.tmp"
    try:
        yield temporary
        if settled:
            sync(temporary)
        temporary.replace(file)
        if settled:
            sync(file.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, (OSError, UnicodeEncodeError)) and not isinstance(error, ResightError):
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise failure(f"{file} could not be written ({reason}); {advice}") from error
        raise


def refuse_unwritable(paths: Iterable[Path]) -> None:
    """Stop at a file's name that is no text, as UTF-8 is: tables could not hold it.

    Raises:
        DataError: it is the first such name.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise DataError(f"a file's name must be text that UTF-8 can hold, got {str(path)!r}; rename it") from error
