"""The exception tree: each error is one sentence to the user: what must hold, what came, what to do."""

import difflib
from collections.abc import Iterable


class ResightError(Exception):
    """Any error that is the input's fault, not the program's. The command prints it and exits 2."""


class ConfigError(ResightError, ValueError):
    """A recipe, flag or parameter that cannot be used."""


class DataError(ResightError, ValueError):
    """A folder, list or image that cannot be used."""


class ShapeError(ResightError, ValueError):
    """Tensors whose shapes do not fit each other."""


class CheckpointError(ResightError, OSError):
    """A file of weights or a checkpoint that cannot be read or written."""


class GalleryError(ResightError, OSError):
    """A gallery that cannot be opened, asked or added to."""


def reason_of(error: BaseException) -> str:
    """Give the first line that says something: OpenVINO's begin with where in its source it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Exception from ")] or lines
    return telling[0] if telling else type(error).__name__


def no_such_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Build the error for a name that stands in no table, with the closest known name as a suggestion."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    return ConfigError(f"no {kind} named '{name}'; {hint}")
