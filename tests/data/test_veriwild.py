"""VeRi-Wild: its official tree, read back, and the words that every broken one is refused with."""

import os
from datetime import UTC, datetime

import pytest

from resight.data import veriwild
from resight.data.formats import read_dataset
from resight.errors import DataError
from resight.types import Sample, TestSet
from vehicle_trees import COPIED, TIME, WILD, break_file, give_cameras, images, names, write_copied, write_wild


@pytest.fixture
def wild(tmp_path):
    return write_wild(tmp_path / "VERI-Wild")


@pytest.fixture
def wild_with_cameras(wild):
    return give_cameras(wild)


@pytest.fixture
def copied(tmp_path):
    return write_copied(tmp_path / "veri-wild")


def test_wild_gives_three_tests_over_shared_images(wild):
    dataset = read_dataset(wild)
    # 07:41:21 on 2018-03-11; the last digit is the image's.
    seconds = datetime(2018, 3, 11, 7, 41, 21, tzinfo=UTC).timestamp()
    assert dataset.train.samples == (
        Sample(wild / "images/00001/000001.jpg", 1, 7, seconds),
        Sample(wild / "images/00001/000002.jpg", 1, 104, seconds + 1),
        Sample(wild / "images/00002/000003.jpg", 2, 7, seconds + 2),
    )
    assert names(dataset.query) == ["000111.jpg", "000122.jpg", "000131.jpg", "000141.jpg"]
    assert names(dataset.gallery) == ["000112.jpg", "000122.jpg", "000111.jpg", "000132.jpg", "000142.jpg"]
    assert dataset.query.pids == (11, 12, 13, 14)
    assert dataset.tests == (
        TestSet("small", (0,), (0, 1)),
        TestSet("medium", (1, 2), (0, 2, 3)),
        TestSet("large", (0, 3), (0, 3, 4)),
    )
    assert dataset.notes == ()


def test_each_wild_test_holds_what_its_two_lists_name(wild):
    dataset = read_dataset(wild)
    for test, count in zip(dataset.tests, (3000, 5000, 10000), strict=True):
        for split, positions, name in (
            (dataset.query, test.query, f"test_{count}_query.txt"),
            (dataset.gallery, test.gallery, f"test_{count}.txt"),
        ):
            assert sorted(names(split, positions)) == sorted(key[6:] + ".jpg" for key in WILD[name])


def test_wild_lists_with_cameras_give_the_same(wild, request):
    before = read_dataset(wild)
    other = request.getfixturevalue("wild_with_cameras")
    assert sorted(file.name for file in (other / "train_test_split").iterdir()) == [
        "test_10000_id.txt", "test_10000_id_query.txt", "test_3000_id.txt", "test_3000_id_query.txt",
        "test_5000_id.txt", "test_5000_id_query.txt", "train_list_start0.txt", "vehicle_info.txt",
    ]  # fmt: skip
    assert read_dataset(other) == before


def test_wild_lists_with_cameras_do_without_the_table(wild_with_cameras):
    (wild_with_cameras / "train_test_split" / "vehicle_info.txt").unlink()
    dataset = read_dataset(wild_with_cameras)
    assert dataset.train.pids == (1, 1, 2)
    assert dataset.train.camids == (7, 104, 7)
    assert {sample.timestamp for sample in dataset.train} == {None}
    assert dataset.notes[0].endswith("vehicle_info.txt, so that times are not known")


def test_wild_sizes_that_are_missing_are_left_out(wild):
    lists = wild / "train_test_split"
    for file in lists.glob("test_[15]*"):
        file.unlink()
    dataset = read_dataset(wild)
    assert dataset.tests == (TestSet("small", (0,), (0, 1)),)
    assert dataset.notes[:2] == (
        f"there is no {lists / 'test_5000.txt'}, so the medium test is left out",
        f"there is no {lists / 'test_10000.txt'}, so the large test is left out",
    )
    assert dataset.notes[2] == f"4 images in {wild / 'images'} passed over: in no list that is there"


def test_wild_without_tests_is_for_training_only(wild):
    for file in (wild / "train_test_split").glob("test_*"):
        file.unlink()
    dataset = read_dataset(wild)
    assert [len(split) for split in dataset.splits] == [3, 0, 0]
    assert not dataset.can_be_evaluated


@pytest.mark.parametrize("text", ["2018-03-11 07:41:20", "2018/03/11_07.41.20", "20180311074120", "20180311T074120.25"])
def test_wild_times_are_seconds_however_they_are_set_apart(text):
    # 17,601 days from 1970-01-01 to 2018-03-11 = 48 years with 12 leap days (17,532) and 31 + 28 + 10 days.
    assert veriwild._seconds(text) == 17_601 * 86_400 + 7 * 3_600 + 41 * 60 + 20


def test_wild_times_that_cannot_be_read_are_noted(wild):
    file = wild / "train_test_split" / "vehicle_info.txt"
    file.write_bytes(file.read_bytes().replace(b"2018-03-11 07:41:21", b"noon").replace(b"Benz", b"\xb1\xbc"))
    dataset = read_dataset(wild)
    assert dataset.train.samples[0].timestamp is None
    assert dataset.train.samples[0].camid == 7
    assert dataset.notes == (f"4 times in {file} not known: they are not written like 2018-03-11 07:41:20",)


@pytest.mark.parametrize("header", ["", "image;camera;time\n", "id/image; Camera ID; Time; Model\n"])
def test_a_wild_table_may_lack_its_line_of_names_or_name_them_otherwise(wild, header):
    before = read_dataset(wild)
    file = wild / "train_test_split" / "vehicle_info.txt"
    file.write_text(header + file.read_text().split("\n", 1)[1])
    dataset = read_dataset(wild)
    assert dataset.splits == before.splits
    note = f"{file} line 1 does not begin with id/image;Camera ID;Time: columns taken to stand in this order"
    assert dataset.notes == (() if header.startswith("id") else (note,))


def test_wild_images_may_end_in_upper_case(wild):
    before = read_dataset(wild)
    for image in wild.glob("images/*/*.jpg"):
        image.rename(image.with_suffix(".JPG"))
    dataset = read_dataset(wild)
    assert [[s.path.stem for s in split] for split in dataset.splits] == [
        [s.path.stem for s in split] for split in before.splits
    ]
    assert {path.suffix for split in dataset.splits for path in split.paths} == {".JPG"}
    assert (dataset.train.camids, dataset.train.timestamps) == (before.train.camids, before.train.timestamps)


HEADER = "id/image;Camera ID;Time;Model;Type;Color\n"
WILD_BROKEN = {
    "the training list is missing": ("train_list.txt", None, r"there is no list file .*train_list.txt; put the one"),
    "a query list is missing": ("test_3000_query.txt", None, r"there is no list file .*test_3000_query.txt; put the"),
    "a gallery list is missing": ("test_10000.txt", None, r"there is no list file .*test_10000.txt; put the one"),
    "the training list is empty": ("train_list.txt", "", r"train_list.txt must name at least one image, and it is em"),
    "a gallery list is empty": ("test_5000.txt", "\n\n", r"test_5000.txt must name at least one image, and it is empt"),
    "a listed image is absent": (
        "train_list.txt",
        "00001/000001\n00001/000009\n",
        r"train_list.txt line 2 names .*images/00001/000009.jpg, which is no file; put the image there or take the li",
    ),
    "a listed folder is absent": ("test_3000.txt", "00099/000001\n", r"test_3000.txt line 1 names .*00099/000001.jpg"),
    "a line is of another form": (
        "test_3000_query.txt",
        "000111.jpg\n",
        r"test_3000_query.txt line 1 must be like 00001/000001 \(identity, image\) to be read as veriwild, got '000",
    ),
    "an identity is no number": ("train_list.txt", "van/000001\n", r"train_list.txt line 1 must be like 00001/000001"),
    "a camera is beyond 64 bits": (
        "vehicle_info.txt",
        "id/image;Camera ID;Time\n00001/000001;12345678901234567890;x\n",
        r"train_list.txt line 1 has the number 12345678901234567890, which must be at most 9223372036854775807",
    ),
    "an image is listed twice": (
        "test_3000.txt",
        "00011/000112\n00012/000122\n00011/000112\n",
        r"test_3000.txt line 1 and .*test_3000.txt line 3 both name .*00011/000112.jpg; keep one of them",
    ),
    "an identity is in train and query": (
        "test_5000_query.txt",
        "00002/000003\n",
        r"but 2 is: .*train_list.txt line 3 and .*test_5000_query.txt line 1; take it out of one",
    ),
    "an identity is in train and gallery": (
        "train_list.txt",
        "00001/000001\n00012/000122\n",
        r"but 12 is: .*train_list.txt line 2 and .*test_3000.txt line 2",
    ),
    "the table is missing": (
        "vehicle_info.txt",
        None,
        r"vehicle_info.txt must give the camera of 00001/000001, named by .*train_list.txt line 1; put the one the",
    ),
    "the table lacks an image": (
        "vehicle_info.txt",
        HEADER + f"00001/000001;7;{TIME};Benz;SUV;white\n",
        r"vehicle_info.txt must give the camera of 00001/000002, named by .*train_list.txt line 2",
    ),
    "a camera is no number": (
        "vehicle_info.txt",
        HEADER + "\n00001/000001;yard;x\n",
        r"vehicle_info.txt line 3 must give image, camera and time between semicolons, got '00001/000001;yard;x'",
    ),
    "a row is cut off": ("vehicle_info.txt", HEADER + "00001/000001;7\n", r"vehicle_info.txt line 2 must give image, "),
}


@pytest.mark.parametrize(("file", "content", "words"), WILD_BROKEN.values(), ids=WILD_BROKEN.keys())
def test_broken_wild_is_refused_with_file_and_line(wild, file, content, words):
    break_file(wild / "train_test_split" / file, content)
    with pytest.raises(DataError, match=words):
        read_dataset(wild)


def test_wild_looks_at_no_single_image(wild, monkeypatch):
    # A stat of each of 400,000 images takes minutes on a network disk.
    looked_at = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *args, **kwargs: (looked_at.append(str(path)), stat(path, *args))[1])
    assert len(read_dataset(wild).train) == 3
    assert looked_at
    assert not [path for path in looked_at if path.endswith(".jpg")]


def test_copied_folders_give_three_tests_with_identities_of_their_own(copied):
    dataset = read_dataset(copied)
    assert dataset.train.samples[1] == Sample(copied / "bounding_box_train" / "00001_c104_000002.jpg", 1, 104)
    assert dataset.train.pids == (0, 1, 11)
    # The test identities 11 to 14 follow on 11, the largest of training: they are counted apart.
    assert dataset.query.pids == (23, 24, 25, 26)
    assert names(dataset.gallery) == [
        "00011_c104_000112.jpg", "00012_c104_000122.jpg", "00013_c104_000132.jpg", "00014_c104_000142.jpg",
    ]  # fmt: skip
    assert dataset.tests == (
        TestSet("small", (0,), (0, 1)),
        TestSet("medium", (1, 2), (0, 2)),
        TestSet("large", (0, 3), (0, 3)),
    )
    assert dataset.notes == ()


def test_the_training_folder_may_bear_the_name_in_their_loader(copied):
    before = read_dataset(copied)
    (copied / "bounding_box_train").rename(copied / "train_set")
    assert names(read_dataset(copied).train) == names(before.train)


def test_copied_folders_of_one_test_alone_are_read(tmp_path):
    for folder in ("query", "bounding_box_test"):
        images(tmp_path / folder, COPIED[folder])
    dataset = read_dataset(tmp_path)
    assert dataset.format == "veriwild"
    assert [test.name for test in dataset.tests] == ["large"]
    assert dataset.query.pids == (11, 14)
    assert dataset.notes[0].endswith("bounding_box_train, so that train is empty")
    assert dataset.notes[1:] == tuple(
        f"there is no {tmp_path / f'test_{name}'}, so the {size} test is left out"
        for name, size in (("small", "small"), ("middle", "medium"))
    )


@pytest.mark.parametrize(
    ("emptied", "removed", "wrong", "words"),
    [
        (
            "query_small",
            True,
            None,
            r"there is no .*query_small beside test_small; put it there or take test_small away",
        ),
        ("bounding_box_test", True, None, r"there is no .*bounding_box_test beside query; put it there"),
        ("test_middle", False, None, r"test_middle must hold at least one image, and it holds none; fill it or take"),
        (
            "query",
            False,
            "van.jpg",
            r"query/van.jpg must be named like 00001_c2_000001.jpg \(identity, camera, image\)",
        ),
    ],
)
def test_broken_copied_folders_are_refused(copied, emptied, removed, wrong, words):
    for image in (copied / emptied).iterdir():
        image.unlink()
    if removed:
        (copied / emptied).rmdir()
    if wrong:
        images(copied / emptied, (wrong,))
    with pytest.raises(DataError, match=words):
        read_dataset(copied, "veriwild")
