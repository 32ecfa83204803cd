"""What a command will write is looked at before its work begins, so that an hour is not lost to a wrong name."""

from collections.abc import Sequence
from pathlib import Path

from resight.errors import ConfigError


def check_output(
    file: Path | None,
    flag: str = "--out",
    *,
    suffixes: Sequence[str] = (),
    overwrite: bool = False,
    may_replace: Path | None = None,
) -> None:
    """Refuse a file that cannot be written, or that would be lost; None is fine.

    Args:
        file: to write later.
        flag: that named it, for messages.
        suffixes: what its name may end in, lower case; none: anything.
        overwrite: whether it may be replaced, as `--overwrite` says.
        may_replace: the file that may be replaced without that, as its content is gone on from.

    Raises:
        ConfigError: its name ends in something else, it is a folder, its folder is not there, or it exists.
    """
    if file is None:
        return
    if suffixes and file.suffix.lower() not in suffixes:
        raise ConfigError(f"{flag} must end in {' or '.join(suffixes)}, got {file}")
    if file.is_dir():
        raise ConfigError(f"{flag} must be a file, and {file} is a folder; name a file in it")
    if not file.parent.is_dir():
        raise ConfigError(f"{flag} must be in a folder that is there, and {file.parent} is none; make it first")
    same = may_replace is not None and file.exists() and file.resolve() == may_replace.resolve()
    if file.exists() and not (overwrite or same):
        raise ConfigError(f"{file} exists already; replace it with --overwrite or give another {flag}")
