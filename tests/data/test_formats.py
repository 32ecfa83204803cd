"""Readers: every layout, what they pass over, and the words they refuse with."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from resight.data.folder import images_below, images_in
from resight.data.formats import FORMATS, detect, read_dataset
from resight.errors import ConfigError, DataError
from resight.types import JUNK_PID, Sample

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def market(tmp_path, picture):
    root = tmp_path / "market"
    names = (
        "bounding_box_train/0007_c3s3_077419_03.jpg",
        "bounding_box_train/0002_c1s1_000451_03.jpg",
        "query/0003_c2s1_000012_00.jpg",
        "bounding_box_test/0003_c1s2_000500_01.jpg",
        "bounding_box_test/-1_c3s2_000501_02.jpg",
        "bounding_box_test/0000_c4s1_000502_00.jpg",
    )
    for seed, name in enumerate(names):
        picture(root / name, seed)
    return root


@pytest.fixture
def veri(tmp_path, picture):
    root = tmp_path / "veri"
    for folder, names in {
        "image_train": ("0002_c002_00030600_0.jpg", "0001_c001_00016450_0.jpg"),
        "image_query": ("0005_c003_00000007_1.jpg",),
        "image_test": ("0005_c003_00000007_1.jpg", "0005_c019_00000009_0.jpg"),
    }.items():
        for name in names:
            picture(root / folder / name)
        (root / f"name_{folder[6:]}.txt").write_text("\r\n".join(names) + "\r\n\r\n")
    return root


def names(split):
    return [path.name for path in split.paths]


# --- the table


def test_the_table_has_the_plain_folder_last():
    assert list(FORMATS)[-1] == "folder"


def test_a_data_set_can_be_read_again_from_its_root_and_format(market, veri, tmp_path, picture):
    picture(tmp_path / "crops" / "a.png")
    manifest = tmp_path / "m.csv"
    manifest.write_text("path\ncrops/a.png\n")
    for path, format in (
        (market, "market1501"),
        (veri, "veri776"),
        (manifest, "manifest"),
        (tmp_path / "crops", "folder"),
    ):
        dataset = read_dataset(path)
        assert dataset.format == format == detect(path)
        assert read_dataset(dataset.root, dataset.format) == dataset


def test_a_named_format_overrides_detection(market):
    dataset = read_dataset(market, "folder")
    assert len(dataset.train) == 6
    assert dataset.train.pids is None


def test_an_unknown_format_is_refused_with_a_suggestion(market):
    with pytest.raises(ConfigError, match=r"no format named 'market1502'; did you mean 'market1501'?"):
        read_dataset(market, "market1502")


@pytest.mark.parametrize("format", [None, *FORMATS])
def test_a_missing_path_is_refused(tmp_path, format):
    with pytest.raises(DataError, match=r"there is nothing at .*nowhere; give a folder of images, or a .csv"):
        read_dataset(tmp_path / "nowhere", format)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there are no images in .* \(read as folder\)$"):
        read_dataset(tmp_path)


def test_a_folder_without_images_says_what_it_passed_over(tmp_path):
    (tmp_path / "readme.txt").write_text("no crops yet")
    with pytest.raises(DataError, match=r"no images in .*; 1 entry in .* passed over: no image by name"):
        read_dataset(tmp_path)


def test_a_file_that_is_no_manifest_is_refused(tmp_path, picture):
    with pytest.raises(DataError, match=r"a.jpg is neither a folder nor a manifest; give a folder of images"):
        read_dataset(picture(tmp_path / "a.jpg"))


@pytest.mark.parametrize(
    ("format", "words"),
    [
        ("market1501", "must hold one of bounding_box_train, query, bounding_box_test to be read as market1501"),
        ("veri776", "must hold one of image_train, image_query, image_test to be read as veri776"),
        ("manifest", "must be a .csv or .parquet file to be read as a manifest"),
    ],
)
def test_a_folder_without_the_named_layout_is_refused(tmp_path, picture, format, words):
    picture(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=words):
        read_dataset(tmp_path, format)


def test_a_file_is_refused_as_a_folder(tmp_path, picture):
    with pytest.raises(DataError, match="must be a folder of images, and it is none"):
        read_dataset(picture(tmp_path / "a.jpg"), "folder")


# --- Market-1501


def test_market_names_give_identity_camera_and_frame(market):
    dataset = read_dataset(market)
    folder = market / "bounding_box_train"
    assert dataset.train.samples == (  # sorted by name
        Sample(folder / "0002_c1s1_000451_03.jpg", 2, 1, 1_000_451.0),
        Sample(folder / "0007_c3s3_077419_03.jpg", 7, 3, 3_077_419.0),
    )
    assert dataset.query.pids == (3,)
    assert dataset.query.camids == (2,)
    assert dataset.gallery.timestamps == (2_000_501.0, 1_000_502.0, 2_000_500.0)  # recordings follow each other
    assert dataset.notes == ()
    assert dataset.can_be_evaluated


def test_market_junk_and_distractors_stay_in_the_gallery(market):
    # "-" sorts before digits.
    assert read_dataset(market).gallery.pids == (JUNK_PID, 0, 3)


def test_market_junk_is_left_out_of_train_and_query_and_noted(market, picture):
    picture(market / "bounding_box_train" / "-1_c1s1_000009_00.jpg")
    picture(market / "query" / "-1_c1s1_000009_00.jpg")
    dataset = read_dataset(market)
    assert dataset.train.pids == (2, 7)
    assert dataset.query.pids == (3,)
    assert [note.split(" in ")[0] for note in dataset.notes] == ["1 junk images (identity -1)"] * 2


def test_market_files_that_are_no_images_are_counted(market, picture):
    (market / "bounding_box_train" / "Thumbs.db").write_bytes(b"x")
    picture(market / "bounding_box_train" / "._0002_c1s1_000451_03.jpg")  # as macOS leaves them
    dataset = read_dataset(market)
    assert len(dataset.train) == 2
    assert dataset.notes == (f"2 entries in {market / 'bounding_box_train'} passed over: no image by name",)


def test_a_missing_market_folder_is_an_empty_split(tmp_path, picture):
    picture(tmp_path / "bounding_box_train" / "0002_c1s1_000451_03.jpg.jpg")  # a doubled ending does no harm
    dataset = read_dataset(tmp_path)
    assert dataset.format == "market1501"
    assert [len(split) for split in dataset.splits] == [1, 0, 0]
    assert len(dataset.notes) == 2
    assert dataset.notes[0].endswith("so that query is empty")
    assert not dataset.can_be_evaluated


@pytest.mark.parametrize("name", ["0002.jpg", "cat.png", "0002_c1_000451_03.jpg", "-2_c1s1_000451_03.jpg"])
def test_a_market_name_that_does_not_follow_the_pattern_is_refused(market, picture, name):
    picture(market / "query" / name)
    with pytest.raises(DataError, match=rf"{name} must be named like 0002_c1s1_000451_03.jpg"):
        read_dataset(market)


# --- VeRi-776


def test_veri_lists_give_the_order(veri):
    dataset = read_dataset(veri)
    assert dataset.train.samples[0] == Sample(veri / "image_train" / "0002_c002_00030600_0.jpg", 2, 2, 30600.0)
    assert dataset.train.pids == (2, 1)  # as listed, not sorted
    assert dataset.query.camids == (3,)
    assert dataset.gallery.camids == (3, 19)
    assert dataset.notes == ()


def test_veri_folders_are_listed_where_lists_are_missing(veri):
    for names_file in veri.glob("name_*.txt"):
        names_file.unlink()
    dataset = read_dataset(veri)
    assert dataset.format == "veri776"
    assert dataset.train.pids == (1, 2)


def test_a_listed_veri_image_that_is_missing_is_refused_with_its_line(veri):
    (veri / "name_train.txt").write_text("0002_c002_00030600_0.jpg\n\n0009_c001_00000001_0.jpg\n")
    with pytest.raises(DataError, match=r"name_train.txt line 3 lists '0009_c001_00000001_0.jpg', which is no image"):
        read_dataset(veri)


def test_a_listed_veri_name_that_does_not_follow_the_pattern_is_refused(veri, picture):
    picture(veri / "image_query" / "van.jpg")
    (veri / "name_query.txt").write_text("van.jpg\n")
    with pytest.raises(DataError, match=r"'van.jpg' in .*name_query.txt line 1 must be named like 0002_c002"):
        read_dataset(veri)


def test_veri_images_not_listed_are_noted(veri):
    (veri / "name_test.txt").write_text("0005_c019_00000009_0.jpg\n")
    dataset = read_dataset(veri)
    assert names(dataset.gallery) == ["0005_c019_00000009_0.jpg"]
    assert dataset.notes == (f"1 images in {veri / 'image_test'} passed over: not in name_test.txt",)


def test_a_veri_list_that_is_no_text_is_refused(veri):
    (veri / "name_train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"name_train.txt must be a text file in UTF-8 with one image a line"):
        read_dataset(veri)


def test_a_veri_split_without_a_folder_is_empty(tmp_path, picture):
    picture(tmp_path / "image_test" / "0005_c019_00000009_0.jpg")
    (tmp_path / "image_test" / "list.xml").write_text("")
    dataset = read_dataset(tmp_path)
    assert [len(split) for split in dataset.splits] == [0, 0, 1]
    assert len(dataset.notes) == 4  # two folders, no lists, one entry that is no image


# --- plain folder


def test_a_folder_takes_every_image_below_it_sorted(tmp_path, picture):
    for name in ("b/c/3.png", "a.JPG", "b/2.webp", "z.bmp", "b/1.tiff"):
        picture(tmp_path / name)
    for name in (".hidden.png", ".git/x.png"):
        picture(tmp_path / name)
    (tmp_path / "b" / "notes.txt").write_text("")
    (tmp_path / "report.pdf").write_text("")  # a name that Pillow can write but not read
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    dataset = read_dataset(tmp_path)
    assert dataset.format == "folder"
    assert [str(path.relative_to(tmp_path)) for path in dataset.train.paths] == [
        "a.JPG", "b/1.tiff", "b/2.webp", "b/c/3.png", "z.bmp",
    ]  # fmt: skip
    assert all((s.pid, s.camid, s.timestamp) == (None, None, None) for s in dataset.train)
    assert dataset.notes == (f"3 entries in {tmp_path} passed over: no image by name",)


def test_linked_folders_are_counted_not_followed(tmp_path, picture):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    dataset = read_dataset(tmp_path / "in")
    assert names(dataset.train) == ["a.png"]
    assert dataset.notes == (
        f"1 link to a folder in {tmp_path / 'in'} passed over: links to folders are not followed; "
        "give the folder itself",
    )


@pytest.mark.parametrize("list_images", [images_below, images_in])
def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, list_images):
    with pytest.raises(DataError, match="gone cannot be listed: No such file or directory"):
        list_images(tmp_path / "gone")


# --- manifest


@pytest.fixture
def table(tmp_path, picture):
    """Write a manifest over a.png, b.png, c.png and d.png that lie beside it."""
    for seed, name in enumerate("abcd"):
        picture(tmp_path / f"{name}.png", seed)

    def write(*lines):
        file = tmp_path / "manifest.csv"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
        return file

    return write


def test_a_manifest_gives_all_columns(table, tmp_path):
    file = table(
        "path,pid,camid,timestamp,split",
        f"{tmp_path}/a.png,4,0,1.5,gallery",
        "b.png,-1,1,,gallery",
        "./c.png,4,2,-3,query",
        "d.png,,,,",
    )
    dataset = read_dataset(file)
    assert dataset.gallery.samples == (
        Sample(tmp_path / "a.png", 4, 0, 1.5),
        Sample(tmp_path / "b.png", JUNK_PID, 1, None),
    )
    assert dataset.query.samples == (Sample(tmp_path / "c.png", 4, 2, -3.0),)
    assert dataset.train.samples == (Sample(tmp_path / "d.png"),)
    assert dataset.notes == ()


def test_names_are_numbered_in_sorted_order_over_the_whole_column(table):
    # One cell is no integer, so all are names: "10" < "9" < "zoe"; the camera column stays integers.
    file = table("path,pid,camid,split", "a.png,zoe,7,query", "b.png,9,8,gallery", "c.png,10,7,", "d.png,-1,7,gallery")
    dataset = read_dataset(file)
    assert (dataset.query.pids, dataset.gallery.pids, dataset.train.pids) == ((2,), (1, JUNK_PID), (0,))
    assert dataset.gallery.camids == (8, 7)


def test_camera_names_are_numbered_and_gaps_are_not_known(table):
    dataset = read_dataset(table("path,camid", "a.png,yard", "b.png,gate", "c.png"))
    assert [sample.camid for sample in dataset.train] == [1, 0, None]


def test_unknown_columns_are_noted_and_order_is_free(table):
    dataset = read_dataset(table("colour,pid,path,weather", "red,3,a.png,rain"))
    assert dataset.train.pids == (3,)
    assert dataset.notes == (f"columns of {dataset.root} not used: colour, weather",)


def test_a_quoted_path_may_hold_a_comma(table, picture, tmp_path):
    picture(tmp_path / "e, f.png")
    assert names(read_dataset(table("path,pid", '"e, f.png",1')).train) == ["e, f.png"]


def test_one_image_may_stand_in_two_splits(table):
    dataset = read_dataset(table("path,split", "a.png,query", "a.png,gallery"))
    assert names(dataset.query) == names(dataset.gallery) == ["a.png"]


def test_parquet_gives_the_same_as_csv(table, tmp_path):
    file = tmp_path / "manifest.parquet"
    columns = {
        "path": ["a.png", "b.png", "c.png"],
        "pid": [3.0, float("nan"), 12.0],  # as integers with gaps are often stored
        "camid": [1, 2, None],
        "timestamp": [0.5, None, 2.0],
        "split": ["query", "gallery", None],
        "sunny": [True, False, True],
    }
    parquet.write_table(pa.table(columns), file)
    csv = table("path,pid,camid,timestamp,split", "a.png,3,1,0.5,query", "b.png,,2,,gallery", "c.png,12,,2,")
    dataset = read_dataset(file)
    assert dataset.splits == read_dataset(csv).splits
    assert dataset.notes == (f"columns of {file} not used: sunny",)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,pid", "a.png,1"], "must have a column 'path', got file, pid"),
        ([""], "must have a column 'path', got none"),
        (["path,pid,pid", "a.png,1,2"], "must name each column once, but 'pid' stands there twice"),
        (["path", "a.png", "", "x.png"], r"line 4 names .*x.png, which is no file; paths start from the manifest's"),
        (["path,pid", ",1"], "line 2 has no path"),
        (["path,pid", "a.png,-3"], "line 2 has pid -3, which must be 0 or more"),
        (["path,camid", "a.png,-1"], "line 2 has camid -1, which must be 0 or more, or empty where it is not known"),
        (["path,timestamp", "a.png,noon"], "line 2 has timestamp 'noon', which must be a number or empty"),
        (["path,timestamp", "a.png,nan"], "line 2 has timestamp 'nan'"),
        (
            ["path,split", "a.png,train", "b.png,test"],
            "line 3 has split 'test', which must be one of train, query",
        ),
        (["path,pid", "a.png,1,2"], "line 2 has 3 cells under 2 column names"),
        (["path", "a.png", "b.png", "./a.png"], "line 2 and .* line 4 both name .*a.png in train; keep one of them"),
        (["path", '"a.png'], "cannot be read as a CSV file in UTF-8: unexpected end of data"),
        (["path"], r"there are no images in .* \(read as manifest\)"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_line(table, lines, words):
    with pytest.raises(DataError, match=words):
        read_dataset(table(*lines))


@pytest.mark.parametrize(("name", "words"), [("m.csv", "as a CSV file in UTF-8"), ("m.parquet", "as a Parquet file")])
def test_a_manifest_that_is_something_else_is_refused(tmp_path, name, words):
    file = tmp_path / name
    file.write_bytes(b"\xff\xd8\xff\xe0" * 20)
    with pytest.raises(DataError, match=words):
        read_dataset(file)


# --- real data, where it is there


@pytest.mark.parametrize(
    ("name", "format", "counts"),
    [("pku-reid", "market1501", [640, 68, 476]), ("khoa-vehicles", "veri776", [734, 400, 400])],
)
def test_real_folders_are_read_whole(name, format, counts):
    if not (REAL / name).is_dir():
        pytest.skip("the images are not here")
    dataset = read_dataset(REAL / name)
    assert dataset.format == format
    assert [len(split) for split in dataset.splits] == counts
    assert dataset.can_be_evaluated
