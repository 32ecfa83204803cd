"""What a gallery holds of an image beside its embedding, and how a part of the entries is asked for."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.data.manifest_table import BOX_COLUMNS
from resight.data.times import iso_seconds
from resight.errors import ConfigError, GalleryError
from resight.types import Box, Crop, Picture, Sample

LONGEST_ID = 64
LONGEST_WORD = 256
"""Most characters of a type or a source."""

BYTES_A_CHARACTER = 4
LONGEST_PATH = 65535
"""Most bytes of a path, and of any text in Milvus."""

SCALARS = ("path", *BOX_COLUMNS, "camid", "timestamp", "tracklet", "type", "source")
"""The fields of an entry, in order, without its id."""

ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a gallery: what is known of it, and nothing of who is on it.

    `id`: the digest of the picture's content (`data.digests.content_digests`), so the same picture is there once.
    `path`: its file. `box`: the part of the file that is meant; None is all of it. `camid`, `tracklet`: 0 or more.
    `timestamp`: seconds or frame number. `type`: a free word, such as person or vehicle. `source`: a free word for
    where it comes from. None is not known.

    Raises:
        GalleryError: a text is empty or too long, or a number is one that cannot be stored.
    """

    id: str
    path: Path
    box: Box | None = None
    camid: int | None = None
    timestamp: float | None = None
    tracklet: int | None = None
    type: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        check_text("an entry's id", self.id, LONGEST_ID)
        check_text("an entry's path", str(self.path), LONGEST_PATH // BYTES_A_CHARACTER)
        for name in ("type", "source"):
            if (text := getattr(self, name)) is not None:
                check_text(f"the {name} of {self.path}", text, LONGEST_WORD)
        if self.timestamp is not None and not math.isfinite(self.timestamp):
            raise GalleryError(f"the timestamp of {self.path} must be a finite number or None, got {self.timestamp}")

    @classmethod
    def of(cls, sample: Sample, digest: str, *, type: str | None = None, source: str | None = None) -> "Entry":
        """Make the entry of an image of a data set; its identity, where it has one, is left out."""
        return cls(
            digest, absolute(sample.path), sample.box, sample.camid, sample.timestamp, sample.tracklet, type, source
        )

    @property
    def picture(self) -> Picture:
        """The file, or the part of it that is meant."""
        return self.path if self.box is None else Crop(self.path, self.box)

    def row(self) -> dict[str, Any]:
        """Lay it out as a row of the store, without its embedding."""
        box = self.box or (None,) * len(BOX_COLUMNS)
        return {
            "id": self.id,
            "path": str(self.path),
            **dict(zip(BOX_COLUMNS, box, strict=True)),
            **{name: getattr(self, name) for name in ("camid", "timestamp", "tracklet", "type", "source")},
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Entry":
        """Read what `row` gave."""
        left, top, width, height = (row.get(name) for name in BOX_COLUMNS)
        whole = left is None or top is None or width is None or height is None
        box = None if whole else (int(left), int(top), int(width), int(height))  # type: ignore[arg-type]
        camid, timestamp, tracklet = (row.get(name) for name in ("camid", "timestamp", "tracklet"))
        return cls(
            str(row["id"]),
            Path(row["path"]),
            box,
            None if camid is None else int(camid),
            None if timestamp is None else float(timestamp),
            None if tracklet is None else int(tracklet),
            row.get("type"),
            row.get("source"),
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found. `score`: cosine to the query, -1..1, larger is closer."""

    entry: Entry
    score: float


@dataclass(frozen=True, slots=True)
class Added:
    """What became of entries that were to be added: how many are `new`, and how many were `known` before."""

    new: int
    known: int


@dataclass(frozen=True, slots=True)
class Where:
    """Which entries are meant: those that meet all conditions; None is any.

    `camids`, `types`, `sources`, `paths`: one of these. `after` ≤ timestamp < `before`. An entry of which something is
    not known does not meet a condition on it. An empty list is met by none. `not_seen`: not in
    this camera of this source (None: of any source), as far as is known.
    """

    camids: tuple[int, ...] | None = None
    after: float | None = None
    before: float | None = None
    types: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None
    not_seen: tuple[int, str | None] | None = None

    def __bool__(self) -> bool:
        """Whether there is any condition."""
        return self != Where()

    def expression(self) -> str:
        """Write it as Milvus' filters are written; nothing where any entry is meant.

        Raises:
            GalleryError: a text has signs that a filter cannot hold, or a time is not finite.
        """
        texts = {"type": self.types, "source": self.sources, "path": self.paths}
        parts = [] if self.camids is None else [f"camid in [{', '.join(str(int(camid)) for camid in self.camids)}]"]
        parts += [f"timestamp {sign} {_number(at)}" for sign, at in ((">=", self.after), ("<", self.before))
                  if at is not None]  # fmt: skip
        parts += [f"{name} in [{', '.join(map(quoted, some))}]" for name, some in texts.items() if some is not None]
        if self.not_seen is not None:
            camid, source = self.not_seen
            elsewhere = "" if source is None else f" or source is null or source != {quoted(source)}"
            parts.append(f"(camid is null or camid != {int(camid)}{elsewhere})")
        return " and ".join(parts)

    @property
    def nothing(self) -> bool:
        """Whether no entry can meet it, as a list is empty."""
        return any(some == () for some in (self.camids, self.types, self.sources, self.paths))


def absolute(path: Path | str) -> Path:
    """Give a path as a gallery holds it: from the root and without "..", links as they are named."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def quoted(text: str) -> str:
    """Write a text as a literal of Milvus' filters.

    Raises:
        GalleryError: it has control characters, or is no text that can be written as UTF-8.
    """
    check_text("a text to filter by", text, LONGEST_PATH)
    return f'"{text.translate(ESCAPES)}"'


def check_text(what: str, text: str, longest: int) -> None:
    """Refuse a text that cannot be stored, or not be asked for again.

    Raises:
        GalleryError: it is empty, too long, has control characters, or cannot be written as UTF-8.
    """
    if not 0 < len(text) <= longest:
        raise GalleryError(f"{what} must have 1 to {longest} characters, got {len(text)}")
    if any(ord(sign) < 32 and sign not in "\n\r\t" for sign in text):
        raise GalleryError(f"{what} must have no control characters, got {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise GalleryError(f"{what} must be text that UTF-8 can hold, got {text!r}; rename it") from error


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise GalleryError(f"a time to filter by must be finite, got {value}")
    return repr(float(value))


def parse_time(text: str, flag: str) -> float:
    """Read a time as a manifest holds it: a number, or a date in ISO form (UTC unless it names a zone).

    Raises:
        ConfigError: it is neither.
    """
    try:
        seconds: float | None = float(text)
    except ValueError:
        seconds = iso_seconds(text)
    if seconds is None or not math.isfinite(seconds):
        raise ConfigError(f"{flag} must be a number or a time such as 2024-05-01T12:00:00, got '{text}'")
    return seconds


def parse_cameras(text: str) -> tuple[int, ...]:
    """Read "1,2" as cameras.

    Raises:
        ConfigError: a part is no camera's number.
    """
    parts = words(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise ConfigError(f"--camera must be numbers of cameras with commas between, e.g. 1,2, got '{text}'")
    return tuple(map(int, parts))


def words(text: str) -> tuple[str, ...]:
    """Split "person,vehicle" at the commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_where(
    camera: str | None,
    after: str | None,
    before: str | None,
    type: str | None,
    source: str | None,
    paths: list[str] | None = None,
) -> Where:
    """Read the conditions of a command.

    Raises:
        ConfigError: one cannot be read.
        GalleryError: a list of words is empty.
    """
    where = Where(
        camids=None if camera is None else parse_cameras(camera),
        after=None if after is None else parse_time(after, "--after"),
        before=None if before is None else parse_time(before, "--before"),
        types=None if type is None else words(type),
        sources=None if source is None else words(source),
        paths=None if paths is None else tuple(paths),
    )
    if where.nothing:
        raise GalleryError("--type and --source must name at least one word")
    return where


def first_of_each(ids: Iterable[str]) -> list[int]:
    """Give the positions at which each id stands for the first time."""
    places: dict[str, int] = {}
    for place, id in enumerate(ids):
        places.setdefault(id, place)
    return list(places.values())
