"""Which layout a folder is taken for: by more than one sign, and as a plain folder only where nothing else is meant."""

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from resight.data import cuhk03np, folder, formats, identities, market_folders, mot, msmt17
from resight.data.formats import FORMATS, detect, read_dataset
from resight.errors import DataError
from resight.protocols import PROTOCOLS
from resight.types import Sample, Split
from vehicle_trees import WILD, images, write, write_vehicle_id, write_wild

MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "query/0001_c1s1_001051_00.jpg",
    "bounding_box_test/0001_c2s1_000301_00.jpg",
)
MSMT = (
    "train/0000/0000_045_12_0303morning_0006_2.jpg",
    "test/0000/0000_022_01_0303morning_0032_0.jpg",
)
SIZES = (3000, 5000, 10000)
MSMT_LISTS = "list_train.txt, list_val.txt, list_query.txt, list_gallery.txt"


def files(root, *names):
    """Write empty files: nothing here opens an image."""
    for name in names:
        images((root / name).parent, [(root / name).name])
    return root


# --- a data set inside is not taken for a plain folder


def write_mot(root):
    return files(root, "train/MOT17-02-DPM/img1/000001.jpg", "train/MOT17-02-DPM/gt/gt.txt")


@pytest.mark.parametrize("below", ["Market-1501-v15.09.15", "sets/Market-1501-v15.09.15"])
@pytest.mark.parametrize("beside", [(), ("cat.jpg", "more/dog.jpg")])
def test_a_data_set_one_or_two_levels_down_is_named(tmp_path, below, beside):
    inside = files(tmp_path / "a" / below, *MARKET)
    files(tmp_path / "a", *beside)
    with pytest.raises(DataError) as raised:
        read_dataset(tmp_path / "a")
    assert str(raised.value) == (
        f"{tmp_path / 'a'} is no data set, but inside is a market1501 data set: give {inside}, "
        "or use --format folder to take all images for training"
    )
    with pytest.raises(DataError, match="inside is a market1501 data set"):
        detect(tmp_path / "a")


def test_a_data_set_three_levels_down_is_left_to_the_note(tmp_path):
    files(tmp_path / "1/2/3", *MARKET)
    dataset = read_dataset(tmp_path)
    assert dataset.format == "folder"
    assert dataset.notes == (
        "images in folders named bounding_box_test, query are used for training too",
    )  # fmt: skip


def test_sequences_two_levels_down_are_no_images(tmp_path):
    write_mot(tmp_path / "MOT" / "MOT17")
    with pytest.raises(DataError, match=r"inside is a mot data set: give .*/MOT/MOT17, or use"):
        detect(tmp_path / "MOT")


def test_a_part_of_dancetrack_in_a_folder_of_another_name_is_named(tmp_path):
    for part in ("train1", "train2"):
        files(tmp_path / "DanceTrack" / part, "dancetrack0001/img1/00000001.jpg", "dancetrack0001/gt/gt.txt")
    with pytest.raises(DataError, match=r"inside are 2: give one of .*/train1 \(mot\), .*/train2 \(mot\), or use"):
        detect(tmp_path / "DanceTrack")


def test_a_data_set_behind_a_link_is_named(tmp_path):
    files(tmp_path / "there", *MARKET)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "market").symlink_to(tmp_path / "there")
    with pytest.raises(DataError, match=r"give .*/here/market, or"):
        detect(tmp_path / "here")


def test_only_a_few_data_sets_are_named(tmp_path):
    for number in range(7):
        files(tmp_path / f"m{number}", *MARKET)
    with pytest.raises(DataError) as raised:
        detect(tmp_path)
    named = ", ".join(f"{tmp_path / f'm{number}'} (market1501)" for number in range(5))
    assert f"inside are 7: give one of {named}, 2 more, or use" in str(raised.value)


def test_folders_in_a_data_set_inside_are_not_looked_at(tmp_path):
    # labeled and detected would match as well.
    for boxes in ("labeled", "detected"):
        files(tmp_path / "cuhk03-np" / boxes, "bounding_box_train/0001_c1_1.png")
    with pytest.raises(DataError, match=r"inside is a cuhk03np data set: give .*/cuhk03-np, or"):
        detect(tmp_path)


def test_a_bounded_number_of_folders_is_looked_into(tmp_path, monkeypatch):
    for number in range(3):
        files(tmp_path / f"{number}", "a.jpg")
    files(tmp_path / "3", *MARKET)
    monkeypatch.setattr(formats, "LOOKED_INTO", 4)
    with pytest.raises(DataError, match="inside is a market1501"):
        detect(tmp_path)
    monkeypatch.setattr(formats, "LOOKED_INTO", 3)
    assert detect(tmp_path) == "folder"


def test_a_link_that_leads_round_in_a_circle_does_no_harm(tmp_path):
    files(tmp_path, "a.jpg")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert detect(tmp_path) == "folder"


def test_naming_the_plain_folder_insists(tmp_path):
    files(tmp_path / "a" / "Market", *MARKET)
    dataset = read_dataset(tmp_path / "a", "folder")
    assert len(dataset.train) == 3
    assert dataset.notes == ("images in folders named bounding_box_test, query are used for training too",)


# --- a data set without its lists


def write_msmt(root):
    files(root, *MSMT)
    for name in MSMT_LISTS.split(", "):
        write(root / name, ())
    return root


WILD_LISTS = "train_list, test_3000_query, test_3000, test_5000_query, test_5000, test_10000_query, test_10000"
VEHICLE_ID_LISTS = "train_list, test_list_800, test_list_1600, test_list_2400"


def below_lists(names):
    return ", ".join(f"train_test_split/{name}.txt" for name in names.split(", "))


LISTED = {
    "msmt17": (write_msmt, MSMT_LISTS),
    "veriwild": (write_wild, below_lists(WILD_LISTS)),
    "vehicleid": (write_vehicle_id, below_lists(VEHICLE_ID_LISTS)),
}


@pytest.mark.parametrize("format", LISTED)
@pytest.mark.parametrize("given", ["data", "data/set"])
@pytest.mark.parametrize("keep_folder", [True, False])
def test_a_data_set_without_its_lists_is_told_which(tmp_path, format, given, keep_folder):
    write_tree, lists = LISTED[format]
    root = write_tree(tmp_path / "data" / "set")
    assert detect(root) == format
    assert FORMATS[format].lacks(root) == []
    for file in root.rglob("*.txt"):
        file.unlink()
    for name in ("train_test_split",) * (not keep_folder):
        if (root / name).is_dir():
            (root / name).rmdir()
    with pytest.raises(DataError) as raised:
        read_dataset(tmp_path / given)
    assert str(raised.value) == (
        f"{root} looks like a {format} data set without its lists {lists}; put them there, "
        "or use --format folder to take all images for training"
    )
    assert len(read_dataset(root, "folder").train) > 1


@pytest.mark.parametrize("name", msmt17.FOLDERS[1])
def test_one_masked_half_of_msmt17_without_lists_is_told_too(tmp_path, name):
    files(tmp_path, f"{name}/0000/0000_045_12_0303morning_0006_2.jpg")
    with pytest.raises(DataError, match=rf"looks like a msmt17 data set without its lists {MSMT_LISTS}; put"):
        detect(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("images/cat/1.jpg", "images/1/2.jpg"),  # no five digits
        ("images/00001.jpg",),
        ("image/1.jpg", "image/0000001.png"),
        ("train/0000/a.jpg", "test/0000/b.jpg"),
        ("train/0000_045_12_0303morning_0006_2.jpg",),
    ],
)
def test_folders_that_only_share_a_name_are_plain(tmp_path, names):
    files(tmp_path, *names)
    assert detect(tmp_path) == "folder"


# --- what is said of a plain folder


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (("a/1.jpg", "test/1.jpg"), "test"),
        (("a/1.jpg", "x/Query-2/1.jpg", "x/test1/2.jpg"), "Query-2, test1"),
        (("a/b/c/seq/img1/000001.jpg",), "img1"),
        (tuple(f"x/test_{letter}/1.jpg" for letter in "gfedcba"), "test_a, test_b, test_c, test_d, test_e, 2 more"),
    ],
)
def test_folders_named_for_tests_or_frames_are_noted(tmp_path, names, note):
    dataset = read_dataset(files(tmp_path, *names))
    assert dataset.format == "folder"
    assert dataset.notes == (f"images in folders named {note} are used for training too",)


@pytest.mark.parametrize("name", ["a/1.jpg", "latest/1.jpg", "contest/1.jpg", "img10/1.jpg", "test.jpg"])
def test_other_folders_are_not_noted(tmp_path, name):
    (tmp_path / "test" / "empty").mkdir(parents=True)  # nothing is used of it
    assert read_dataset(files(tmp_path, name)).notes == ()


@pytest.mark.parametrize("test", [("query", "gallery"), ("test",)])
def test_splits_of_identities_are_plain_and_pointed_out(tmp_path, test):
    assert folder.SPLIT_FOLDERS == identities.SPLIT_FOLDERS
    root = files(tmp_path, "train/1/a.jpg", *(f"{name}/2/{name}.jpg" for name in test))
    assert detect(root) == "folder"
    said = "are used for training too; --format folder-per-identity reads these as splits, with an identity in each"
    assert said in read_dataset(root).notes[0]
    assert read_dataset(root, "folder-per-identity").can_be_evaluated


@pytest.mark.parametrize("name", ["train/b.jpg", "others/1/b.jpg", "b.jpg"])
def test_what_folder_per_identity_would_refuse_is_not_pointed_out(tmp_path, name):
    files(tmp_path, "train/1/a.jpg", "test/2/a.jpg", name)
    assert read_dataset(tmp_path).notes == ("images in folders named test are used for training too",)


def test_a_link_to_a_folder_of_images_says_what_to_give(tmp_path):
    files(tmp_path / "images", "a.jpg")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "images").symlink_to(tmp_path / "images")
    with pytest.raises(
        DataError, match=r"no images in .*/d .*; 1 link to a folder in .*/d passed over: links to folde"
    ):
        read_dataset(tmp_path / "d")
    (tmp_path / "d" / "more").symlink_to(tmp_path / "images")
    files(tmp_path / "d", "a.jpg", "list.txt")
    assert read_dataset(tmp_path / "d").notes == (
        f"1 entry in {tmp_path / 'd'} passed over: no image by name",
        f"2 links to folders in {tmp_path / 'd'} passed over: links to folders are not followed; "
        "give the folder itself",
    )


# --- a folder `query` alone


@pytest.mark.parametrize("names", [("query/anna/1.jpg",), ("query/cat.jpg",), ("query/0000_c14_0030.jpg",), ()])
def test_query_alone_is_market1501_only_with_a_name_of_it(tmp_path, names):
    (tmp_path / "query").mkdir()
    files(tmp_path, "a.jpg", *names)
    assert detect(tmp_path) == "folder"
    files(tmp_path, "query/0001_c1s1_001051_00.jpg")
    assert detect(tmp_path) == "market1501"


@pytest.mark.parametrize("beside", ["bounding_box_train", "bounding_box_test"])
def test_query_beside_another_folder_is_market1501(tmp_path, beside):
    (tmp_path / beside).mkdir()
    files(tmp_path, "query/cat.jpg")
    assert detect(tmp_path) == "market1501"


def test_a_table_of_animals_beside_a_folder_query_is_wildlife(tmp_path):
    files(tmp_path, "query/lynx.jpg", "database/lynx.jpg")
    write(tmp_path / "metadata.csv", ("identity,path", "a,query/lynx.jpg"))
    assert detect(tmp_path) == "wildlife"


# --- more than one sign


@pytest.mark.parametrize("stray", MSMT_LISTS.split(", "))
def test_market1501_beside_a_stray_list_is_market1501(tmp_path, stray):
    files(tmp_path, *MARKET, stray)
    assert read_dataset(tmp_path).format == "market1501"


@pytest.mark.parametrize("stray", ["images", "image"])
def test_market1501_beside_empty_folders_of_lists_and_images_is_market1501(tmp_path, stray):
    files(tmp_path, *MARKET)
    for name in (stray, "train_test_split"):
        (tmp_path / name).mkdir()
    assert read_dataset(tmp_path).format == "market1501"


@pytest.mark.parametrize(
    ("format", "folders", "file"),
    [
        *(("msmt17", (name,), file) for name in sum(msmt17.FOLDERS, ()) for file in MSMT_LISTS.split(", ")),
        *(("veriwild", ("images",), f"train_test_split/{name}") for name in (*WILD, "train_list_start0.txt")),
        *(("veriwild", ("images",), f"train_test_split/test_{n}_id{q}.txt") for n in SIZES for q in ("", "_query")),
        *(("vehicleid", ("image",), file) for file in below_lists(VEHICLE_ID_LISTS).split(", ")),
    ],
)  # fmt: skip
def test_a_folder_and_one_list_are_enough(tmp_path, format, folders, file):
    for name in folders:
        (tmp_path / name).mkdir()
    assert not FORMATS[format].matches(tmp_path)
    files(tmp_path, file)
    assert detect(tmp_path) == format
    for name in folders:
        (tmp_path / name).rmdir()
    assert not FORMATS[format].matches(tmp_path)


# --- file names


@pytest.fixture
def sorted_listing(monkeypatch):
    """Make the file system list in sorted order, which it need not."""
    scandir = os.scandir
    in_order = lambda path: nullcontext(iter(sorted(scandir(path), key=lambda entry: entry.name)))  # noqa: E731
    monkeypatch.setattr(market_folders.os, "scandir", in_order)


@pytest.mark.parametrize(("strays", "format"), [(4, "dukemtmc"), (5, "market1501")])
def test_the_first_five_names_are_looked_at(tmp_path, sorted_listing, strays, format):
    names = (*(f"-{number}.jpg" for number in range(strays)), "0001_c2_f0046182.jpg", "a.jpg", "b.jpg")
    files(tmp_path, *(f"bounding_box_train/{name}" for name in names))  # "-" sorts before digits
    assert market_folders.format_of(tmp_path) == format


@pytest.mark.parametrize("camera", [3, 10, 14])
def test_names_like_those_of_cuhk03_with_a_third_camera_are_of_other_data(tmp_path, sorted_listing, camera):
    files(tmp_path, *(f"bounding_box_train/000{number}_c{1 + number % 2}_0030.jpg" for number in range(8)))
    assert market_folders.format_of(tmp_path) == "cuhk03np"
    files(tmp_path, f"bounding_box_train/0009_c{camera}_0030.jpg")
    assert market_folders.format_of(tmp_path) == "market1501"


def test_what_to_do_with_names_of_no_data_set_is_said(tmp_path):
    files(tmp_path, *(f"bounding_box_train/000{number}_c{number}_0030.jpg" for number in range(1, 8)))
    with pytest.raises(
        DataError,
        match=r"0001_c1_0030.jpg must be named like 0002_c1s1_000451_03.jpg .* as market1501; rename it, or list the "
        r"images in a manifest \(docs/data.md\), or use --format folder",
    ):
        read_dataset(tmp_path)


# --- CUHK03-NP's two kinds of boxes


def counted(protocol):
    """A data set with as many images and identities as the protocol's own description counts."""
    splits = {}
    for name, (count, people) in PROTOCOLS[protocol].official.items():
        splits[name] = Split(name, tuple(Sample(Path(f"{n}.png"), n % people, 1) for n in range(count)))
    return splits


@pytest.mark.parametrize("protocol", cuhk03np.BOXES.values())
@pytest.mark.parametrize("name", ["labeled", "detected", "boxes"])
def test_cuhk03np_is_told_by_its_counts_before_its_folders_name(tmp_path, monkeypatch, name, protocol):
    root = files(tmp_path / name, "bounding_box_train/0001_c1_1.png")
    read_folders = cuhk03np.read_folders
    monkeypatch.setattr(
        cuhk03np, "read_folders", lambda *arguments: replace(read_folders(*arguments), **counted(protocol))
    )
    assert read_dataset(root).protocol is PROTOCOLS[protocol]


@pytest.mark.parametrize("name", ["labeled", "detected", "boxes"])
def test_cuhk03np_with_other_counts_is_told_by_its_folders_name(tmp_path, name):
    root = files(tmp_path / name, "bounding_box_train/0001_c1_1.png", "query/0002_c1_2.png")
    assert read_dataset(root).protocol is PROTOCOLS[cuhk03np.BOXES.get(name, "cuhk03np")]


# --- sequences


def test_detections_are_never_found_by_themselves(tmp_path):
    root = write_mot(tmp_path)
    assert FORMATS["mot"].matches(root)
    assert not FORMATS["mot-det"].matches(root)


def test_sequences_are_looked_for_without_a_look_at_each_file(tmp_path, monkeypatch):
    files(tmp_path, *(f"{number}.jpg" for number in range(20)), "train/a.jpg")
    looked_at = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *args, **kwargs: (looked_at.append(str(path)), stat(path, *args))[1])
    assert not mot.matches(tmp_path)
    assert looked_at
    assert not [path for path in looked_at if ".jpg" in path]


# --- what cannot be looked at


@pytest.mark.parametrize("format", [None, "market1501", "mot"])
def test_a_folder_that_may_not_be_looked_at_is_refused_in_words(tmp_path, monkeypatch, format):
    files(tmp_path / "locked", *MARKET)
    stat = os.stat

    def denied(path, *args, **kwargs):
        if str(path).startswith(str(tmp_path / "locked" / "")) and str(path) != str(tmp_path / "locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", denied)
    with pytest.raises(DataError, match=r"locked/.* cannot be looked at: Permission denied; make it readable, or give"):
        read_dataset(tmp_path / "locked", format)
    if format is None:
        with pytest.raises(DataError, match=r"locked/.* cannot be looked at: Permission denied"):
            detect(tmp_path / "locked")


def test_a_folder_that_may_not_be_listed_is_refused_in_words(tmp_path, monkeypatch):
    files(tmp_path, "a.jpg", "b/c.jpg")
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(DataError, match=r"/b cannot be looked at: Permission denied"):
        detect(tmp_path)


def test_a_table_of_animals_that_may_not_be_read_is_not_passed_over(tmp_path, monkeypatch):
    files(tmp_path, "lynx.jpg", "metadata.csv")
    opened = type(tmp_path).open

    def denied(path, *args, **kwargs):
        if path.name == "metadata.csv":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(type(tmp_path), "open", denied)
    with pytest.raises(DataError, match=r"metadata.csv cannot be looked at: Permission denied"):
        read_dataset(tmp_path)
