"""One image file, or a part of it, to uint8 RGB pixels: JPEG by simplejpeg, everything else by Pillow."""

import functools
import io
from pathlib import Path

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from resight.errors import DataError
from resight.types import Box, Crop, Picture

RESIZE_VERSION = 1
"""Part of every pixel cache's key: raise it when `decode`, `cut` or `resized` come to give other pixels."""

# Pillow knows these by name but has no decoder for them on every system; EPS it hands to an outside program.
NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"})
JPEG_START = b"\xff\xd8\xff"
PLAIN_COLOURS = frozenset({"Gray", "RGB", "YCbCr"})
TURNED_ON_ITS_SIDE = frozenset({5, 6, 7, 8})


class BrokenImageError(DataError):
    """An image file that cannot be decoded; `reason` is the message without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be decoded: {reason}")
        self.reason = reason


def path_and_box(picture: Picture) -> tuple[Path, Box | None]:
    """Take a picture apart; the box of a whole file is None."""
    return (picture.path, picture.box) if isinstance(picture, Crop) else (picture, None)


def is_image(path: Path) -> bool:
    """Tell by the file's name whether Pillow can decode it; the file is not opened."""
    return path.suffix.lower() in image_suffixes()


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Give the endings, lower case with their dot, of the formats that Pillow decodes."""
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in known if name in Image.OPEN and name not in NOT_DECODED)


def decode(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a file upright, as RGB.

    An EXIF orientation is applied; 16-bit grey is scaled to 8 bits; what is transparent becomes white; of an
    animation the first frame is taken.

    Raises:
        BrokenImageError: the file is missing, empty, cut off, no image, or larger than Pillow's `MAX_IMAGE_PIXELS`.
    """
    try:
        data = path.read_bytes()
        pixels = _decode_jpeg(data) if data.startswith(JPEG_START) else None
        return _decode_any(data) if pixels is None else pixels
    except Exception as error:  # a malformed file can raise anything from the depths of a decoder
        raise BrokenImageError(path, _reason(error)) from error


def cut(pixels: UInt8[np.ndarray, "h w 3"], box: Box) -> UInt8[np.ndarray, "h1 w1 3"]:
    """Copy what lies in `box`; of a box that sticks out, what is inside.

    Raises:
        ValueError: nothing of it is inside.
    """
    left, top, width, height = clipped(box, *pixels.shape[:2])
    # A copy, so that whoever keeps the part does not keep the whole.
    return pixels[top : top + height, left : left + width].copy()


def clipped(box: Box, height: int, width: int) -> Box:
    """Give the part of `box` that lies in an image of `height` × `width` pixels.

    Raises:
        ValueError: there is none.
    """
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[0] + box[2], width), min(box[1] + box[3], height)
    if left >= right or top >= bottom:
        raise ValueError(
            f"its box {list(box)} (left, top, width, height) holds no pixel of the image, which is {width} wide and "
            f"{height} high"
        )
    return left, top, right - left, bottom - top


def resized(pixels: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """Resize to `height` × `width`, bilinear with antialiasing; proportions are not kept."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def image_size(picture: Picture) -> tuple[int, int]:
    """Read height and width, upright, from the file's header alone; of a part, what of it lies inside.

    Raises:
        BrokenImageError: the file is missing, empty or no image, or the part lies outside. A file cut off after its
            header passes.
    """
    path, box = path_and_box(picture)
    try:
        with Image.open(path) as image:
            width, height = image.size
            if _orientation(image) in TURNED_ON_ITS_SIDE:
                height, width = width, height
            if box is not None:
                _, _, width, height = clipped(box, height, width)
            return height, width
    except Exception as error:  # see `decode`
        raise BrokenImageError(path, _reason(error)) from error


def _decode_jpeg(data: bytes) -> np.ndarray | None:
    """Decode an ordinary JPEG; None for one that Pillow must turn, convert, or give its opinion on."""
    if _is_turned(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in PLAIN_COLOURS:
            return None
        _refuse_bomb(height, width)
        return simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:
        return None


def _is_turned(data: bytes) -> bool:
    # Opening costs more than this search, and few JPEGs carry either mark.
    if b"Exif\0\0" not in data and b"tiff:Orientation" not in data:
        return False
    with Image.open(io.BytesIO(data)) as image:
        return _orientation(image) != 1


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _decode_any(data: bytes) -> np.ndarray:
    if not data:
        raise ValueError("the file is empty")
    with Image.open(io.BytesIO(data)) as image:
        _refuse_bomb(image.height, image.width)
        return np.array(_to_rgb(ImageOps.exif_transpose(image)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers without an agreed range; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey_of_16_bits(np.asarray(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _grey_of_16_bits(grey: np.ndarray) -> Image.Image:
    if grey.min() < 0 or grey.max() > 0xFFFF:
        raise ValueError("its pixels go beyond 16 bits; save it with 8 or 16 bits")
    # 257 = 0xFFFF / 0xFF, so that white stays white; 128 rounds.
    return Image.fromarray(((grey.astype(np.int32) + 128) // 257).astype(np.uint8))


def _refuse_bomb(height: int, width: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        raise ValueError(f"{height} × {width} pixels are more than the {limit} that are taken for safe")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no image that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().split("\n")[0] or type(error).__name__
