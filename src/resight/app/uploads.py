"""An uploaded file → pixels; what is no image, or too large, is refused before it is decoded."""

import hashlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from resight.data.decode import BrokenImageError, decode
from resight.data.digests import DIGEST_BYTES
from resight.errors import DataError

MOST_BYTES = 20 * 1024 * 1024
"""Largest upload."""

MOST_PIXELS = 50_000_000
"""Largest image. A few kilobytes of PNG can say that they are billions of pixels."""

MOST_MEMORY = 600_000_000
"""Most bytes that decoding may need at a time."""

UPRIGHT_JPEG, USUAL, WIDE = 4, 20, 26
"""Bytes a pixel that `decode` needs at most, copies in other modes included; measured."""

WIDE_MODES = ("I", "F")
"""Pillow's names of 32 bits a pixel and more: they are converted by way of wider ones yet."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's names of what is taken. Others it hands to outside programs, or decodes in rarely tried code."""


class RefusedUpload(DataError):  # noqa: N818 - it is the upload that is at fault
    """An upload that is not taken. `status`: of HTTP, 413 where it is too large, 415 where it is no image."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """A decoded image, upright, and the digest of the file, as galleries name whole files."""

    pixels: UInt8[np.ndarray, "h w 3"]
    digest: str


def read_upload(data: bytes) -> Upload:
    """Decode an uploaded image.

    Raises:
        RefusedUpload: it is too large, no image, or a broken one.
    """
    if len(data) > MOST_BYTES:
        raise RefusedUpload(413, too_large(len(data)))
    _check_header(data)
    with tempfile.TemporaryDirectory(prefix="resight-") as folder:
        path = Path(folder) / "upload"  # the sender's name for it is never used
        path.write_bytes(data)
        try:
            pixels = decode(path)
        except BrokenImageError as error:
            raise RefusedUpload(415, f"the upload cannot be decoded: {error.reason}; send another image") from error
    return Upload(pixels, hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest())


def too_large(size: int | None = None) -> str:
    """Say that an upload has too many bytes."""
    came = "more" if size is None else f"{size / 2**20:.1f} MB"
    return f"an upload may have up to {MOST_BYTES // 2**20} MB, got {came}; send a smaller image"


def _check_header(data: bytes) -> None:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            need = width * height * _bytes_a_pixel(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RefusedUpload(413, _too_many("far more")) from error
    except UnidentifiedImageError as error:
        raise RefusedUpload(
            415, f"the upload must be an image ({', '.join(FORMATS)}), and is none; send another file"
        ) from error
    except Exception as error:  # a malformed header can raise anything
        raise RefusedUpload(415, "the upload must be an image, and its header cannot be read; send another") from error
    if width * height > MOST_PIXELS:
        raise RefusedUpload(413, _too_many(f"{width} × {height}"))
    if need > MOST_MEMORY:
        raise RefusedUpload(
            413,
            f"decoding an image may need up to {MOST_MEMORY / 1e6:.0f} MB, and this one of {width} × {height} pixels "
            f"needs {need / 1e6:.0f} MB; send a smaller one, or a JPEG",
        )


def _bytes_a_pixel(image: Image.Image) -> int:
    if image.format == "JPEG" and image.mode in ("L", "RGB") and image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return UPRIGHT_JPEG
    return WIDE if image.format == "WEBP" or image.mode.startswith(WIDE_MODES) else USUAL


def _too_many(came: str) -> str:
    return f"an image may have up to {MOST_PIXELS / 1e6:.0f} million pixels, got {came}; send a smaller one"
