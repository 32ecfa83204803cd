"""Digests: equal for equal content, remembered for unchanged files, right even where the table is of no use."""

import hashlib
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resight.data import digests as module
from resight.data.digests import TABLE_NAME, content_digests, default_cache_dir
from resight.errors import DataError


def write(path, data, *, age=3600):
    path.write_bytes(data)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def read_files(monkeypatch):
    """Note which files are really read."""
    read = []
    monkeypatch.setattr(module, "_digest", lambda path, real=module._digest: (read.append(path.name), real(path))[1])
    return read


def test_the_digest_is_blake2b_of_the_bytes(tmp_path):
    a, b, c = write(tmp_path / "a", b"one"), write(tmp_path / "b", b"two"), write(tmp_path / "c", b"one")
    one, two = (hashlib.blake2b(data, digest_size=16).hexdigest() for data in (b"one", b"two"))
    assert content_digests([a, b, c], tmp_path / "cache") == [one, two, one]
    assert content_digests([], tmp_path / "cache") == []


def test_unchanged_files_are_read_once(tmp_path, read_files):
    paths = [write(tmp_path / name, name.encode()) for name in "abc"]
    first = content_digests(paths, tmp_path / "cache")
    assert sorted(read_files) == ["a", "b", "c"]
    read_files.clear()
    assert content_digests(paths[::-1], tmp_path / "cache") == first[::-1]
    assert read_files == []


def test_a_file_given_twice_is_read_once(tmp_path, read_files):
    path = write(tmp_path / "a", b"a")
    one, two = content_digests([path, path], tmp_path / "cache")
    assert one == two
    assert read_files == ["a"]


def test_a_changed_file_is_read_again(tmp_path, read_files):
    path = write(tmp_path / "a", b"old")
    content_digests([path], tmp_path / "cache")
    write(path, b"new", age=1800)  # the same size, another time
    (digest,) = content_digests([path], tmp_path / "cache")
    assert digest == hashlib.blake2b(b"new", digest_size=16).hexdigest()


def test_a_file_changed_a_moment_ago_is_not_remembered(tmp_path, read_files, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_NS", 600 * 10**9)  # a moment that no slow machine outlasts
    path = write(tmp_path / "a", b"old", age=0)
    status = path.stat()
    content_digests([path], tmp_path / "cache")
    path.write_bytes(b"new")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # too soon for the clock to tell
    (digest,) = content_digests([path], tmp_path / "cache")
    assert digest == hashlib.blake2b(b"new", digest_size=16).hexdigest()


def test_a_relative_path_is_the_same_file(tmp_path, read_files, monkeypatch):
    write(tmp_path / "a", b"a")
    content_digests([tmp_path / "a"], tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    content_digests([Path("a")], tmp_path / "cache")
    assert read_files == ["a"]


def test_a_corrupt_table_does_no_harm_and_is_replaced(tmp_path, read_files):
    path, cache = write(tmp_path / "a", b"a"), tmp_path / "cache"
    cache.mkdir()
    (cache / TABLE_NAME).write_bytes(b"this is no table" * 100)
    wanted = [hashlib.blake2b(b"a", digest_size=16).hexdigest()]
    for _ in range(3):
        assert content_digests([path], cache) == wanted
    assert read_files == ["a"]


def test_a_table_of_another_make_does_no_harm(tmp_path):
    path, cache = write(tmp_path / "a", b"a"), tmp_path / "cache"
    cache.mkdir()
    with sqlite3.connect(cache / TABLE_NAME) as table:
        table.execute("CREATE TABLE digests (something_else)")
    table.close()
    for _ in range(2):
        assert content_digests([path], cache) == [hashlib.blake2b(b"a", digest_size=16).hexdigest()]


def test_a_cache_folder_that_cannot_be_made_does_no_harm(tmp_path):
    path = write(tmp_path / "a", b"a")
    assert content_digests([path], path / "cache") == [hashlib.blake2b(b"a", digest_size=16).hexdigest()]


def test_many_at_once_agree(tmp_path):
    paths = [write(tmp_path / str(i), str(i % 7).encode()) for i in range(60)]
    wanted = [hashlib.blake2b(str(i % 7).encode(), digest_size=16).hexdigest() for i in range(60)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: content_digests(paths, tmp_path / "cache"), range(8)))
    assert all(answer == wanted for answer in answers)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="gone cannot be read: No such file or directory"):
        content_digests([tmp_path / "gone"], tmp_path / "cache")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        content_digests([tmp_path], tmp_path / "cache")


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("RESIGHT_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.setenv("RESIGHT_CACHE", "")
    assert default_cache_dir().name == "resight"
