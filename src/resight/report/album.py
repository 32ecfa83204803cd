"""The pictures of one part of the page: small JPEGs as data URIs, until the part's share of the page is spent."""

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resight.data.decode import cut, decode, path_and_box
from resight.types import Picture

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_SIZE = (96, 192)
"""Largest width and height of a thumbnail, in pixels."""

JPEG_QUALITY = 82

URI_START = "data:image/jpeg;base64,"

NAME_SHOWN = 80
"""Most characters of a file's or a group's name that are shown: a name may be longer than the picture is large."""

MARKUP_BYTES = 500
"""Taken for what stands around a picture: its frame, name and figures."""


@dataclass(frozen=True)
class Shown:
    """A picture on the page: `uri`, or None and `why` there is none."""

    uri: str | None
    why: str = ""


class Album:
    """Encodes pictures until `most` bytes of the page are spent; what comes after is counted, not opened."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.spent = self.shown = self.left_out = 0

    def show(self, picture: Picture, size: tuple[int, int] = THUMBNAIL_SIZE) -> Shown:
        """Give a picture, `size` wide and high at most, where it can be read and there is room for it."""
        if self.full:
            self.left_out += 1
            return Shown(None, "left out for its size")
        small = small_image(picture, size)
        if small is None:
            return Shown(None, "not readable")
        self.spend(MARKUP_BYTES)
        uri = self.take(small)
        return Shown(uri, "" if uri else "left out for its size")

    def take(self, image: "Image.Image", *, quality: int = JPEG_QUALITY, holds: int = 1) -> str | None:
        """Give an image that holds so many pictures, or None where there is no room for it; then the album is full."""
        uri = None if self.full else jpeg_uri(image, quality)
        if uri is None or self.spent + len(uri) > self.most:
            self.spent = max(self.spent, self.most)
            self.left_out += holds
            return None
        self.spent += len(uri)
        self.shown += holds
        return uri

    def spend(self, count: int) -> None:
        """Take so many bytes for something else than a picture."""
        self.spent += count

    @property
    def full(self) -> bool:
        """Whether nothing more is taken."""
        return self.spent >= self.most


def thumbnail(picture: Picture, size: tuple[int, int] = THUMBNAIL_SIZE) -> str | None:
    """Give an image as a small JPEG data URI, or None where it cannot be read."""
    small = small_image(picture, size)
    return None if small is None else jpeg_uri(small, JPEG_QUALITY)


def jpeg_uri(image: "Image.Image", quality: int) -> str:
    """Encode an image in RGB as a JPEG data URI."""
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality)
    return URI_START + base64.b64encode(file.getvalue()).decode("ascii")


def small_image(picture: Picture, size: tuple[int, int]) -> "Image.Image | None":
    """Give an image in RGB, `size` wide and high at most, or None where it cannot be read."""
    from PIL import Image

    path, box = path_and_box(picture)
    try:
        pixels = decode(path)
        small = Image.fromarray(pixels if box is None else cut(pixels, box))
    except ValueError:  # a broken image, or a box with nothing in it
        return None
    small.thumbnail(size)
    return small


def short_name(picture: Picture) -> str:
    """Name a picture by its file, as `printable`."""
    return printable(path_and_box(picture)[0].name)


def printable(name: str) -> str:
    """Cut a name to `NAME_SHOWN` characters, all of which can be printed; no mark that turns the text's direction."""
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return name if len(name) <= NAME_SHOWN else name[: NAME_SHOWN - 1] + "…"
