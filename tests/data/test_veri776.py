"""VeRi-776: its official tree, read back, and the words that every broken one is refused with."""

import pytest

from resight.data import veri776
from resight.data.formats import read_dataset
from resight.errors import DataError
from resight.protocols import GENERAL
from resight.types import Sample, TestSet
from vehicle_trees import VERI, break_file, images, names, write, write_veri


@pytest.fixture
def veri(tmp_path):
    return write_veri(tmp_path / "VeRi")


def test_veri_gives_identities_cameras_frames_and_tracklets(veri):
    dataset = read_dataset(veri)
    first = Sample(veri / "image_train" / "0001_c001_00016450_0.jpg", 1, 1, 16450.0)
    assert dataset.train.samples[0] == first
    assert dataset.train.tracklets == (-1, -1)
    assert dataset.gallery.pids == (2, 2, 2, 5)
    assert dataset.gallery.camids == (2, 2, 4, 3)
    assert dataset.gallery.tracklets == (1, 1, -1, 0)  # numbered by line; one image is in none
    assert dataset.query.tracklets == (1, 0)  # the same images as in the gallery
    assert dataset.tests == (TestSet(),)
    assert dataset.notes == ()


def test_veri_tracklets_without_names_of_their_own_are_read_alike(veri):
    before = read_dataset(veri).gallery.tracklets
    file = veri / "test_track.txt"
    write(file, (line.split(" ", 1)[1] for line in file.read_text().splitlines()))
    assert read_dataset(veri).gallery.tracklets == before


def test_veri_without_tracks_has_no_tracklets(veri):
    (veri / "test_track.txt").unlink()
    assert set(read_dataset(veri).gallery.tracklets) == {-1}


def test_veri_folders_may_bear_the_names_of_ssml_fd(veri):
    before = read_dataset(veri)
    for old, new in (("train", "bounding_box_train"), ("test", "bounding_box_test"), ("query", "query")):
        (veri / f"image_{old}").rename(veri / new)
    dataset = read_dataset(veri)
    assert dataset.format == "veri776"
    assert [names(split) for split in dataset.splits] == [names(split) for split in before.splits]
    assert dataset.gallery.tracklets == before.gallery.tracklets


def test_data_that_only_borrow_the_layout_have_the_general_protocol(veri):
    for name in veri776.ONLY_HERE:
        (veri / name).unlink(missing_ok=True)
    dataset = read_dataset(veri)
    assert dataset.format == "veri776"
    assert dataset.protocol is GENERAL


def test_without_any_list_all_images_are_taken_and_that_is_noted(veri):
    for file in veri.glob("name_*.txt"):
        file.unlink()
    images(veri / "image_train", ("0009_c001_00000001_0.jpg",))
    dataset = read_dataset(veri)
    assert dataset.train.pids == (1, 3, 9)
    assert dataset.notes == (
        f"there are no lists such as name_train.txt in {veri}, so all images in "
        "image_train, image_query, image_test are taken",
    )


def test_a_training_only_copy_of_veri_keeps_its_lists(veri):
    for folder in ("image_query", "image_test"):
        for image in (veri / folder).iterdir():
            image.unlink()
        (veri / folder).rmdir()
    dataset = read_dataset(veri)
    assert [len(split) for split in dataset.splits] == [2, 0, 0]
    assert [note.rsplit("/", 1)[1] for note in dataset.notes] == [
        "image_query, so that query is empty",
        "image_test, so that gallery is empty",
    ]


VERI_LIST = "0001_c001_00016450_0.jpg\n"
VERI_BROKEN = {
    "a list is missing": ("name_query.txt", None, r"there is no list file .*name_query.txt; put the one that the data"),
    "a list is empty": ("name_train.txt", "\n", r"name_train.txt must name at least one image, and it is empty"),
    "a list is no text": ("name_train.txt", b"\xff\xfe\x00", r"name_train.txt must be a text file in UTF-8"),
    "a listed image is absent": (
        "name_train.txt",
        VERI_LIST + "\n0009_c001_00000001_0.jpg\n",
        r"name_train.txt line 3 lists '0009_c001_00000001_0.jpg', which is no image in .*image_train",
    ),
    "an image is listed twice": (
        "name_train.txt",
        VERI_LIST * 2,
        r"name_train.txt line 1 and .*name_train.txt line 2 both name .*0001_c001_00016450_0.jpg; keep one of them",
    ),
}


@pytest.mark.parametrize(("file", "content", "words"), VERI_BROKEN.values(), ids=VERI_BROKEN.keys())
def test_broken_veri_is_refused_with_file_and_line(veri, file, content, words):
    break_file(veri / file, content)
    with pytest.raises(DataError, match=words):
        read_dataset(veri)


WHOLE = "x 0005_c003_00000007_1.jpg"
ODD_TRACKS = {
    "names no gallery image": ("a 0001_c001_00016450_0.jpg", "names '0001_c001_00016450_0.jpg', which is no image of"),
    "is empty": ("0001_c001_0 ", "names no image"),
    "mixes cameras": ("a 0002_c002_00030600_0.jpg 0002_c004_00084250_0.jpg", "names images of several vehicles or cam"),
    "shares an image": (WHOLE, "names 0005_c003_00000007_1.jpg, as a line before it does"),
}


@pytest.mark.parametrize(("line", "words"), ODD_TRACKS.values(), ids=ODD_TRACKS.keys())
def test_an_odd_veri_tracklet_is_left_out_and_the_others_are_kept(veri, line, words):
    file = veri / "test_track.txt"
    write(file, (WHOLE, line, "y 0002_c002_00030605_1.jpg"))
    dataset = read_dataset(veri)
    assert dataset.gallery.tracklets == (-1, 1, -1, 0)
    assert len(dataset.notes) == 1
    assert dataset.notes[0].startswith(f"1 tracklets left out: {file} line 2 {words}")
    write(file, (WHOLE, line, line))
    assert read_dataset(veri).notes[0].startswith(f"2 tracklets left out: {file} line 2 ")
    assert read_dataset(veri).notes[0].endswith(", and so on")


def test_an_empty_list_of_veri_tracklets_gives_none(veri):
    (veri / "test_track.txt").write_text("")
    assert set(read_dataset(veri).gallery.tracklets) == {-1}


@pytest.mark.parametrize("listed", [True, False])
def test_a_wrong_veri_name_is_refused(veri, listed):
    images(veri / "image_query", ("van.jpg",))
    write(veri / "name_query.txt", ("van.jpg",))
    place = r"'van.jpg' in .*name_query.txt line 1" if listed else r"image_query/van.jpg"
    if not listed:
        for file in veri.glob("name_*.txt"):
            file.unlink()
    with pytest.raises(DataError, match=place + r" must be named like 0002_c002_00030600_0.jpg"):
        read_dataset(veri)


def test_an_empty_veri_folder_without_lists_is_refused(tmp_path):
    images(tmp_path / "image_test", VERI["image_test"])
    images(tmp_path / "image_train", ())
    with pytest.raises(DataError, match=r"image_train must hold at least one image, and it holds none; fill it or"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(("folder", "file"), [("image_query", "name_query.txt"), ("image_test", "name_test.txt")])
def test_a_veri_identity_in_train_and_test_is_refused(veri, folder, file):
    images(veri / folder, ("0003_c005_00000001_0.jpg",))
    write(veri / file, ("0003_c005_00000001_0.jpg",))
    (veri / "test_track.txt").unlink()
    with pytest.raises(DataError, match=rf"but 3 is: .*name_train.txt line 2 and .*{file} line 1; take it out of one"):
        read_dataset(veri)
