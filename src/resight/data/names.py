"""Identity, camera and frame from the names that benchmark data sets give their files."""

import re
from pathlib import Path

from resight.data.numbering import identity_or_camera
from resight.errors import DataError
from resight.types import Sample

RECORDING = 1_000_000
"""Frames from one recording's beginning to the next one's; no recording is that long."""


def parse_name(image: Path, pattern: re.Pattern[str], format: str, example: str, place: str = "") -> Sample:
    """Read a file's name, up to its first dot, by a pattern with the groups pid and camid, and frame if it has one.

    Frames of another recording, where the pattern has that group, are `RECORDING` frames later for each.
    `place` stands for the file in the error, where its path alone does not say where it was named.

    Raises:
        DataError: the name does not follow the pattern, or identity or camera does not fit into 64 bits.
    """
    parts = pattern.fullmatch(image.name.split(".")[0])
    if parts is None:
        raise DataError(
            f"{place or image} must be named like {example} (identity, camera, frame) to be read as {format}; "
            "rename it, or list the images in a manifest (docs/data.md), or use --format folder for images without "
            "identities"
        )
    frame, recording = (parts.groupdict().get(name) for name in ("frame", "recording"))
    pid, camid = (identity_or_camera(parts[name], place or str(image)) for name in ("pid", "camid"))
    timestamp = None if frame is None else float(frame) + RECORDING * float(recording or 0)
    return Sample(image, pid, camid, timestamp)
