"""Data sets of people: each as its authors ship it, and every way in which a copy of it can be broken."""

import shutil
from pathlib import Path

import pytest

from resight.data import msmt17
from resight.data.dukemtmc import WITHDRAWN
from resight.data.formats import FORMATS, detect, read_dataset
from resight.errors import DataError
from resight.protocols import PROTOCOLS
from resight.types import JUNK_PID, Sample

PKU_REID = Path(__file__).parents[3] / "shared" / "data" / "pku-reid"

# Names as in Market-1501-v15.09.15; the extra folders are those that its readme.txt describes.
MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0002_c1s1_000551_01.jpg",
    "bounding_box_train/0007_c3s3_077419_03.jpg",
    "query/0001_c1s1_001051_00.jpg",
    "query/0001_c2s1_000301_00.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
    "bounding_box_test/0000_c1s1_000151_01.jpg",
    "bounding_box_test/0001_c1s1_001051_03.jpg",
    "bounding_box_test/0001_c2s1_000301_00.jpg",
    "gt_bbox/0001_c1s1_001051_00.jpg",
    "gt_query/0001_c1s1_001051_00_good.mat",
    "readme.txt",
)

# Names and texts as listings of the published archive give them.
DUKE = (
    "bounding_box_train/0001_c2_f0046182.jpg",
    "bounding_box_train/0001_c2_f0046302.jpg",
    "bounding_box_train/7140_c4_f0175988.jpg",
    "query/0005_c2_f0046985.jpg",
    "query/0005_c5_f0051781.jpg",
    "bounding_box_test/0002_c1_f0044158.jpg",
    "bounding_box_test/0005_c2_f0047105.jpg",
    "CITATION_DukeMTMC-reID.txt",
    "LICENSE_DukeMTMC-reID.txt",
    "README.md",
)

# Names as listings of CUHK03-NP give them; both folders have the same layout.
CUHK = (
    "bounding_box_train/0001_c1_1.png",
    "bounding_box_train/0001_c2_6.png",
    "bounding_box_train/0002_c1_11.png",
    "query/0003_c1_22.png",
    "query/0003_c2_27.png",
    "bounding_box_test/0003_c1_21.png",
    "bounding_box_test/0003_c2_26.png",
)

# Lines as the lists have them, and the two halves of the images, in V1's folders.
MSMT = {
    "list_train.txt": (
        "0000/0000_045_12_0303morning_0006_2.jpg 0",
        "0000/0000_046_12_0303morning_0006_2_ex.jpg 0",
        "0001/0001_013_01_0303morning_0037_2.jpg 1",
    ),
    "list_val.txt": ("0000/0000_010_07_0303morning_0008_2.jpg 0", "0001/0001_038_14_0113afternoon_0267_0.jpg 1"),
    "list_query.txt": ("0000/0000_022_01_0303morning_0032_0.jpg 0",),
    "list_gallery.txt": ("0000/0000_023_05_0302noon_0040_1.jpg 0", "0001/0001_001_15_0114morning_0036_0_ex.jpg 1"),
}


def write(root, names, picture):
    for seed, name in enumerate(names):
        if name.endswith((".jpg", ".png")):
            picture(root / name, seed)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("as shipped\n")
    return root


def write_msmt(root, picture, train="train", test="test"):
    for name, lines in MSMT.items():
        folder = root / (train if name in ("list_train.txt", "list_val.txt") else test)
        write(folder, [line.split()[0] for line in lines], picture)
        (root / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def tree(tmp_path, picture):
    """Write the data set of a format as it is shipped; what CUHK03-NP ships twice is written as `labeled`."""

    def of(format):
        if format == "msmt17":
            return write_msmt(tmp_path / "MSMT17_V1", picture)
        root, names = {
            "market1501": ("Market-1501-v15.09.15", MARKET),
            "dukemtmc": ("DukeMTMC-reID", DUKE),
            "cuhk03np": ("cuhk03-np/labeled", CUHK),
        }[format]
        return write(tmp_path / root, names, picture)

    return of


PEOPLE = ("market1501", "dukemtmc", "cuhk03np", "msmt17")


# --- as shipped


@pytest.mark.parametrize("format", PEOPLE)
def test_a_data_set_as_shipped_is_told_by_its_names_from_all_others(tree, format):
    root = tree(format)
    assert detect(root) == format
    assert [name for name in FORMATS if name != "folder" and FORMATS[name].matches(root)] == [format]
    dataset = read_dataset(root)
    assert read_dataset(dataset.root, dataset.format) == dataset
    assert dataset.protocol is PROTOCOLS[format]
    assert dataset.can_be_evaluated


def test_market1501_is_read_with_its_junk_and_distractors(tree):
    root = tree("market1501")
    dataset = read_dataset(root)
    assert dataset.train.samples[0] == Sample(root / MARKET[0], 2, 1, 1_000_451.0)
    assert (dataset.train.pids, dataset.train.camids) == ((2, 2, 7), (1, 1, 3))
    assert (dataset.query.pids, dataset.query.camids) == ((1, 1), (1, 2))
    assert dataset.gallery.pids == (JUNK_PID, 0, 1, 1)
    assert dataset.notes == ()  # gt_bbox, gt_query and readme.txt need no word


def test_dukemtmc_is_read_with_the_word_that_it_was_withdrawn(tree):
    root = tree("dukemtmc")
    dataset = read_dataset(root)
    assert dataset.train.samples[0] == Sample(root / DUKE[0], 1, 2, 46182.0)
    assert (dataset.train.pids, dataset.train.camids) == ((1, 1, 7140), (2, 2, 4))
    assert (dataset.query.pids, dataset.query.camids) == ((5, 5), (2, 5))
    assert (dataset.gallery.pids, dataset.gallery.camids) == ((2, 5), (1, 2))
    assert dataset.notes == (WITHDRAWN,)
    assert "was withdrawn by its authors" in WITHDRAWN


def test_cuhk03np_has_no_times(tree):
    root = tree("cuhk03np")
    dataset = read_dataset(root)
    assert dataset.train.samples[0] == Sample(root / CUHK[0], 1, 1)
    assert (dataset.train.pids, dataset.train.camids) == ((1, 1, 2), (1, 2, 1))
    assert (dataset.query.pids, dataset.query.camids) == ((3, 3), (1, 2))
    assert (dataset.gallery.pids, dataset.gallery.camids) == ((3, 3), (1, 2))
    assert dataset.notes == ()


def test_cuhk03np_with_both_kinds_of_boxes_asks_for_one(tmp_path, picture):
    for boxes in ("labeled", "detected"):
        write(tmp_path / boxes, CUHK, picture)
    assert detect(tmp_path) == "cuhk03np"
    with pytest.raises(DataError, match=r"one must be chosen; give .*/labeled or .*/detected$"):
        read_dataset(tmp_path)
    detected = read_dataset(tmp_path / "detected")
    assert detected.protocol is PROTOCOLS["cuhk03np-detected"]
    shutil.rmtree(tmp_path / "labeled")
    assert read_dataset(tmp_path) == detected


def test_cuhk03s_first_protocol_draws_one_gallery_image_of_another_camera():
    protocol = PROTOCOLS["cuhk03"]
    assert (protocol.cameras, protocol.shots, protocol.draws) == ("all", 1, 10)


@pytest.mark.parametrize("folders", msmt17.FOLDERS)
def test_msmt17_lists_give_splits_cameras_and_order_in_both_versions(tmp_path, picture, folders):
    root = write_msmt(tmp_path, picture, *folders)
    dataset = read_dataset(root)
    assert dataset.format == "msmt17"
    train, test = (root / folder for folder in folders)
    listed = [train / line.split()[0] for name in ("list_train.txt", "list_val.txt") for line in MSMT[name]]
    assert list(dataset.train.paths) == listed  # train, then val, as listed
    assert (dataset.train.pids, dataset.train.camids) == ((0, 0, 1, 0, 1), (12, 12, 1, 7, 14))
    # The people of test are others, although the lists count them from 0 again.
    assert (dataset.query.pids, dataset.query.camids) == ((10_000,), (1,))
    assert (dataset.gallery.pids, dataset.gallery.camids) == ((10_000, 10_001), (5, 15))
    assert dataset.query.paths == (test / "0000/0000_022_01_0303morning_0032_0.jpg",)
    assert dataset.notes == ()


def test_msmt17_times_are_in_order_and_count_within_a_recording(tree):
    dataset = read_dataset(tree("msmt17"))
    # 3 March is 303, its morning the first of three parts: (303 * 3 + 0) * 10,000 and the number.
    assert dataset.train.timestamps[:4] == (9_090_006.0, 9_090_006.0, 9_090_037.0, 9_090_008.0)
    afternoon, morning_after = dataset.train.timestamps[4], dataset.gallery.timestamps[1]
    assert afternoon == (113 * 3 + 2) * 10_000 + 267
    assert afternoon < morning_after < dataset.gallery.timestamps[0] < dataset.query.timestamps[0]


def test_msmt17_images_in_no_list_are_passed_over_with_a_note(tree, picture):
    root = tree("msmt17")
    picture(root / "train" / "0001" / "0001_099_01_0303morning_0039_2.jpg")
    (root / "test" / "0000" / "Thumbs.db").write_bytes(b"x")
    dataset = read_dataset(root)
    assert len(dataset.train) == 5
    assert dataset.notes == (
        f"1 images in {root / 'train'} passed over: in no list",
        f"1 entry in {root / 'test'} passed over: no image by name",
    )


@pytest.mark.parametrize("format", ["market1501", "dukemtmc", "cuhk03np"])
@pytest.mark.parametrize(
    ("folder", "name"), [("bounding_box_train", "train"), ("query", "query"), ("bounding_box_test", "gallery")]
)
def test_a_folder_that_was_not_copied_is_an_empty_split(tree, format, folder, name):
    root = tree(format)
    shutil.rmtree(root / folder)
    dataset = read_dataset(root)
    assert dataset.format == format
    assert [split.name for split in dataset.splits if not split] == [name]
    assert dataset.notes[-1] == f"there is no {root / folder}, so that {name} is empty"


@pytest.mark.parametrize(
    ("folder", "lists", "counts", "empty"),
    [
        ("test", ("list_query.txt", "list_gallery.txt"), [5, 0, 0], "query and gallery are empty"),
        ("train", ("list_train.txt", "list_val.txt"), [0, 1, 2], "train is empty"),
    ],
)
def test_half_of_msmt17_can_be_read_alone(tree, folder, lists, counts, empty):
    root = tree("msmt17")
    shutil.rmtree(root / folder)
    for name in lists:
        (root / name).unlink()
    dataset = read_dataset(root)
    assert dataset.format == "msmt17"
    assert [len(split) for split in dataset.splits] == counts
    assert dataset.notes == (f"there is no {root / folder}, so that {empty}",)


def test_a_folder_of_a_name_that_no_data_set_has_is_named_after_the_layout(tmp_path, picture):
    picture(tmp_path / "bounding_box_train" / "cat.jpg")
    with pytest.raises(DataError, match=r"cat.jpg must be named like 0002_c1s1_000451_03.jpg .* read as market1501"):
        read_dataset(tmp_path)


# --- broken


def emptied(folder):
    def damage(root, picture):
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
        (root / folder / "Thumbs.db").write_bytes(b"x")

    return damage


def added(name):
    return lambda root, picture: picture(root / name)


def appended(name, line):
    return lambda root, picture: (root / name).write_text("\n".join([*MSMT[name], "", line]) + "\n")


def without(name):
    def damage(root, picture):
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()

    return damage


BROKEN = [
    (
        "market1501",
        emptied("bounding_box_train"),
        r"bounding_box_train must hold the images of train, but it holds none",
    ),
    (
        "market1501",
        emptied("query"),
        r"query must hold the images of query, but it holds none; fill it or take it away",
    ),
    (
        "market1501",
        emptied("bounding_box_test"),
        r"bounding_box_test must hold the images of gallery, but it holds none",
    ),
    ("market1501", added("query/0001_c1_f0000001.jpg"), r"0001_c1_f0000001.jpg must be named like 0002_c1s1_000451_03"),
    (
        "market1501",
        added("bounding_box_train/0001_c4s1_000001_00.jpg"),
        r"no identity may be in both train and test, but 1 is: .*train/0001_c4s1_.* and .*query/0001_c1s1_",
    ),
    ("dukemtmc", emptied("query"), r"query must hold the images of query, but it holds none"),
    ("dukemtmc", added("query/0005_c2_46985.jpg"), r"0005_c2_46985.jpg must be named like 0001_c2_f0046182.jpg"),
    ("dukemtmc", added("bounding_box_test/-1_c2_f0046985.jpg"), r"-1_c2_f0046985.jpg must be named like 0001_c2_f004"),
    (
        "dukemtmc",
        added("bounding_box_train/0002_c1_f0000001.jpg"),
        r"but 2 is: .*train/0002.* and .*test/0002_c1_f0044",
    ),
    ("cuhk03np", emptied("bounding_box_test"), r"bounding_box_test must hold the images of gallery, but it holds none"),
    ("cuhk03np", added("query/0003_c3_22.png"), r"0003_c3_22.png must be named like 0001_c1_1.png"),
    ("cuhk03np", added("query/0001_c1_30.png"), r"but 1 is: .*train/0001_c1_1.png and .*query/0001_c1_30.png"),
    *(
        ("msmt17", without(name), rf"there is no list file .*{name}; put the one that the data set ships with there")
        for name in MSMT
    ),
    ("msmt17", without("test"), r"list_query.txt lists images in .*test, and there is none; put it there"),
    ("msmt17", lambda root, picture: (root / "list_val.txt").write_text("\n"), r"list_val.txt must name .* is empty"),
    ("msmt17", lambda root, picture: (root / "list_val.txt").write_bytes(b"\xff"), r"list_val.txt must be a text file"),
    ("msmt17", lambda root, picture: (root / "mask_test_v2").mkdir(), r"train and test or mask_train_v2 .* holds both"),
    (
        "msmt17",
        without("test/0000/0000_022_01_0303morning_0032_0.jpg"),
        r"list_query.txt line 1 lists .*0000_022_01_0303morning_0032_0.jpg, which is no file; put it there",
    ),
    (
        "msmt17",
        appended("list_val.txt", "0001/0001_013_01_0303morning_0037_2.jpg 1"),
        r"list_train.txt line 3 and .*list_val.txt line 4 both name .*0001_013_01_0303morning_0037_2.jpg; keep one",
    ),
    (
        "msmt17",
        appended("list_gallery.txt", "0001/0001_001_15_0114morning_0036_0_ex.jpg 0"),
        r"list_gallery.txt line 4 must give one identity as folder, in the name and as label, got 0001, 0001 and 0",
    ),
    (
        "msmt17",
        appended("list_train.txt", "0000/0001_013_01_0303morning_0037_2.jpg 0"),
        r"list_train.txt line 5 must give one identity .* got 0000, 0001 and 0",
    ),
    *(
        (
            "msmt17",
            appended("list_train.txt", line),
            r"list_train.txt line 5 must be like `0000/0000_000_01_0303mor.*got",
        )
        for line in (
            "0000/0000_045_12_0303morning_0006_2.jpg",
            "0000/0000_045_12_0303evening_0006_2.jpg 0",
            "../0000/0000_045_12_0303morning_0006_2.jpg 0",
            "0000/a man.jpg 0",
        )
    ),
]


@pytest.mark.parametrize(("format", "damage", "words"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_copy_is_refused_in_words(tree, picture, format, damage, words):
    root = tree(format)
    read_dataset(root, format)  # sound until it is damaged
    damage(root, picture)
    with pytest.raises(DataError, match=words):
        read_dataset(root, format)


@pytest.mark.parametrize("format", PEOPLE)
def test_a_folder_with_none_of_it_is_refused_by_name(tmp_path, format):
    with pytest.raises(DataError, match=rf"must hold .* to be read as {format}"):
        read_dataset(tmp_path, format)


def test_an_identity_beyond_64_bits_is_refused(tmp_path, picture):
    picture(tmp_path / "query" / "12345678901234567890_c1s1_000001_00.jpg")
    with pytest.raises(DataError, match=r"_00.jpg has the number 12345678901234567890, which must be at most 92233720"):
        read_dataset(tmp_path, "market1501")


# --- data of one's own, where it is there


def test_pku_reid_is_read_in_the_layout_of_market1501():
    if not PKU_REID.is_dir():
        pytest.skip("the images are not here")
    dataset = read_dataset(PKU_REID)
    assert dataset.format == "market1501"
    assert [len(split) for split in dataset.splits] == [640, 68, 476]
