"""Vehicle data sets: VehicleID's official tree, read back, the words for every broken one, and what all share."""

import os

import pytest

from resight.data import vehicleid, veri776, veriwild
from resight.data.formats import detect, read_dataset
from resight.data.sized_tests import splits_and_tests
from resight.errors import DataError
from resight.protocols import PROTOCOLS
from resight.types import Sample, TestSet
from vehicle_trees import (
    break_file,
    give_cameras,
    images,
    names,
    write_copied,
    write_vehicle_id,
    write_veri,
    write_wild,
)


@pytest.fixture
def vehicle_id(tmp_path):
    return write_vehicle_id(tmp_path / "VehicleID_V1.0")


# --- all vehicle data sets


@pytest.mark.parametrize(
    ("write_tree", "format"),
    [
        (write_veri, "veri776"),
        (write_wild, "veriwild"),
        (lambda root: give_cameras(write_wild(root)), "veriwild"),
        (write_copied, "veriwild"),
        (write_vehicle_id, "vehicleid"),
    ],
)
def test_each_tree_is_recognised_read_and_read_again(tmp_path, write_tree, format):
    root = write_tree(tmp_path / "data")
    assert detect(root) == format
    dataset = read_dataset(root)
    assert dataset.format == format
    assert dataset.protocol == PROTOCOLS[format]
    assert dataset.can_be_evaluated
    assert read_dataset(dataset.root, dataset.format) == dataset


@pytest.mark.parametrize("reader", [veriwild, vehicleid, veri776])
def test_other_layouts_are_left_alone(tmp_path, reader):
    market = tmp_path / "market"
    images(market / "bounding_box_train", ("0002_c1s1_000451_03.jpg",))
    images(market / "query", ("0005_c003_00000007_1.jpg",))
    people = tmp_path / "cuhk03-np"
    images(people / "bounding_box_train", ("0001_c1_1.png",))
    for path in (market, people, tmp_path, tmp_path / "nowhere"):
        assert not reader.matches(path)


@pytest.mark.parametrize("reader", [veriwild, vehicleid, veri776])
def test_a_folder_without_the_layout_is_refused(tmp_path, reader):
    with pytest.raises(DataError, match=r"must hold .* to be read as v"):
        reader.read(tmp_path)


@pytest.mark.parametrize("format", ["veri776", "veriwild", "vehicleid"])
def test_official_counts_add_up(format):
    counts = PROTOCOLS[format].official
    totals = {"veri776": 37_778 + 11_579, "veriwild": 416_314, "vehicleid": 113_346 + 19_777}
    tests = {
        "veri776": ("gallery",),  # which holds the queries too
        "veriwild": ("large query", "large gallery"),  # of all test identities, in no list both
        "vehicleid": ("large gallery",),
    }
    assert counts["train"][0] + sum(counts[name][0] for name in tests[format]) == totals[format]


def test_tests_share_images_and_hold_ascending_positions(tmp_path):
    a, b, c = (Sample(tmp_path / name, 1) for name in "abc")
    query, gallery, sets = splits_and_tests({"one": ([b], [a, b]), "two": ([a, b], [c, a, a])}, lambda s: s.path)
    assert query.samples == (b, a)
    assert gallery.samples == (a, b, c)
    assert sets == (TestSet("one", (0,), (0, 1)), TestSet("two", (0, 1), (0, 2)))


def test_without_tests_there_is_the_one_of_empty_splits():
    query, gallery, sets = splits_and_tests({}, lambda s: s.path)
    assert (len(query), len(gallery), sets) == (0, 0, (TestSet(),))


# --- VehicleID


def test_vehicle_id_gives_the_images_of_each_test_as_query_and_gallery(vehicle_id):
    dataset = read_dataset(vehicle_id)
    assert dataset.train.samples == (
        Sample(vehicle_id / "image" / "0000001.jpg", 0),
        Sample(vehicle_id / "image" / "0000002.jpg", 0),
        Sample(vehicle_id / "image" / "0000003.jpg", 7),
    )
    assert names(dataset.query) == [f"00000{number}.jpg" for number in range(11, 17)]
    assert dataset.query.samples == dataset.gallery.samples
    assert dataset.gallery.pids == (20, 20, 21, 21, 22, 22)
    assert set(dataset.gallery.camids) == {-1}
    assert dataset.tests == tuple(
        TestSet(name, positions, positions)
        for name, positions in (("small", (0, 1, 2, 3)), ("medium", (2, 3, 4, 5)), ("large", (0, 1, 4, 5)))
    )
    # 0000091 is in the larger lists alone, which belong to no published test.
    assert dataset.notes == (f"1 images in {vehicle_id / 'image'} passed over: in no list that is read",)


def test_vehicle_id_is_drawn_ten_times_without_cameras():
    protocol = PROTOCOLS["vehicleid"]
    assert (protocol.cameras, protocol.shots, protocol.draws) == ("none", 1, 10)


def test_vehicle_id_sizes_that_are_missing_are_left_out(vehicle_id):
    lists = vehicle_id / "train_test_split"
    (lists / "test_list_800.txt").unlink()
    dataset = read_dataset(vehicle_id)
    assert [test.name for test in dataset.tests] == ["medium", "large"]
    assert dataset.notes[0] == f"there is no {lists / 'test_list_800.txt'}, so that the small test is left out"


def test_vehicle_id_without_tests_is_for_training_only(vehicle_id):
    for file in (vehicle_id / "train_test_split").glob("test_*"):
        file.unlink()
    dataset = read_dataset(vehicle_id)
    assert [len(split) for split in dataset.splits] == [3, 0, 0]
    assert dataset.tests == (TestSet(),)


def test_vehicle_id_images_may_end_in_upper_case(vehicle_id):
    before = read_dataset(vehicle_id)
    for image in (vehicle_id / "image").iterdir():
        image.rename(image.with_suffix(".JPG"))
    dataset = read_dataset(vehicle_id, "vehicleid")
    assert [name.lower() for name in names(dataset.gallery)] == names(before.gallery)
    assert dataset.notes == before.notes


def test_vehicle_id_looks_at_no_single_image(vehicle_id, monkeypatch):
    looked_at = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *args, **kwargs: (looked_at.append(str(path)), stat(path, *args))[1])
    assert len(read_dataset(vehicle_id).train) == 3
    seen = [path for path in looked_at if path.endswith(".jpg")]
    assert looked_at
    assert not seen


VEHICLE_ID_BROKEN = {
    "an identity is beyond 64 bits": (
        "train_list.txt",
        f"0000001 {'9' * 5000}\n",
        r"train_list.txt line 1 has the number 9{37}\.\.\., which must be at most 9223372036854775807",
    ),
    "the training list is missing": ("train_list.txt", None, r"there is no list file .*train_list.txt; put the one"),
    "the training list is empty": ("train_list.txt", "", r"train_list.txt must name at least one image, and it is em"),
    "a test list is empty": ("test_list_800.txt", "\n", r"test_list_800.txt must name at least one image, and it is"),
    "a listed image is absent": (
        "test_list_2400.txt",
        "0000011 20\n0000099 20\n",
        r"test_list_2400.txt line 2 names .*image/0000099.jpg, which is no file; put the image there or take the line",
    ),
    "a line has no identity": (
        "train_list.txt",
        "0000001 0\n\n0000002\n",
        r"train_list.txt line 3 must be like '0000001 1' \(image, identity\) to be read as vehicleid, got '0000002'",
    ),
    "an identity is no number": ("train_list.txt", "0000001 van\n", r"train_list.txt line 1 must be like '0000001 1'"),
    "an image is listed twice": (
        "test_list_1600.txt",
        "0000013 21\n0000014 21\n0000013 21\n",
        r"test_list_1600.txt line 1 and .*test_list_1600.txt line 3 both name .*0000013.jpg; keep one of them",
    ),
    "an identity is in train and test": (
        "test_list_1600.txt",
        "0000013 7\n",
        r"but 7 is: .*train_list.txt line 3 and .*test_list_1600.txt line 1; take it out of one",
    ),
    "a list is no text": ("train_list.txt", b"\xff\xfe\x00", r"train_list.txt must be a text file in UTF-8"),
}


@pytest.mark.parametrize(("file", "content", "words"), VEHICLE_ID_BROKEN.values(), ids=VEHICLE_ID_BROKEN.keys())
def test_broken_vehicle_id_is_refused_with_file_and_line(vehicle_id, file, content, words):
    break_file(vehicle_id / "train_test_split" / file, content)
    with pytest.raises(DataError, match=words):
        read_dataset(vehicle_id)
