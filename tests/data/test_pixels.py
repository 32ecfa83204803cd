"""The pixel cache: built once, shared, rebuilt when stale, nothing left behind when it cannot be written."""

import collections
import json
import multiprocessing
import shutil
import threading

import numpy as np
import pytest
import torch

from resight.data import pixels as module
from resight.data.decode import decode, resized
from resight.data.pixels import PixelCache, open_pixels
from resight.errors import ConfigError, DataError

SIZE = (6, 4)


@pytest.fixture
def paths(tmp_path, picture):
    return [picture(tmp_path / "images" / f"{i}.{'jpg' if i % 2 else 'png'}", i) for i in range(7)]


def cache_file(cache):
    (file,) = (cache / "pixels").glob("*.u8")
    return file


def left_behind(cache):
    return sorted(file.suffix for file in (cache / "pixels").iterdir() if file.suffix != ".lock")


def test_rows_are_the_decoded_images(paths, cache):
    opened = open_pixels(paths, SIZE, cache)
    assert opened.pixels.shape == (7, 6, 4, 3)
    assert len(opened) == 7
    assert opened.broken == ()
    for row, path in zip(opened.pixels, paths, strict=True):
        assert np.array_equal(row, resized(decode(path), *SIZE))


def test_images_are_decoded_once(paths, cache, decoded):
    first = open_pixels(paths, SIZE, cache)
    assert sorted(decoded) == sorted(path.name for path in paths)
    second = open_pixels(paths, SIZE, cache)
    assert len(decoded) == 7
    assert np.array_equal(first.pixels, second.pixels)


def test_moved_files_are_the_same_content(paths, cache, decoded, tmp_path):
    open_pixels(paths, SIZE, cache)
    shutil.move(tmp_path / "images", tmp_path / "moved")
    open_pixels([tmp_path / "moved" / path.name for path in paths], SIZE, cache)
    assert len(decoded) == 7


@pytest.mark.parametrize("change", ["size", "order", "content", "version"])
def test_another_size_order_content_or_version_is_another_cache(paths, cache, picture, monkeypatch, change):
    before = open_pixels(paths, SIZE, cache)
    size = (4, 6) if change == "size" else SIZE
    order = paths[::-1] if change == "order" else paths
    if change == "content":
        paths[2].unlink()
        picture(paths[2], 99, height=13)
    if change == "version":
        monkeypatch.setattr(module, "RESIZE_VERSION", 2)
    after = open_pixels(order, size, cache)
    assert len(list((cache / "pixels").glob("*.u8"))) == 2
    assert np.array_equal(before.pixels, after.pixels) == (change == "version")
    assert np.array_equal(after.pixels[2], resized(decode(order[2]), *size))


def shorten(file):
    file.write_bytes(file.read_bytes()[:-1])


def change_shape(file):
    facts = json.loads(file.with_suffix(".json").read_text())
    file.with_suffix(".json").write_text(json.dumps({**facts, "shape": [7, 4, 6, 3]}))


@pytest.mark.parametrize(
    "damage",
    [
        shorten,
        change_shape,
        lambda file: file.unlink(),
        lambda file: file.with_suffix(".json").unlink(),
        lambda file: file.with_suffix(".json").write_text("{"),
        lambda file: file.with_suffix(".json").write_text("[]"),
        lambda file: file.with_suffix(".json").write_bytes(b"\xff"),
        lambda file: file.with_suffix(".json").write_text('{"shape": 3, "broken": []}'),
    ],
)
def test_a_stale_cache_is_built_again(paths, cache, decoded, damage):
    wanted = open_pixels(paths, SIZE, cache).pixels.copy()
    damage(cache_file(cache))
    assert np.array_equal(open_pixels(paths, SIZE, cache).pixels, wanted)
    assert len(decoded) == 14
    assert left_behind(cache) == [".json", ".u8"]


def test_a_killed_run_leaves_nothing_that_harms(paths, cache):
    open_pixels(paths, SIZE, cache)
    file = cache_file(cache)
    file.with_suffix(".u8.part").write_bytes(b"half")
    file.with_suffix(".json").unlink()  # what a run killed while building leaves
    assert open_pixels(paths, SIZE, cache).broken == ()
    assert left_behind(cache) == [".json", ".u8"]


def test_broken_images_are_zero_and_remembered(paths, cache, decoded):
    paths[1].write_bytes(b"")
    paths[4].write_bytes(paths[4].read_bytes()[:40])
    for _ in range(2):
        opened = open_pixels(paths, SIZE, cache)
        assert [index for index, _ in opened.broken] == [1, 4]
        assert opened.broken[0] == (1, "the file is empty")
        assert not opened.pixels[[1, 4]].any()
        assert all(opened.pixels[i].any() for i in (0, 2, 3, 5, 6))
    assert len(decoded) == 7


def test_progress_counts_up_and_only_while_building(paths, cache):
    seen = []
    open_pixels(paths, SIZE, cache, progress=lambda done, total: seen.append((done, total)))
    open_pixels(paths, SIZE, cache, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 7) for i in range(1, 8)]


def test_the_pixels_cannot_be_written_to(paths, cache):
    with pytest.raises(ValueError, match="read-only"):
        open_pixels(paths, SIZE, cache).pixels[0] = 0


# --- batches


@pytest.mark.parametrize("index", [[3, 0, 3], torch.tensor([3, 0, 3]), torch.tensor([3, 0, 3], dtype=torch.int32)])
def test_a_batch_has_the_rows_asked_for(paths, cache, index):
    opened = open_pixels(paths, SIZE, cache)
    batch = opened.batch(index)
    assert (batch.dtype, batch.shape) == (torch.uint8, (3, 3, 6, 4))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for row, i in zip(batch, (3, 0, 3), strict=True):
        assert np.array_equal(row.permute(1, 2, 0).numpy(), opened.pixels[i])


def test_a_batch_is_a_copy(paths, cache):
    opened = open_pixels(paths, SIZE, cache)
    opened.batch([0]).zero_()
    assert opened.pixels[0].any()


def test_a_batch_may_be_a_range_or_empty(paths, cache):
    opened = open_pixels(paths, SIZE, cache)
    assert opened.batch(range(2, 5)).shape == (3, 3, 6, 4)
    assert opened.batch([]).shape == (0, 3, 6, 4)


def test_a_row_that_is_not_there_is_refused():
    with pytest.raises(IndexError):
        PixelCache(np.zeros((2, 6, 4, 3), np.uint8)).batch([2])


# --- disks, folders, two at once

Usage = collections.namedtuple("Usage", "total used free")


def test_a_full_disk_is_refused_before_anything_is_decoded(paths, cache, decoded, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(1000, 990, 10))
    # 7 images of 6 · 4 · 3 bytes = 504
    with pytest.raises(DataError, match=r"needs 504 bytes in .*pixels.* only 10 bytes are free; make room or set RES"):
        open_pixels(paths, SIZE, cache)
    assert decoded == []
    assert left_behind(cache) == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(paths, cache, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(DataError, match=r"needs 504 bytes in .* cannot be written: No space left on device"):
        open_pixels(paths, SIZE, cache)
    assert left_behind(cache) == []


def test_an_interrupted_build_leaves_nothing_behind(paths, cache):
    def interrupt(done, _):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_pixels(paths, SIZE, cache, progress=interrupt)
    assert left_behind(cache) == []
    assert len(open_pixels(paths, SIZE, cache)) == 7


def test_a_cache_folder_that_cannot_be_made_is_refused(paths):
    with pytest.raises(DataError, match="which cannot be written: Not a directory; make room or set RESIGHT_CACHE"):
        open_pixels(paths, SIZE, paths[0] / "cache")


def test_two_threads_build_one_cache(paths, cache, decoded):
    threads = [threading.Thread(target=open_pixels, args=(paths, SIZE, cache)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == 7
    assert left_behind(cache) == [".json", ".u8"]


def _open_and_count(paths, cache, start):
    start.wait(timeout=600)
    seen = []
    opened = open_pixels(paths, SIZE, cache, progress=lambda done, _: seen.append(done))
    return len(seen), int(opened.pixels.sum(dtype=np.int64))


def _answer(paths, cache, start, answers):
    answers.put(_open_and_count(paths, cache, start))


def test_two_processes_build_one_cache(paths, cache):
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2), context.Queue()
    other = context.Process(target=_answer, args=(paths, cache, start, answers))
    other.start()
    built_here, total = _open_and_count(paths, cache, start)
    built_there, same_total = answers.get(timeout=600)
    other.join()
    assert sorted((built_here, built_there)) == [0, 7]  # one built, the other waited
    assert total == same_total


def test_no_images_are_refused(cache):
    with pytest.raises(DataError, match="an image cache must hold at least one image, got none"):
        open_pixels([], SIZE, cache)


def test_a_size_of_nothing_is_refused(paths, cache):
    with pytest.raises(ConfigError, match="at least 1 × 1 pixels, got height × width 0 × 4"):
        open_pixels(paths, (0, 4), cache)


def test_a_missing_file_is_refused(paths, cache, tmp_path):
    with pytest.raises(DataError, match=r"gone.png cannot be read"):
        open_pixels([*paths, tmp_path / "gone.png"], SIZE, cache)
