"""Leaks: by content, not by name; what is in query and gallery alike is none."""

import shutil

import pytest

from resight.data.formats import read_dataset
from resight.data.leaks import Leak, find_leaks, refuse_leaks
from resight.errors import DataError
from resight.types import Dataset, Sample, Split

NAMES = ("train", "query", "gallery")


@pytest.fixture
def root(tmp_path, picture):
    for seed, name in enumerate(("image_train/0001_c001_00000001_0.png", "image_train/0002_c001_00000001_0.png")):
        picture(tmp_path / "veri" / name, seed)
    shown = picture(tmp_path / "veri" / "image_query" / "0003_c001_00000001_0.png", 7)
    (tmp_path / "veri" / "image_test").mkdir()
    shutil.copy(shown, tmp_path / "veri" / "image_test")
    picture(tmp_path / "veri" / "image_test" / "0003_c002_00000001_0.png", 8)
    return tmp_path / "veri"


def test_a_query_in_the_gallery_is_no_leak(root, tmp_path):
    leaks = find_leaks(read_dataset(root), tmp_path / "cache")
    assert leaks == ()
    refuse_leaks(leaks)


def test_equal_content_under_another_name_is_a_leak(root, tmp_path):
    source = root / "image_train" / "0002_c001_00000001_0.png"
    copy = shutil.copy(source, root / "image_test" / "0009_c005_00000004_0.png")
    assert find_leaks(read_dataset(root), tmp_path / "cache") == (Leak(source, copy, "gallery"),)


def test_a_leak_counts_once_and_names_the_query_first(root, tmp_path):
    source = root / "image_query" / "0003_c001_00000001_0.png"  # in the gallery too
    copy = shutil.copy(source, root / "image_train" / "0009_c001_00000001_0.png")
    assert find_leaks(read_dataset(root), tmp_path / "cache") == (Leak(copy, source, "query"),)


def test_equal_names_with_other_content_are_no_leak(tmp_path, picture):
    splits = (Split(name, (Sample(picture(tmp_path / name / "a.png", seed)),)) for seed, name in enumerate(NAMES))
    assert find_leaks(Dataset(tmp_path, "manifest", *splits), tmp_path / "cache") == ()


def test_a_folder_without_query_and_gallery_is_not_even_read(tmp_path, picture):
    picture(tmp_path / "images" / "a.png")
    assert find_leaks(read_dataset(tmp_path / "images"), tmp_path / "cache") == ()
    assert not (tmp_path / "cache").exists()


def test_leaks_are_refused_with_their_count_and_the_first_few(tmp_path):
    leaks = [Leak(tmp_path / f"t{i}.jpg", tmp_path / f"o{i}.jpg", "gallery") for i in range(5)]
    with pytest.raises(DataError) as caught:
        refuse_leaks(leaks)
    message = str(caught.value)
    assert "no training image may be in query or gallery too, but 5 of them are" in message
    assert f"{tmp_path / 't0.jpg'} = {tmp_path / 'o0.jpg'} (gallery)" in message
    assert message.endswith(", ...; take them out, or pass --allow-leak")
    assert "t3.jpg" not in message
