"""Tables of animals as WildlifeDatasets writes them: columns as shipped, and the line of every cell that is wrong."""

from datetime import UTC, datetime

import numpy as np
import pytest

from resight.data import wildlife
from resight.data.decode import decode
from resight.data.formats import FORMATS, detect, read_dataset
from resight.data.pixels import open_pixels
from resight.errors import DataError
from resight.types import Sample


@pytest.fixture
def table(tmp_path, picture):
    """Write metadata.csv over a.jpg to f.jpg in a folder of images beside it."""
    for seed, name in enumerate("abcdef"):
        picture(tmp_path / "images" / f"{name}.jpg", seed, height=20, width=30)

    def write(*lines):
        (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path

    return write


def names(split):
    return [path.stem for path in split.paths]


def seconds(*moment):
    return datetime(*moment, tzinfo=UTC).timestamp()


# --- as shipped


def test_a_table_as_wildlife_datasets_writes_it(table):
    root = table(
        "image_id,identity,path,bbox,date,orientation,species,segmentation,camera,encounter,original_split",
        '0,zuri,images/a.jpg,"[3.0, 4.2, 10.5, 9.9]",2020-05-31 06:30:00,left,lynx,"[1, 2, 3, 4]",gate,7,train',
        "1,amur,images/b.jpg,,2020/05/31,right,lynx,,barn,,train",
        "2,unknown,images/c.jpg,,,,,,,,train",
    )
    dataset = read_dataset(root)
    assert dataset.format == detect(root) == "wildlife"
    # amur 0, zuri 1; barn 0, gate 1; 3 to 13.5 and 4.2 to 14.1 pixels: 3 to 14, as ties go to even, and 4 to 14.
    assert dataset.train.samples == (
        Sample(root / "images" / "a.jpg", 1, 1, seconds(2020, 5, 31, 6, 30), None, (3, 4, 11, 10)),
        Sample(root / "images" / "b.jpg", 0, 0, seconds(2020, 5, 31)),
        Sample(root / "images" / "c.jpg"),
    )
    assert (len(dataset.query), len(dataset.gallery)) == (0, 0)
    assert dataset.notes == (
        "columns not used: orientation, species, segmentation, encounter",
        "encounter not taken for tracklets, since several animals may be in one; where each value shows one animal by "
        "one camera, name the column tracklet",
        "1 dates have no time of day, so that one camera's images of a day seem to be of one moment; "
        "leave miner.same_time off",
    )


def test_wildlifereid_10k_has_train_and_test_that_share_identities(table):
    root = table(
        "identity,path,date,orientation,species,split,dataset",
        "ATRW_1,images/a.jpg,2019-01-02,,tiger,train,ATRW",
        "ATRW_1,images/b.jpg,,,tiger,test,ATRW",
        "ATRW_1,images/c.jpg,,,tiger,test,ATRW",
        "CTai_5,images/d.jpg,,,chimpanzee,test,CTai",
        "CTai_4,images/e.jpg,,,chimpanzee,train,CTai",
        "unknown,images/f.jpg,,,chimpanzee,test,CTai",
    )
    dataset = read_dataset(root)
    assert names(dataset.train) == ["a", "e"]
    assert names(dataset.query) == names(dataset.gallery) == ["b", "c", "d"]
    assert (dataset.train.pids, dataset.query.pids) == ((0, 1), (0, 0, 2))
    assert dataset.can_be_evaluated
    assert dataset.protocol.name == "wildlife"
    assert dataset.protocol.cameras == "none"
    assert dataset.notes == (
        "columns not used: orientation, species, dataset",
        "4 test images are both query and gallery images; none answers itself",
        "1 images of unknown identity left out of query",
        "1 images of unknown identity left out of gallery",
        "1 of 2 identities of query and gallery are in train too: the data are meant so, but scores are of animals "
        "that the model has seen",
    )


def test_animalclef_has_database_and_query_whose_identities_are_kept_back(table):
    root = table(
        "image_id,identity,path,date,orientation,species,split,dataset",
        "0,LynxID2025_lynx_37,images/a.jpg,,right,lynx,database,LynxID2025",
        "1,LynxID2025_lynx_49,images/b.jpg,,left,lynx,database,LynxID2025",
        "2,,images/c.jpg,,left,lynx,query,LynxID2025",
    )
    dataset = read_dataset(root)
    assert names(dataset.gallery) == ["a", "b"]
    assert dataset.query.samples == (Sample(root / "images" / "c.jpg"),)
    assert not dataset.can_be_evaluated
    assert len(dataset.train) == 0


def test_a_table_without_splits_is_all_for_training(table):
    dataset = read_dataset(table("image_id,identity,path", "7,x,images/a.jpg", "8,y,images/b.jpg"))
    assert [len(split) for split in dataset.splits] == [2, 0, 0]
    assert dataset.train.pids == (0, 1)
    assert dataset.notes == ()


def test_split_goes_before_original_split_and_other_values_are_noted(table):
    lines = ["a,images/a.jpg,train,test", "b,images/b.jpg,Valid,test", "c,images/c.jpg,,test", "d,images/d.jpg,test,"]
    dataset = read_dataset(table("identity,path,split,original_split", *lines))
    assert (names(dataset.train), names(dataset.query)) == (["a", "b", "c"], ["d"])
    assert dataset.notes == (
        "columns not used: original_split",
        "1 test images are both query and gallery images; none answers itself",
        "1 validation images are training images",
        "1 images without split are training images",
    )


def test_the_table_itself_is_read_when_asked_for(table):
    file = table("image_id,identity,path", "0,x,images/a.jpg") / "metadata.csv"
    dataset = read_dataset(file, "wildlife")
    assert dataset.train.samples == (Sample(file.parent / "images" / "a.jpg", 0),)
    assert read_dataset(dataset.root, dataset.format) == dataset
    assert detect(file) == "manifest"


def test_several_animals_of_one_photo_are_images_of_their_own(table, tmp_path):
    root = table(
        "image_id,identity,path,bbox",
        '0,x,images/a.jpg,"[0, 0, 10, 8]"',
        '1,y,images/a.jpg,"(12.0, 5.0, 40.0, 8.0)"',  # sticks out to the right
        '2,z,images/a.jpg,"[-3.  2. 13.  8.]"',  # as an array is printed; and to the left
    )
    dataset = read_dataset(root)
    assert [sample.box for sample in dataset.train] == [(0, 0, 10, 8), (12, 5, 40, 8), (0, 2, 10, 8)]
    pixels = decode(root / "images" / "a.jpg")
    opened = open_pixels(dataset.train.pictures, (8, 10), tmp_path / "cache").pixels
    assert np.array_equal(opened[0], pixels[:8, :10])
    assert np.array_equal(opened[2], pixels[2:10, :10])


@pytest.mark.parametrize(
    ("date", "wanted"),
    [
        ("2020-05-31", seconds(2020, 5, 31)),
        ("2020/05/31", seconds(2020, 5, 31)),
        ("2020/05/31 23:59:58", seconds(2020, 5, 31, 23, 59, 58)),
        ("2020-05-31T12:00:00+02:00", seconds(2020, 5, 31, 10)),
        ("2020-05", seconds(2020, 5, 1)),
        ("2020", seconds(2020, 1, 1)),
        ("2018.0", seconds(2018, 1, 1)),  # years in a column with gaps
        ("1969-12-31 23:59:59", -1.0),
        ("NaT", None),
        ("nan", None),
        ("", None),
    ],
)
def test_dates_are_seconds_in_utc(table, date, wanted):
    assert read_dataset(table("identity,path,date", f"x,images/a.jpg,{date}")).train.samples[0].timestamp == wanted


@pytest.mark.parametrize("column", ["video", "encounter", "encounter_id"])
@pytest.mark.parametrize("herd", ["unknown", "x", ""])
def test_videos_and_encounters_are_no_tracklets_whatever_the_identities(table, column, herd):
    dataset = read_dataset(table(f"identity,path,{column}", *(f"{herd},images/{name}.jpg,herd1" for name in "abcdef")))
    assert dataset.train.tracklets == (-1,) * 6
    assert dataset.notes == (
        f"columns not used: {column}",
        f"{column} not taken for tracklets, since several animals may be in one; where each value shows one animal by "
        "one camera, name the column tracklet",
    )


def test_a_column_of_that_name_gives_tracklets(table):
    lines = [
        "x,images/a.jpg,v9,1",
        "x,images/b.jpg,v9,1",
        "y,images/c.jpg,v10,1",
        "unknown,images/d.jpg,v9,1",
        "y,images/e.jpg,,1",
    ]
    dataset = read_dataset(table("identity,path,tracklet,video", *lines))
    assert dataset.train.tracklets == (1, 1, 0, 1, -1)  # v10 is before v9


def test_each_camera_has_its_own_tracklets(table):
    dataset = read_dataset(table("identity,path,tracklet,camera", "x,images/a.jpg,1,p", "y,images/b.jpg,1,q"))
    assert dataset.train.tracklets == (0, 1)
    assert "stand in several cameras" in dataset.notes[0]


@pytest.mark.parametrize(("text", "camids"), [("1_11,11_1", (1, 0)), ("7,-1", (1, 0)), ("12,9", (0, 1))])
def test_cameras_are_numbered_by_name_be_they_integers_or_not(table, text, camids):
    one, two = text.split(",")
    dataset = read_dataset(table("identity,path,camera", f"x,images/a.jpg,{one}", f"x,images/b.jpg,{two}"))
    assert dataset.train.camids == camids  # "-" and digits sort before "_"


@pytest.mark.parametrize("word", ["val", "Valid", "validation"])
def test_validation_images_are_training_images_by_any_name(table, word):
    dataset = read_dataset(table("identity,path,split", f"x,images/a.jpg,{word}", "x,images/b.jpg,train"))
    assert names(dataset.train) == ["a", "b"]
    assert dataset.notes == ("1 validation images are training images",)


# --- recognising


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("image_id,identity,path", True),
        ("\ufeffpath,identity", True),
        ("image_id,individual,path", False),
        ("identity;path", False),
        ("", False),
    ],
)
def test_a_folder_is_recognised_by_the_header_of_its_table(table, header, found):
    assert wildlife.matches(table(header)) == found


def test_other_folders_and_files_are_not_recognised(tmp_path, picture):
    (tmp_path / "metadata.csv").write_bytes(b"\xff\xfe\x00")
    assert not any(FORMATS["wildlife"].matches(path) for path in (tmp_path, tmp_path / "metadata.csv", tmp_path / "no"))


# --- broken tables


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["image_id,path", "0,images/a.jpg"], "metadata.csv must have a column 'identity', got image_id, path"),
        (["identity,file", "x,images/a.jpg"], "metadata.csv must have a column 'path', got identity, file"),
        (["identity,path,path", "x,a,b"], "metadata.csv must name each column once, but 'path' stands there twice"),
        (["identity,path", "x,images/a.jpg,1"], "line 2 has 3 cells under 2 column names; put quotes around"),
        (["identity,path", "x,"], "line 2 has no path; fill it or take the row out"),
        (["identity,path", "x,images/a.jpg", "", "y,images/z.jpg"], r"line 4 names .*z.jpg, which is no file; paths"),
        (["identity,path", "x,images"], r"line 2 names .*images, which is no file"),
        (["identity,path", "x,images/" + "y" * 300], r"line 2 names .*yyy, which is no file; paths start from the tab"),
        (["identity,path,date", "x,images/a.jpg,2018.5"], "line 2 has date '2018.5', which must be like 2020-05-31"),
        (
            ["identity,path,tracklet", "x,images/a.jpg,t", "unknown,images/b.jpg,t", "y,images/c.jpg,t"],
            "metadata.csv line 2 and .*metadata.csv line 4 give tracklet t identity x and y; give each tracklet its",
        ),
        (["identity,path,bbox", 'x,images/a.jpg,"[0, 0, 1e20, 4]"'], r"line 2 has bbox .* is larger than any image"),
        (["identity,path,date", "x,images/a.jpg,31.5.2020"], "line 2 has date '31.5.2020', which must be like 2020-05"),
        (["identity,path,date", "x,images/a.jpg,2020-02-30"], "line 2 has date '2020-02-30', which must be like"),
        (["identity,path,bbox", 'x,images/a.jpg,"[1, 2, 3]"'], r"line 2 has bbox '\[1, 2, 3\]', which must be four"),
        (["identity,path,bbox", 'x,images/a.jpg,"[1, 2, w, 4]"'], "line 2 has bbox .* must be four numbers"),
        (["identity,path,bbox", 'x,images/a.jpg,"[1, 2, inf, 4]"'], "line 2 has bbox .* must be four numbers"),
        (["identity,path,bbox", 'x,images/a.jpg,"[1, nan, 3, 4]"'], "line 2 has bbox .* must be four numbers"),
        (["identity,path,bbox", 'x,images/a.jpg,"[1, 2, 0, 4]"'], "line 2 has bbox .* holds no pixel; mend it"),
        (["identity,path,bbox", 'x,images/a.jpg,"[-9, 2, 9, 4]"'], "line 2 has bbox .* holds no pixel; mend it"),
        (
            ["identity,path,split", "x,images/a.jpg,holdout"],
            "line 2 has split 'holdout', which must be one of train, val",
        ),
        (
            ["image_id,identity,path", "4,x,images/a.jpg", "5,x,images/b.jpg", "4,x,images/c.jpg"],
            r"metadata.csv line 2 and .*metadata.csv line 4 both have image_id '4'; keep one of them",
        ),
        (
            ["identity,path", "x,images/a.jpg", "y,./images/a.jpg"],
            r"metadata.csv line 2 and .*metadata.csv line 3 both name .*a.jpg; keep one of them",
        ),
        (
            ["identity,path,bbox,split", *['x,images/a.jpg,"[1, 2, 3, 4]",test'] * 2],
            r"line 2 and .* line 3 both name .*a.jpg",
        ),
        (["identity,path", '"x,images/a.jpg'], "metadata.csv cannot be read as a CSV file in UTF-8: unexpected end"),
        (["identity,path"], r"there are no images in .* \(read as wildlife\)$"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(table, lines, words):
    with pytest.raises(DataError, match=words):
        read_dataset(table(*lines), "wildlife")


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"metadata.csv cannot be read as a CSV file in UTF-8: .*No such file"):
        read_dataset(tmp_path, "wildlife")
