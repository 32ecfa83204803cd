"""The manifest's columns beyond identity, camera and split: times, tracklets, boxes, tests, protocol."""

import csv
from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from pyarrow import parquet

from resight.data.convert import write_manifest
from resight.data.formats import read_dataset
from resight.data.numbering import number_names, whole_number
from resight.errors import DataError
from resight.protocols import GENERAL, PROTOCOLS
from resight.types import TestSet

NAMES = "abcdef"


@pytest.fixture
def table(tmp_path, picture):
    """Write a manifest over a.png … f.png that lie beside it; columns separated by blanks in the head, commas below."""
    for seed, name in enumerate(NAMES):
        picture(tmp_path / f"{name}.png", seed)

    def write(head, *rows):
        file = tmp_path / "manifest.csv"
        file.write_text("\n".join([head.replace(" ", ","), *rows]) + "\n")
        return file

    return write


# --- numbers for names


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        ([], {}),
        (["7", "007", "7.0", "-3"], {"7": 7, "007": 7, "7.0": 7, "-3": -3}),
        (["9", "10", "zoe"], {"10": 0, "9": 1, "zoe": 2}),
        (["7.5", "7"], {"7": 0, "7.5": 1}),
        (["3_17", "31_7"], {"31_7": 0, "3_17": 1}),  # Python takes both for 317
        (["+1", "1"], {"+1": 0, "1": 1}),
        (["１", "1"], {"1": 0, "１": 1}),  # a full-width digit
        ([" 1", "1"], {" 1": 0, "1": 1}),
        (["1.", "1"], {"1": 0, "1.": 1}),
        (["b", "-1", "-1.0", "a"], {"a": 0, "b": 1, "-1": -1, "-1.0": -1}),
    ],
)
def test_names_are_numbered_only_where_not_all_are_integers(texts, numbers):
    assert number_names(texts, junk=True) == numbers


def test_minus_one_is_a_name_like_others_where_there_is_no_junk():
    assert number_names(["-1", "a"]) == {"-1": 0, "a": 1}


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("-1.0", -1), ("1.5", None), ("x", None), (".", None), ("1e3", None)]
)
def test_whole_numbers(text, number):
    assert whole_number(text) == number


# --- times


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-01T12:00:00", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("2024-05-01 12:00:00.25", datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("2024-05-01T12:00:00+02:00", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("2024-05-01T12:00:00Z", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("1969-12-31T23:59:59", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_iso_times_are_seconds_since_1970_in_utc(table, text, moment):
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    assert read_dataset(table("path timestamp", f"a.png,{text}")).train.timestamps == (expected,)


def test_numbers_stay_as_they_are_beside_iso_times(table):
    dataset = read_dataset(table("path timestamp", "a.png,1970-01-02", "b.png,2024", "c.png, 1e3 ", "d.png"))
    assert [sample.timestamp for sample in dataset.train] == [86_400.0, 2024.0, 1000.0, None]


def test_parquet_times_of_every_kind_are_seconds(table, tmp_path):
    table("path", "a.png")
    moment = datetime(2024, 5, 1, 12)
    seconds = moment.replace(tzinfo=UTC).timestamp()
    east = timezone(timedelta(hours=2))
    for column, expected in (
        (pa.array([moment], pa.timestamp("s")), seconds),
        (pa.array([moment], pa.timestamp("ns")), seconds),
        (pa.array([moment.replace(tzinfo=east)], pa.timestamp("ms", "+02:00")), seconds - 7200),
        (pa.array([date(2024, 5, 1)]), seconds - 43_200),
        (pa.array([0.1 + 0.2]), 0.1 + 0.2),
    ):
        file = tmp_path / "m.parquet"
        parquet.write_table(pa.table({"path": ["a.png"], "timestamp": column}), file)
        assert read_dataset(file).train.timestamps == (expected,), column.type


# --- tracklets and boxes


def test_tracklets_are_integers_or_numbered_names(table):
    dataset = read_dataset(table("path tracklet", "a.png,12", "b.png,3", "c.png,"))
    assert dataset.train.tracklets == (12, 3, -1)
    dataset = read_dataset(table("path tracklet", "a.png,yard-2", "b.png,gate-1", "c.png,yard-2"))
    assert dataset.train.tracklets == (1, 0, 1)


@pytest.mark.parametrize("column", ["pid", "camid", "tracklet"])
def test_names_of_digits_and_underscores_are_not_joined(table, column):
    dataset = read_dataset(table(f"path {column}", "a.png,1_11", "b.png,11_1"))
    one, two = dataset.train
    assert (getattr(one, column), getattr(two, column)) == (1, 0)  # digits sort before "_"


def test_a_tracklet_with_unknown_identity_in_some_rows_is_whole(table):
    file = table("path pid camid tracklet", "a.png,,1,5", "b.png,3,,5", "c.png,3,1,5", "d.png,4,2,6")
    assert read_dataset(file).train.tracklets == (5, 5, 5, 6)


def test_trackers_that_count_anew_in_each_camera_are_told_apart(table):
    rows = ("a.png,1,1,5,", "b.png,2,2,5,", "c.png,1,1,5,query", "d.png,3,1,6,", "e.png,3,,6,", "f.png,2,2,,")
    dataset = read_dataset(table("path pid camid tracklet split", *rows))
    # By camera and number: (unknown, 6), (1, 5), (1, 6), (2, 5).
    assert dataset.train.tracklets == (1, 3, 2, 0, -1)
    assert dataset.query.tracklets == (1,)
    assert any("stand in several cameras" in note for note in dataset.notes)


def test_boxes_are_read_and_may_stick_out(table):
    dataset = read_dataset(table("left path top width height", "1,a.png,2,3,4", ",b.png", "-5,c.png,-6.0,7,8"))
    assert [sample.box for sample in dataset.train] == [(1, 2, 3, 4), None, (-5, -6, 7, 8)]


def test_one_file_may_stand_in_a_split_with_several_boxes(table):
    head = "path left top width height split"
    dataset = read_dataset(table(head, "a.png,0,0,2,2,", "a.png,0,0,2,3,", "a.png", "a.png,0,0,2,2,query"))
    assert [len(split) for split in dataset.splits] == [3, 1, 0]
    with pytest.raises(DataError, match=r"line 2 and .* line 4 both name .*a.png with box 0, 0, 2, 2 in train; keep"):
        read_dataset(table(head, "a.png,0,0,2,2", "a.png,0,0,2,3", "./a.png,0,0,2.0,2"))


# --- tests and protocol


def test_tests_pick_positions_and_an_empty_cell_is_all_of_them(table):
    file = table(
        "path split tests",
        "a.png,query,day;night",
        "b.png,train,",
        "c.png,query, night ",
        "d.png,gallery,",
        "e.png,gallery,day night day",
        "f.png,gallery,night",
    )
    dataset = read_dataset(file)
    # The queries of night are a and c, that is all: None. The gallery of day is d (all tests) and e.
    assert dataset.tests == (TestSet("day", (0,), (0, 1)), TestSet("night", None, None))


def test_tests_stand_in_order_of_appearance_but_sizes_smallest_first(table):
    rows = [
        "a.png,query,{x} {y}",
        "b.png,gallery,{x}",
        "c.png,gallery,{x};{y}",
    ]
    for x, y, order in (
        ("b", "a", ["b", "a"]),
        ("large", "small", ["small", "large"]),
        ("2400", "800", ["800", "2400"]),
        ("large", "night", ["large", "night"]),
    ):
        dataset = read_dataset(table("path split tests", *(row.format(x=x, y=y) for row in rows)))
        assert [test.name for test in dataset.tests] == order


def test_a_manifest_without_tests_has_the_one_of_every_data_set(table):
    assert read_dataset(table("path split", "a.png,query", "b.png,gallery")).tests == (TestSet(),)
    assert read_dataset(table("path split tests", "a.png,query", "b.png,gallery,")).tests == (TestSet(),)


def test_the_protocol_is_taken_from_the_rows_that_have_it(table):
    assert (
        read_dataset(table("path protocol", "a.png,", "b.png,vehicleid", "c.png,vehicleid")).protocol
        == (PROTOCOLS["vehicleid"])
    )
    assert read_dataset(table("path protocol", "a.png", "b.png")).protocol is GENERAL


def test_parquet_gives_the_same_as_csv_in_every_column(table, tmp_path):
    rows = [
        ("a.png", "zoe", 1, 0.1, "t1", 1, 2, 3, 4, "query", "small large", "vehicleid"),
        ("b.png", None, None, None, None, None, None, None, None, None, None, None),
        ("c.png", "zoe", 2, -7.25, "t2", -1, 0, 30, 40, "gallery", "large", "vehicleid"),
        ("d.png", "-1", 2, 1e-9, None, None, None, None, None, "gallery", None, None),
    ]
    head = "path pid camid timestamp tracklet left top width height split tests protocol"
    file = table(head, *(",".join("" if cell is None else str(cell) for cell in row) for row in rows))
    other = tmp_path / "m.parquet"
    columns = dict(zip(head.split(), map(list, zip(*rows, strict=True)), strict=True))
    columns["pid"] = pa.array(columns["pid"]).dictionary_encode()  # as tables of categories are stored
    parquet.write_table(pa.table(columns), other)
    one, two = read_dataset(file), read_dataset(other)
    assert (one.splits, one.tests, one.protocol, one.notes) == (two.splits, two.tests, two.protocol, two.notes)
    assert one.gallery.samples[0].box == (-1, 0, 30, 40) and one.gallery.samples[0].timestamp == -7.25


# --- what is refused

BOX = "path left top width height"


@pytest.mark.parametrize(
    ("head", "rows", "words"),
    [
        ("path timestamp", ["a.png,2024-13-01"], "line 2 has timestamp '2024-13-01', which must be a number or empty"),
        ("path timestamp", ["a.png,inf"], "line 2 has timestamp 'inf'"),
        ("path tracklet", ["a.png,3", "b.png,-1"], "line 3 has tracklet -1, which must be 0 or more, or empty"),
        (
            "path pid tracklet",
            ["a.png,zoe,t", "b.png,,t", "c.png,anna,t"],
            "a tracklet shows one identity in one camera, but .* line 2 and .* line 4 give tracklet t pid zoe and an",
        ),
        ("path pid", ["a.png,1", f"b.png,{2**63}"], "line 3 has pid 9223372036854775808, which must be at most 92233"),
        (
            "path camid",
            ["a.png," + "9" * 5000],
            r"line 2 has camid 9{37}\.\.\., which must be at most 9223372036854775",
        ),
        ("path tracklet", ["a.png,12345678901234567890"], "line 2 has tracklet 12345678901234567890, which must be at"),
        (BOX, ["a.png,1,2,3,12345678901234567890"], "line 2 has height 12345678901234567890, which must be at most"),
        (BOX, ["a.png,-12345678901234567890,2,3,4"], "line 2 has left -12345678901234567890, which must be at most"),
        ("path", ["a.png", "x" * 300 + ".png"], r"line 3 names .*xxx.png, which is no file; paths start from the man"),
        ("path", ["a.png", "x" * 300 + "/a.png"], r"line 3 names .*xxx/a.png, which is no file"),
        ("path identity", ["a.png,x"], "must have a column pid .*, as it has identity; read it with --format wildlife"),
        ("path identity original_split", ["a.png,x,test"], "as it has identity and original_split; read it with"),
        ("path original_split", ["a.png,test"], "as it has original_split; .* or name these columns pid and split"),
        (BOX, ["a.png,1,2,3,4", "b.png,1,,3,"], "line 3 has no top, height; a box needs left, top, width and height"),
        ("path left top", ["a.png,1,2"], "line 2 has no width, height; a box needs"),
        (BOX, ["a.png,1,2,0,4"], "line 2 has width '0', which must be a whole number of pixels, 1 or more"),
        (BOX, ["a.png,1,2.5,3,-4"], "line 2 has top '2.5', which must be a whole number of pixels$"),
        ("path tests", ["a.png,small"], "line 2 is a training image and takes part in no test, but has tests 'small'"),
        (
            "path split tests",
            ["a.png,query,day", "b.png,gallery,day", "c.png,gallery,nigth"],
            "line 4 names the test 'nigth', which must have query rows too, and no query row takes part in it",
        ),
        (
            "path split tests",
            ["a.png,query,day night", "b.png,gallery,day"],
            "line 2 names the test 'night', which must have gallery rows too",
        ),
        (
            "path protocol",
            ["a.png", "b.png,vehicelid"],
            "line 3: no protocol named 'vehicelid'; did you mean 'vehicleid'",
        ),
        (
            "path protocol",
            ["a.png,general", "b.png", "c.png,market1501"],
            "has one protocol, but .* line 2 names 'general' and .* line 4 'market1501'; keep one",
        ),
        ("path tests tests", ["a.png,,"], "must name each column once, but 'tests' stands there twice"),
        ("path", ["a.png", "b.png/"], r"line 3 names .*b.png, which is no file"),
        ("path", ["a.png", ".."], r"line 3 names .*, which is no file"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(table, head, rows, words):
    with pytest.raises(DataError, match=words):
        read_dataset(table(head, *rows))


def test_a_parquet_column_of_another_kind_is_refused(table, tmp_path):
    table("path", "a.png")
    parquet.write_table(pa.table({"path": ["a.png"], "pid": [[1, 2]]}), tmp_path / "m.parquet")
    with pytest.raises(DataError, match=r"m.parquet cannot be read as a Parquet file: "):
        read_dataset(tmp_path / "m.parquet")


def test_lines_are_counted_through_quoted_cells_and_gaps(table, picture, tmp_path):
    picture(tmp_path / "x\ny.png")
    with pytest.raises(DataError, match="line 6 has pid -3"):
        read_dataset(table("path pid", '"x\ny.png",1', "", "", "a.png,-3"))


def test_a_table_with_pid_may_have_a_column_identity_too(table):
    dataset = read_dataset(table("path pid identity", "a.png,4,x"))
    assert dataset.train.pids == (4,)


def test_the_largest_number_of_64_bits_is_read_and_written_again(table, tmp_path):
    dataset = read_dataset(table("path pid", f"a.png,{2**63 - 1}"))
    write_manifest(dataset, tmp_path / "m.parquet")
    assert read_dataset(tmp_path / "m.parquet").train.pids == (2**63 - 1,)


# --- many rows


def test_a_listing_and_single_looks_find_the_same_files(tmp_path, picture):
    """One folder is asked for few files and one for many; links count as what they lead to, and folders do not."""
    image = picture(tmp_path / "image.png")
    for folder, count in (("few", 2), ("many", 40)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            (tmp_path / folder / f"{i}.png").symlink_to(image)
        (tmp_path / folder / "gone.png").symlink_to(tmp_path / "nowhere")
        (tmp_path / folder / "folder.png").mkdir()
    names = [f"few/{i}.png" for i in range(2)] + [f"./few/../many/{i}.png" for i in range(40)]
    file = tmp_path / "m.csv"

    def read(extra):
        with file.open("w", newline="") as out:
            csv.writer(out).writerows([["path"], *([name] for name in names), *([name] for name in extra)])
        return read_dataset(file)

    expected = [tmp_path / "few" / f"{i}.png" for i in range(2)] + [tmp_path / "many" / f"{i}.png" for i in range(40)]
    assert list(read([]).train.paths) == expected
    for name in ("few/gone.png", "many/gone.png", "few/folder.png", "./few/../many/folder.png", "no/folder.png"):
        with pytest.raises(DataError, match=rf"line 44 names .*{name.rsplit('/', maxsplit=1)[1]}, which is no file"):
            read([name])
