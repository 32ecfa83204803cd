"""What an upload may be, and how others are refused before they are decoded."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from app_cases import bomb, png
from resight.app import uploads
from resight.app.uploads import RefusedUpload, read_upload


def test_an_image_is_decoded_upright_and_named_as_galleries_name_its_file():
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90°
    Image.new("RGB", (6, 4), "white").save(turned, "JPEG", exif=exif)
    upload = read_upload(turned.getvalue())
    assert upload.pixels.shape == (6, 4, 3)
    assert upload.digest == hashlib.blake2b(turned.getvalue(), digest_size=16).hexdigest()


def test_pixels_come_as_they_are():
    assert np.array_equal(read_upload(png(3, 2, (1, 2, 3))).pixels, np.full((2, 3, 3), (1, 2, 3)))


def flat(mode: str, width: int, height: int) -> bytes:
    """A PNG of one colour, whose pixels take as many bytes as the mode has, and whose file takes few."""
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG", compress_level=1)
    return file.getvalue()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 415, "must be an image"),
        (b"GET / HTTP/1.1", 415, "must be an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "must be an image"),
        (POSTSCRIPT, 415, "must be an image"),  # Pillow would hand it to an outside program
        (png()[:40], 415, "must be an image"),
        (png(64, 64)[:-30], 415, "cannot be decoded"),
        (bomb(20_000, 10_000), 413, "million pixels"),  # 200 megapixels
        (bomb(8_000, 8_000), 413, "8000 × 8000"),  # below Pillow's own limit
        (flat("RGBA", 6_000, 6_000), 413, "may need up to 600 MB"),  # 36 megapixels: as RGB JPEG it would pass
        (flat("I;16", 6_000, 6_000), 413, "may need up to 600 MB"),
        (b"\xff" * (uploads.MOST_BYTES + 1), 413, "up to 20 MB"),
    ],
    ids=["empty", "text", "svg", "postscript", "no header", "cut off", "200 MP", "64 MP", "RGBA", "16 bits", "20 MB"],
)
def test_what_is_no_image_or_too_large_is_refused_with_a_sentence(data: bytes, status: int, words: str):
    with pytest.raises(RefusedUpload, match=words) as refused:
        read_upload(data)
    assert refused.value.status == status
    assert "resight-" not in str(refused.value) and "/tmp" not in str(refused.value)  # no path of this machine


def test_nothing_is_decoded_before_its_size_is_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "decode", lambda path: pytest.fail("it was decoded"))
    with pytest.raises(RefusedUpload):
        read_upload(bomb(20_000, 10_000))
