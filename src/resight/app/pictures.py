"""Small JPEGs of pictures, by id, never by path: of the gallery's entries, and of those that are shown for review."""

import functools
import hashlib
import io
import re

from resight.errors import GalleryError
from resight.gallery import Gallery
from resight.report.album import small_image
from resight.review.questions import whole_name
from resight.types import Picture

SIZES = {"small": (128, 192), "large": (480, 640)}
"""Largest width and height of a picture, in pixels."""

ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

QUALITY = 88


class Pictures:
    """What may be served. Whatever is not in the gallery, and was not registered here, does not exist."""

    def __init__(self, gallery: Gallery | None) -> None:
        self.gallery = gallery
        self._registered: dict[str, Picture] = {}

    def register(self, picture: Picture) -> str:
        """Give a picture an id, always the same one."""
        id = hashlib.blake2b(whole_name(picture).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        self._registered[id] = picture
        return id

    def find(self, id: str) -> Picture | None:
        """Give the picture with this id, None where there is none.

        Raises:
            GalleryError: the gallery cannot be asked.
        """
        if id in self._registered:
            return self._registered[id]
        if self.gallery is None or not ID.fullmatch(id) or not self.gallery.known([id]):
            return None
        return self.gallery.get([id])[0].picture

    def jpeg(self, id: str, size: str) -> bytes | None:
        """Give the picture with this id as a JPEG; None where there is none, or its file cannot be read."""
        try:
            picture = self.find(id)
        except GalleryError:
            return None
        return None if picture is None or size not in SIZES else jpeg_of(picture, SIZES[size])


@functools.lru_cache(maxsize=1024)
def jpeg_of(picture: Picture, size: tuple[int, int]) -> bytes | None:
    """Encode a picture, `size` wide and high at most; None where it cannot be read."""
    small = small_image(picture, size)
    if small is None:
        return None
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=QUALITY)
    return file.getvalue()
