"""Decoding: the same pixels by either decoder, every kind of image upright and in 8 bits, broken files named."""

import io

import numpy as np
import pytest
from PIL import Image

from resight.data import decode as module
from resight.data.decode import BrokenImageError, decode, image_size, image_suffixes, is_image, resized
from resight.errors import DataError

NOISE = np.random.default_rng(5).integers(0, 256, (20, 14, 3), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("quality", [30, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_has_the_pixels_that_pillow_gives(tmp_path, quality, subsampling):
    path = save(tmp_path / "a.jpg", NOISE, quality=quality, subsampling=subsampling)
    pixels = decode(path)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (20, 14, 3))
    # Both stand on libjpeg-turbo; a newer one may round differently by one step.
    assert np.abs(pixels.astype(int) - np.asarray(Image.open(path))).max() <= 1


def test_an_ordinary_jpeg_does_not_go_through_pillow(tmp_path, monkeypatch):
    path = save(tmp_path / "a.jpg", NOISE)
    monkeypatch.setattr(module.Image, "open", None)
    assert decode(path).shape == (20, 14, 3)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "jpeg_name_on_a.jpg"])
def test_lossless_formats_come_back_exactly(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(NOISE).save(path, format="PNG" if name.endswith("jpg") else None)
    assert np.array_equal(decode(path), NOISE)


def test_a_grey_jpeg_has_three_equal_channels(tmp_path):
    pixels = decode(save(tmp_path / "a.jpg", NOISE[..., 0]))
    assert pixels.shape == (20, 14, 3)
    assert (pixels == pixels[..., :1]).all()


def test_a_cmyk_jpeg_is_converted(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, quality=95)  # no cyan, full magenta and yellow: red
    red, green, blue = decode(path)[4, 4].tolist()
    assert red > 230
    assert max(green, blue) < 30


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_exif_orientation_is_applied(tmp_path, orientation, name):
    # Left half black, right half white, 16 wide and 8 high; how EXIF numbers 1 to 8 say it is to be shown:
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),  # a quarter clockwise
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    stored = np.zeros((8, 16, 3), np.uint8)
    stored[:, 8:] = 255
    stored[:4, :8] = 80  # the upper left quarter is grey, so that no two turns look alike
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / name, stored, exif=exif, **({"quality": 95} if name == "a.jpg" else {}))
    pixels, wanted = decode(path), upright(stored)
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).max() < 12
    assert image_size(path) == wanted.shape[:2]


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    # 257 = 65535 / 255: 257 · 100 = 25700 is exactly 100; 25829 is 100.502, nearer to 101.
    grey = np.array([[0, 257, 25700, 25828, 25829, 65535]], np.uint16)
    pixels = decode(save(tmp_path / name, grey))
    assert pixels[0, :, 0].tolist() == [0, 1, 100, 100, 101, 255]


def test_what_is_transparent_becomes_white(tmp_path):
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    assert decode(save(tmp_path / "a.png", rgba)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_a_palette_with_a_transparent_entry_is_read(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=b"\xff\x00")
    assert decode(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
    assert decode(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_resizing_averages_over_what_a_pixel_covers(tmp_path):
    # Columns 0 and 255 by turns: without antialiasing half the size would be all black or all white.
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resized(decode(save(tmp_path / "a.png", stripes)), 8, 8)
    assert small.shape == (8, 8, 3)
    assert 100 < small[:, 2:-2].min() <= small[:, 2:-2].max() < 155


def test_resizing_to_the_same_size_changes_nothing(tmp_path):
    assert np.array_equal(resized(decode(save(tmp_path / "a.png", NOISE)), 20, 14), NOISE)


def test_height_comes_before_width(tmp_path):
    path = save(tmp_path / "a.png", NOISE)
    assert resized(decode(path), 6, 9).shape == (6, 9, 3)
    assert image_size(path) == (20, 14)


# --- broken files


def jpeg(array=NOISE):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG")
    return buffer.getvalue()


def png():
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"hello", "it is no image that Pillow knows"),
        (jpeg()[:-200], "image file is truncated"),
        (jpeg()[:30], "runcated"),
        (png()[:-100], "runcated"),
        (png()[:40], "."),
        (b"\xff\xd8\xff" + bytes(100), "."),
    ],
)
def test_a_broken_file_is_named_with_the_reason(tmp_path, data, words):
    path = tmp_path / "broken.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"broken\.jpg cannot be decoded: .*{words}") as caught:
        decode(path)
    assert isinstance(caught.value, BrokenImageError)
    assert str(caught.value) == f"{path} cannot be decoded: {caught.value.reason}"
    assert "\n" not in caught.value.reason


def test_a_file_cut_anywhere_is_an_error_or_the_whole_image(tmp_path):
    # A PNG without its last 20 bytes, a checksum and the end mark, still has all its pixels.
    path = tmp_path / "cut"
    for data, may_lack in ((jpeg(), 0), (png(), 20)):
        for length in range(0, len(data), 19):
            path.write_bytes(data[:length])
            if len(data) - length <= may_lack:
                assert np.array_equal(decode(path), NOISE)
                continue
            with pytest.raises(BrokenImageError):
                decode(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.jpg cannot be decoded: No such file or directory"):
        decode(tmp_path / "none.jpg")
    with pytest.raises(DataError, match=r"none.jpg cannot be decoded: No such file or directory"):
        image_size(tmp_path / "none.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("limit", [100, 200])  # Pillow itself only warns from one limit on, and refuses from two
def test_an_image_that_is_too_large_is_refused(tmp_path, monkeypatch, name, limit):
    path = save(tmp_path / name, NOISE)  # 280 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"cannot be decoded: .*280|cannot be decoded: 20 × 14 pixels"):
        decode(path)


def test_floating_point_pixels_are_refused(tmp_path):
    path = save(tmp_path / "a.tiff", np.ones((2, 2), np.float32))
    with pytest.raises(DataError, match="floating-point numbers without an agreed range; save it with 8 or 16 bits"):
        decode(path)


def test_more_than_sixteen_bits_are_refused(tmp_path):
    path = save(tmp_path / "a.tiff", np.array([[70000]], np.int32))
    with pytest.raises(DataError, match="beyond 16 bits"):
        decode(path)


def test_images_are_known_by_their_ending(tmp_path):
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".gif"} <= image_suffixes()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt", ""} & image_suffixes()
    assert is_image(tmp_path / "A.JPEG")
    assert not is_image(tmp_path / "Thumbs.db")
