"""Images that are parts of files: cut after decoding upright, decoded once a file, told apart by content and box."""

import hashlib
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from resight.config import InputConfig
from resight.data import crops, threads
from resight.data.crops import each_decoded
from resight.data.decode import RESIZE_VERSION, BrokenImageError, clipped, cut, decode, image_size, resized
from resight.data.digests import content_digests
from resight.data.inspection import inspect_dataset
from resight.data.leaks import Leak, find_leaks
from resight.data.pixels import open_pixels
from resight.errors import DataError
from resight.prepare import input_size, open_split
from resight.types import Crop, Dataset, Sample, Split

SIZE = (6, 4)
GRID = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
NUMBERED = np.stack([GRID // 256, GRID % 256, GRID % 7], axis=-1).astype(np.uint8)  # no two pixels are equal


@pytest.fixture
def frame(tmp_path):
    """An image 30 wide and 20 high, every pixel another colour."""
    path = tmp_path / "frame.png"
    Image.fromarray(NUMBERED).save(path)
    return path


def split(*samples, name="train"):
    return Split(name, tuple(samples))


def dataset(root, train=(), query=(), gallery=()):
    return Dataset(root, "manifest", split(*train), split(*query, name="query"), split(*gallery, name="gallery"))


# --- records


def test_a_picture_is_the_file_or_the_part_that_is_meant(frame):
    whole, part = Sample(frame), Sample(frame, box=(1, 2, 3, 4))
    assert whole.picture == frame
    assert part.picture == Crop(frame, (1, 2, 3, 4))
    assert split(whole, part).pictures == (frame, Crop(frame, (1, 2, 3, 4)))
    assert split(whole, part).paths == (frame, frame)
    assert str(part.picture) == f"{frame} [1, 2, 3, 4]"


# --- cutting


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((3, 5, 10, 8), (3, 5, 10, 8)),
        ((0, 0, 30, 20), (0, 0, 30, 20)),
        ((-4, -6, 10, 10), (0, 0, 6, 4)),  # 4 columns and 6 rows are outside
        ((25, 15, 10, 10), (25, 15, 5, 5)),
        ((-5, -5, 100, 100), (0, 0, 30, 20)),
        ((29, 19, 1, 1), (29, 19, 1, 1)),
    ],
)
def test_a_box_gives_what_of_it_lies_inside(box, inside):
    assert clipped(box, 20, 30) == inside
    left, top, width, height = inside
    wanted = [[NUMBERED[y, x].tolist() for x in range(left, left + width)] for y in range(top, top + height)]
    assert cut(NUMBERED, box).tolist() == wanted


def test_a_part_does_not_hold_on_to_the_whole():
    assert cut(NUMBERED, (0, 0, 30, 20)).base is None
    assert cut(NUMBERED, (3, 0, 4, 4)).base is None


@pytest.mark.parametrize(
    "box", [(30, 0, 5, 5), (0, 20, 5, 5), (-5, 0, 5, 5), (0, -9, 5, 9), (3, 3, 0, 5), (3, 3, 5, -1)]
)
def test_a_box_with_nothing_inside_is_refused(box):
    with pytest.raises(
        ValueError, match=r"its box \[.*\] \(left, top, width, height\) holds no pixel of the image, which"
    ):
        clipped(box, 20, 30)


def test_boxes_are_of_the_upright_image(tmp_path, cache):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # stored on its side: 30 wide as stored, 20 wide upright
    Image.fromarray(NUMBERED).save(tmp_path / "turned.png", exif=exif)
    crop = Crop(tmp_path / "turned.png", (12, 25, 100, 100))
    upright = np.rot90(NUMBERED, -1)
    (part,) = each_decoded([crop], lambda pixels: pixels)
    assert np.array_equal(part, upright[25:, 12:])
    assert image_size(crop) == (5, 8)
    assert np.array_equal(open_pixels([crop], (5, 8), cache).pixels[0], upright[25:, 12:])


def test_the_size_of_a_part_is_what_lies_inside(frame):
    assert image_size(Crop(frame, (25, -3, 10, 8))) == (5, 5)
    with pytest.raises(
        BrokenImageError, match=r"frame.png cannot be decoded: its box \[40, 0, 5, 5\] .* is 30 wide and 20 high"
    ):
        image_size(Crop(frame, (40, 0, 5, 5)))


# --- decoding once


def test_a_frame_with_twenty_boxes_is_decoded_once(frame, cache, decoded):
    boxes = [Crop(frame, (x, 2, 8, 12)) for x in range(20)]
    opened = open_pixels(boxes, SIZE, cache)
    assert decoded == ["frame.png"]
    for row, (_, (left, top, width, height)) in zip(opened.pixels, boxes, strict=True):
        assert np.array_equal(row, resized(NUMBERED[top : top + height, left : left + width], *SIZE))
    open_pixels(boxes, SIZE, cache)
    assert decoded == ["frame.png"]


def test_every_way_through_many_frames_gives_the_boxes_in_order(tmp_path, decoded, picture, monkeypatch):
    monkeypatch.setattr(crops, "CHUNK", 5)  # several chunks, and runs that are longer than one
    generator = np.random.default_rng(3)
    files = [picture(tmp_path / f"{i}.png", i, height=12, width=9) for i in range(12)]
    pictures = []
    for file in files:
        for _ in range(generator.integers(0, 13)):
            left, top = generator.integers(0, 5, 2).tolist()
            pictures.append(file if left == 4 else Crop(file, (left, top, 3, 4)))
    found = list(each_decoded(pictures, lambda pixels: pixels.copy()))
    for one, pixels in zip(pictures, found, strict=True):
        wanted = decode(one) if isinstance(one, Path) else cut(decode(one.path), one.box)
        assert np.array_equal(pixels, wanted)
    runs = {file.name: sum(getattr(one, "path", one) == file for one in pictures) for file in files}
    assert {name: decoded.count(name) for name in runs} == {name: -(-count // 5) for name, count in runs.items()}


def test_a_file_met_again_later_is_decoded_again(frame, tmp_path, picture, decoded):
    other = picture(tmp_path / "other.png")
    list(each_decoded([Crop(frame, (0, 0, 2, 2)), frame, other, Crop(frame, (0, 0, 2, 2))], lambda pixels: None))
    assert sorted(decoded) == ["frame.png", "frame.png", "other.png"]


def test_threads_hold_one_frame_each(tmp_path, picture, monkeypatch):
    # Frames that are alive, counted from decoding until the last of their boxes is done.
    alive, most, lock = set(), [0], threading.Lock()

    class Held(np.ndarray):
        def __del__(self):
            with lock:
                alive.discard(id(self))

    def noted(path):
        frame = decode(path).view(Held)
        with lock:
            alive.add(id(frame))
            most[0] = max(most[0], len(alive))
        return frame

    monkeypatch.setattr(crops, "decode", noted)
    files = [picture(tmp_path / f"{i}.png", i) for i in range(40)]
    pictures = [Crop(file, (x, 0, 4, 6)) for file in files for x in range(3)]
    kept = list(each_decoded(pictures, np.asarray))
    assert len(kept) == 120
    assert most[0] <= threads.THREADS


def test_no_pictures_give_nothing():
    assert list(each_decoded([], lambda pixels: pixels)) == []


# --- broken parts


def test_a_box_outside_and_a_broken_file_are_told_with_their_reason(frame, tmp_path, cache):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no more")
    pictures = [
        Crop(frame, (0, 0, 5, 5)),
        Crop(frame, (31, 0, 5, 5)),
        Crop(broken, (0, 0, 1, 1)),
        Crop(broken, (1, 1, 1, 1)),
    ]
    opened = open_pixels(pictures, SIZE, cache)
    assert [place for place, _ in opened.broken] == [1, 2, 3]
    reason = (
        "its box [31, 0, 5, 5] (left, top, width, height) holds no pixel of the image, which is 30 wide and 20 high"
    )
    assert opened.broken[0][1] == reason
    assert not opened.pixels[1:].any()
    assert opened.pixels[0].any()
    samples = [Sample(path, box=box) for path, box in pictures]
    with pytest.raises(DataError) as caught:
        open_split(split(*samples), SIZE, cache, skip_broken=False)
    assert "3 of 4 images of the train split cannot be decoded" in str(caught.value)
    assert f"\n  {frame} [31, 0, 5, 5]: {reason}" in str(caught.value)
    kept, pixels = open_split(split(*samples), SIZE, cache, skip_broken=True)
    assert kept.samples == (samples[0],)
    assert np.array_equal(pixels.pixels[0], resized(NUMBERED[:5, :5], *SIZE))


def test_the_input_follows_the_shape_of_the_boxes(frame):
    shapes = {(0, 0, 5, 15): (64, 32), (0, 0, 20, 5): (32, 64), (0, 0, 9, 9): (64, 64), (25, 0, 50, 20): (64, 32)}
    config = InputConfig(size="auto", long_side=64)
    assert {box: input_size(config, [Sample(frame, box=box)]) for box in shapes} == shapes
    assert input_size(config, [Sample(frame, box=(99, 0, 1, 1)), Sample(frame, box=(0, 0, 5, 15))]) == (64, 32)


# --- digests, keys and leaks


def test_the_digest_of_a_part_is_of_the_bytes_and_the_box(frame, tmp_path, cache):
    copy = Path(shutil.copy(frame, tmp_path / "copy.png"))
    a, b = (1, 2, 3, 4), (1, 2, 3, 5)
    pictures = [frame, Crop(frame, a), Crop(frame, b), Crop(copy, a), copy]
    whole, of_a, of_b, of_copy, of_whole_copy = content_digests(pictures, cache)
    assert whole == of_whole_copy == hashlib.blake2b(frame.read_bytes(), digest_size=16).hexdigest()
    assert of_a == of_copy == hashlib.blake2b(f"{whole} 1,2,3,4".encode(), digest_size=16).hexdigest()
    assert len({whole, of_a, of_b}) == 3


def test_a_file_of_many_boxes_is_read_once(frame, cache, monkeypatch):
    from resight.data import digests

    read = []
    monkeypatch.setattr(digests, "_digest", lambda path, real=digests._digest: (read.append(path), real(path))[1])
    content_digests([Crop(frame, (x, 0, 5, 5)) for x in range(9)] + [frame], cache)
    assert read == [frame]


def test_other_boxes_are_another_cache(frame, cache):
    one = open_pixels([Crop(frame, (0, 0, 6, 9))], SIZE, cache).pixels
    two = open_pixels([Crop(frame, (1, 0, 6, 9))], SIZE, cache).pixels
    assert not np.array_equal(one, two)
    assert len(list((cache / "pixels").glob("*.u8"))) == 2


def test_caches_of_whole_files_keep_their_key(frame, cache):
    # As it was before there were boxes: the version, the size and the digests of the files.
    digest = hashlib.blake2b(frame.read_bytes(), digest_size=16).hexdigest()
    key = hashlib.blake2b(json.dumps([RESIZE_VERSION, SIZE, [digest, digest]]).encode(), digest_size=16).hexdigest()
    open_pixels([frame, frame], SIZE, cache)
    assert [file.stem for file in (cache / "pixels").glob("*.u8")] == [key]
    assert RESIZE_VERSION == 1


def test_only_the_same_part_in_two_splits_is_a_leak(frame, tmp_path, cache):
    copy = Path(shutil.copy(frame, tmp_path / "copy.png"))
    a, b, c = (0, 0, 5, 9), (6, 0, 5, 9), (12, 0, 5, 9)
    train = [Sample(frame, 1, box=a), Sample(frame, 2, box=b), Sample(frame, 3)]
    found = dataset(tmp_path, train, query=[Sample(copy, 2, box=b)], gallery=[Sample(copy, 2, box=c)])
    assert find_leaks(found, cache) == (Leak(Crop(frame, b), Crop(copy, b), "query"),)


def test_the_report_counts_parts_as_images(frame, tmp_path, cache, decoded):
    boxes = [(0, 0, 5, 9), (6, 0, 7, 9), (0, 0, 5, 9), (90, 0, 7, 9)]
    report = inspect_dataset(dataset(tmp_path, [Sample(frame, box=box) for box in boxes]), cache)
    train = report.splits[0]
    assert decoded == ["frame.png"]
    assert (train.images, train.heights, train.widths) == (4, (9, 9, 9), (5, 5, 7))
    assert train.broken[0][0] == Crop(frame, boxes[3])
    assert train.duplicates == ((Crop(frame, boxes[0]),) * 2,)
    assert f"  {frame} [0, 0, 5, 9] = {frame} [0, 0, 5, 9]" in report.lines()
    assert json.loads(json.dumps(report.to_json()))["splits"]["train"]["broken"][0]["path"] == f"{frame} [90, 0, 7, 9]"
