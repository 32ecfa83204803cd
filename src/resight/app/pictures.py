"""Small JPEGs of pictures, by id, never by path: of the gallery's entries, and of those that are shown for review.

Paths in a gallery or in a file of groups may come from another machine, and name any file of this one. What is shown of
them is what holds what it held when it was indexed, which the entry's id tells: whoever wrote the path had the picture.
"""

import functools
import hashlib
import io
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from resight.data.decode import path_and_box
from resight.data.digests import content_digests
from resight.errors import DataError, GalleryError
from resight.gallery import Entry, Gallery
from resight.report.album import small_image
from resight.review.questions import whole_name
from resight.types import Picture

SIZES = {"small": (128, 192), "large": (480, 640)}
"""Largest width and height of a picture, in pixels."""

ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

MOST_BYTES = 256 * 1024 * 1024
"""Largest file that is opened."""

QUALITY = 88


class Pictures:
    """What may be served. Whatever is not in the gallery, and was not registered here, does not exist."""

    def __init__(self, gallery: Gallery | None, cache_dir: Path) -> None:
        self.gallery, self.cache_dir = gallery, cache_dir
        self._offered: dict[str, Picture] = {}
        self._registered: dict[str, tuple[Picture, bool]] = {}

    def offer(self, entries: Iterable[Entry]) -> None:
        """Serve these entries, too."""
        self._offered = {entry.id: entry.picture for entry in entries}

    def register(self, picture: Picture, *, own: bool) -> str:
        """Give a picture an id, always the same one. `own`: of the run's data, so that it is served whatever it holds.

        Others are served only while an entry holds the same.
        """
        id = hashlib.blake2b(whole_name(picture).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        self._registered[id] = (picture, own or self._registered.get(id, (picture, False))[1])
        return id

    def jpeg(self, id: str, size: str) -> bytes | None:
        """Give the picture with this id as a JPEG; None where there is none, it has changed, or it cannot be read."""
        try:
            picture = self._find(id) if size in SIZES else None
            if picture is None:
                return None
            changed = _changed(path_and_box(picture[0])[0])
            if changed is None or not (picture[1] or self._is_of_an_entry(id, picture[0], changed)):
                return None
        except (DataError, GalleryError):
            return None
        return jpeg_of(picture[0], SIZES[size], changed)

    def _find(self, id: str) -> tuple[Picture, bool] | None:
        """Give the picture with this id, and whether it is served whatever it holds."""
        if id in self._registered:
            return self._registered[id]
        if id in self._offered:
            return self._offered[id], False
        if self.gallery is None or not ID.fullmatch(id) or not self.gallery.known([id]):
            return None
        return self.gallery.get([id])[0].picture, False

    def _is_of_an_entry(self, id: str, picture: Picture, changed: int) -> bool:
        digest = digest_of(picture, self.cache_dir, changed)
        if digest == id or digest in self._offered:
            return True
        return id in self._registered and self.gallery is not None and bool(self.gallery.known([digest]))


def _changed(path: Path) -> int | None:
    """Give when a file was changed, in nanoseconds; None where it is none, or too large: a pipe would never end."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES else None


@functools.lru_cache(maxsize=16384)
def digest_of(picture: Picture, cache_dir: Path, changed: int) -> str:
    """Give the digest of what a picture holds; `changed`: when its file was, so that it is read anew then.

    Raises:
        DataError: it cannot be read.
    """
    del changed
    return content_digests([picture], cache_dir)[0]


@functools.lru_cache(maxsize=1024)
def jpeg_of(picture: Picture, size: tuple[int, int], changed: int) -> bytes | None:
    """Encode a picture, `size` wide and high at most; None where it cannot be read. `changed`: as in `digest_of`."""
    del changed
    small = small_image(picture, size)
    if small is None:
        return None
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=QUALITY)
    return file.getvalue()
