"""A data set written as a manifest comes back the same; files are there whole or not at all; crops are cut once."""

import dataclasses
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from resight import cli
from resight.data import convert, cutting
from resight.data.convert import write_manifest
from resight.data.cutting import cut_crops
from resight.data.decode import decode
from resight.data.digests import content_digests
from resight.data.formats import read_dataset
from resight.errors import ConfigError, DataError
from resight.protocols import PROTOCOLS, EvaluationProtocol
from resight.types import Crop, Dataset, Sample, Split, TestSet

KINDS = (".csv", ".parquet")


def same(one, other):
    """Compare all but root, format and notes; a test of all images may list them or not."""

    def parts(dataset):
        tests = [
            (
                test.name,
                test.query or tuple(range(len(dataset.query))),
                test.gallery or tuple(range(len(dataset.gallery))),
            )
            for test in dataset.tests
        ]
        return dataset.splits, tests, dataset.protocol

    return parts(one) == parts(other)


@pytest.fixture
def frames(tmp_path, picture):
    """A data set of boxes in two files of equal name, of a third's box that sticks out, and of a whole image."""
    one, two = (
        picture(tmp_path / "frames" / cam / "1.png", seed, height=40, width=60) for seed, cam in enumerate("ab")
    )
    whole = picture(tmp_path / "frames" / "whole.png", 3)
    train = (Sample(one, 1, 0, 0.5, 4, (0, 0, 10, 20)), Sample(two, 2, 1, None, None, (50, 30, 30, 30)), Sample(whole))
    query = (Sample(one, 7, 0, 1.5, 5, (5, 5, 8, 9)),)
    gallery = (Sample(one, 7, 0, 1.5, 5, (5, 5, 8, 9)), Sample(two, 7, 1, 2.5, 6, (-3, -2, 9, 9)))
    splits = Split("train", train), Split("query", query), Split("gallery", gallery)
    return Dataset(tmp_path / "frames", "mot", *splits)


# --- round trips


def draw(chance, files):
    """Draw a data set in which anything that a manifest can say may occur."""
    facts = {}  # a tracklet has one identity and one camera

    def sample(path, junk):
        tracklet = chance.choice([None, None, chance.randrange(8)])
        pid, camid = chance.choice([None, 0, 3, 10**12]), chance.choice([None, 0, 7])
        if tracklet is not None:
            pid, camid = facts.setdefault(tracklet, (pid, camid))
        elif junk and chance.random() < 0.2:
            pid = -1
        time = chance.choice([None, 0.0, chance.uniform(-1e9, 1e9), 1 / 3, 1e-300, 1_714_564_800.25])
        box = chance.choice([None, tuple(chance.randint(*ends) for ends in ((-5, 9), (-5, 9), (1, 9), (1, 9)))])
        return Sample(path, pid, camid, time, tracklet, box)

    def split(name):
        drawn = [sample(chance.choice(files), name == "gallery") for _ in range(chance.randrange(1, 9))]
        return Split(name, tuple({(s.path, s.box): s for s in drawn}.values()))

    train, query, gallery = (split(name) for name in ("train", "query", "gallery"))
    names = chance.choice([[], ["day", "night"], ["small", "medium", "large"], ["sole"]])
    tests = (TestSet(),)
    if names:
        # Nested, so that the first row of each split names them in order, and sizes grow.
        nested = [sorted(chance.sample(range(len(gallery)), chance.randrange(1, len(gallery) + 1))) for _ in names]
        nested = [*sorted(nested[:-1], key=len), range(len(gallery))]
        tests = tuple(TestSet(name, None, tuple(of_gallery)) for name, of_gallery in zip(names, nested, strict=True))
    protocol = chance.choice(list(PROTOCOLS.values()))
    return Dataset(Path("drawn"), "drawn", train, query, gallery, ("lost",), tests, protocol)


@pytest.mark.parametrize("kind", KINDS)
def test_any_data_set_comes_back_the_same(tmp_path, picture, kind):
    odd = ["a.png", " b .png", "c,d.png", 'e"f.png', "g\nh.png", "ä#;.png", "deep/er/i.png", "../j.png", "-1.png"]
    files = [Path(os.path.normpath(picture(tmp_path / "in" / name))) for name in odd]
    for seed in range(150):
        chance = random.Random(seed)
        dataset = draw(chance, files)
        file = tmp_path / chance.choice(["in", "in/deep", "out", "."]) / f"m{kind}"
        file.parent.mkdir(exist_ok=True)
        rows = write_manifest(dataset, file, overwrite=True, absolute=chance.random() < 0.3)
        assert rows == sum(map(len, dataset.splits))
        back = read_dataset(file)
        assert same(back, dataset), seed
        assert (back.root, back.format, back.notes) == (file, "manifest", ())


def market(root, picture):
    names = (
        "bounding_box_train/0002_c1s1_000451_03.jpg",
        "query/0003_c2s1_000012_00.jpg",
        "bounding_box_test/0003_c1s2_000500_01.jpg",
        "bounding_box_test/-1_c3s2_000501_02.jpg",
    )
    for seed, name in enumerate(names):
        picture(root / name, seed)
    return "market1501"


def folder(root, picture):
    picture(root / "a.jpg")
    picture(root / "x" / "b.jpg")
    return "folder"


def identities(root, picture):
    for name in ("train/anna/1.jpg", "test/bert/1.jpg", "test/bert/2.jpg"):
        picture(root / name)
    return "folder-per-identity"


def vehicles(root, picture):
    """VehicleID with its three tests, the smaller in the larger."""
    for number in range(6):
        picture(root / "image" / f"{number:07}.jpg", number)
    lists = {
        "train_list": ["0000000 1"],
        "test_list_800": ["0000001 2", "0000002 2"],
        "test_list_1600": ["0000002 2", "0000003 2", "0000001 2"],
        "test_list_2400": ["0000001 2", "0000002 2", "0000004 3", "0000005 3"],
    }
    for name, lines in lists.items():
        (root / "train_test_split").mkdir(exist_ok=True)
        (root / "train_test_split" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return "vehicleid"


def tracks(root, picture):
    """Two frames of a MOT Challenge sequence with two people in each."""
    for frame in (1, 2):
        picture(root / "MOT17-02-FRCNN" / "img1" / f"{frame:06}.jpg", frame, height=48, width=64)
    (root / "MOT17-02-FRCNN" / "gt").mkdir()
    (root / "MOT17-02-FRCNN" / "gt" / "gt.txt").write_text(
        "1,1,5,5,10,20,1,1,1\n1,2,20,5,10,20,1,1,1\n2,1,6,5,10,20,1,1,1\n2,2,60,30,10,20,1,1,1\n"
    )
    (root / "MOT17-02-FRCNN" / "seqinfo.ini").write_text(
        "[Sequence]\nname=MOT17-02-FRCNN\nimDir=img1\nframeRate=30\nseqLength=2\nimWidth=64\nimHeight=48\nimExt=.jpg\n"
    )
    return "mot"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [market, folder, identities, vehicles, tracks])
def test_every_layout_comes_back_the_same(tmp_path, picture, make, kind):
    format = make(tmp_path / "data", picture)
    dataset = read_dataset(tmp_path / "data", format)
    write_manifest(dataset, tmp_path / f"m{kind}")
    back = read_dataset(tmp_path / f"m{kind}")
    assert same(back, dataset)
    again = tmp_path / f"again{kind}"
    write_manifest(back, again)
    assert again.read_bytes() == (tmp_path / f"m{kind}").read_bytes()


# --- what is written


def test_only_columns_with_something_in_them_are_written(tmp_path, picture):
    folder(tmp_path, picture)
    write_manifest(read_dataset(tmp_path), tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text() == "path,split\na.jpg,train\nx/b.jpg,train\n"


def test_boxes_times_and_tests_as_text(tmp_path, frames):
    named = dataclasses.replace(frames, tests=(TestSet("small", None, (0,)), TestSet("all")))
    write_manifest(named, tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().splitlines()[:6] == [
        "path,pid,camid,timestamp,tracklet,left,top,width,height,split,tests",
        "frames/a/1.png,1,0,0.5,4,0,0,10,20,train,",
        "frames/b/1.png,2,1,,,50,30,30,30,train,",
        "frames/whole.png,,,,,,,,,train,",
        "frames/a/1.png,7,0,1.5,5,5,5,8,9,query,small all",
        "frames/a/1.png,7,0,1.5,5,5,5,8,9,gallery,small all",
    ]


def test_parquet_columns_have_the_types_of_what_they_hold(tmp_path, frames):
    write_manifest(frames, tmp_path / "m.parquet")
    schema = parquet.read_schema(tmp_path / "m.parquet")
    assert {str(schema.field(name).type) for name in ("pid", "camid", "tracklet", "left", "height")} == {"int64"}
    assert str(schema.field("timestamp").type) == "double"


def test_a_manifest_moves_with_its_images_unless_paths_are_absolute(tmp_path, picture):
    folder(tmp_path / "one", picture)
    write_manifest(read_dataset(tmp_path / "one"), tmp_path / "one" / "m.csv")
    write_manifest(read_dataset(tmp_path / "one", "folder"), tmp_path / "m.csv", absolute=True)
    (tmp_path / "one").rename(tmp_path / "two")
    assert read_dataset(tmp_path / "two" / "m.csv").train.samples[0].path == tmp_path / "two" / "a.jpg"
    with pytest.raises(DataError, match=r"one/a.jpg, which is no file"):
        read_dataset(tmp_path / "m.csv")


def test_paths_that_lead_out_of_a_linked_folder_are_absolute(tmp_path, picture):
    folder(tmp_path / "images", picture)
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    write_manifest(read_dataset(tmp_path / "images"), tmp_path / "link" / "m.csv")
    assert len(read_dataset(tmp_path / "far" / "away" / "m.csv").train) == 2


# --- whole or not at all


def test_a_manifest_that_is_there_is_kept_unless_told(tmp_path, frames):
    file = tmp_path / "m.csv"
    file.write_text("mine")
    with pytest.raises(ConfigError, match=r"m.csv exists already; replace it with --overwrite or give another file"):
        write_manifest(frames, file)
    assert file.read_text() == "mine"
    write_manifest(frames, file, overwrite=True)
    assert same(read_dataset(file), frames)


@pytest.mark.parametrize("name", ["m.txt", "m", "folder.csv"])
def test_another_kind_of_file_is_refused(tmp_path, frames, name):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError, match=rf"a manifest must be a file that ends in .csv or .parquet, got .*{name}"):
        write_manifest(frames, tmp_path / name, overwrite=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_is_not_there_is_one_sentence(tmp_path, frames, kind):
    with pytest.raises(DataError, match=rf"m{kind} cannot be written: there is no folder .*nowhere; make it or give"):
        write_manifest(frames, tmp_path / "nowhere" / f"m{kind}")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, frames, kind, monkeypatch):
    file = tmp_path / f"m{kind}"
    file.write_text("mine")
    full = tmp_path / "full"  # a link: a writer that removes what it could not write must not get at the device
    full.symlink_to("/dev/full")
    before = sorted(tmp_path.iterdir())
    name = f"_write_{kind[1:]}"
    write = getattr(convert, name)
    monkeypatch.setattr(convert, name, lambda temporary, columns: write(full, columns))
    with pytest.raises(
        DataError, match=rf"m{kind} could not be written \(No space left on device\); give another file"
    ):
        write_manifest(frames, file, overwrite=True)
    assert file.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == before


def test_a_writer_that_is_stopped_leaves_nothing(tmp_path, frames, monkeypatch):
    def stopped(temporary, columns):
        temporary.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "_write_csv", stopped)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        write_manifest(frames, tmp_path / "m.csv")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": EvaluationProtocol("house")}, "a manifest can name the protocols general, .* only, got 'house'"),
        ({"tests": (TestSet("two words"),)}, "a test's name must be one word to stand in a manifest, got 'two words'"),
        ({"tests": (TestSet("a", None, (0,)),)}, r"each gallery image must take part in a test .*b/1.png does not"),
    ],
)
def test_what_a_manifest_cannot_say_is_refused(tmp_path, frames, changes, words):
    with pytest.raises(DataError, match=words):
        write_manifest(dataclasses.replace(frames, **changes), tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


# --- crops


def test_png_crops_are_the_pixels_in_the_boxes(tmp_path, frames):
    cut = cut_crops(frames, tmp_path / "crops", png=True)
    one, two = (decode(tmp_path / "frames" / cam / "1.png") for cam in "ab")
    expected = [one[:20, :10], two[30:, 50:], decode(tmp_path / "frames" / "whole.png")]
    for sample, pixels in zip(cut.train, expected, strict=True):
        assert np.array_equal(decode(sample.path), pixels)
    assert np.array_equal(decode(cut.gallery.samples[1].path), two[:7, :6])  # of a box that sticks out, what is inside
    digest = content_digests([Crop(tmp_path / "frames" / "a" / "1.png", (0, 0, 10, 20))], tmp_path / "cache")[0][:12]
    assert cut.train.samples[0] == Sample(tmp_path / "crops" / "a" / f"1.png_0_0_10_20_{digest}.png", 1, 0, 0.5, 4)
    assert cut.train.samples[2] == frames.train.samples[2]  # a whole image stays where it is
    assert cut.query.samples[0].path == cut.gallery.samples[0].path
    assert (cut.tests, cut.protocol) == (frames.tests, frames.protocol)


def test_jpeg_crops_are_close_to_the_pixels(tmp_path, frames):
    flat = tmp_path / "flat.png"
    Image.new("RGB", (32, 32), (200, 30, 60)).save(flat)
    data = dataclasses.replace(frames, train=Split("train", (Sample(flat, box=(3, 4, 16, 8)),)))
    sample = cut_crops(data, tmp_path / "crops").train.samples[0]
    assert sample.path.suffix == ".jpg"
    pixels = decode(sample.path).astype(int)
    assert pixels.shape == (8, 16, 3)
    assert np.abs(pixels - (200, 30, 60)).max() <= 3


def test_a_cut_goes_on_where_it_was(tmp_path, frames, monkeypatch):
    heard = []
    cut = cut_crops(frames, tmp_path / "crops", progress=lambda done, total: heard.append((done, total)))
    assert heard == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]  # query and gallery share one
    files = sorted({sample.path for split in cut.splits for sample in split if "crops" in sample.path.parts})
    times = {file: file.stat().st_mtime_ns for file in files}
    files[0].write_bytes(files[0].read_bytes()[:-2])  # cut off
    files[1].unlink()
    written = []
    monkeypatch.setattr(
        cutting, "_write", lambda file, content, write=cutting._write: (written.append(file), write(file, content))
    )
    heard.clear()
    assert cut_crops(frames, tmp_path / "crops", progress=lambda done, total: heard.append((done, total))) == cut
    assert sorted(written) == files[:2]
    assert heard == [(2, 4), (3, 4), (4, 4)]
    assert all(file.stat().st_mtime_ns == times[file] for file in files[2:])
    assert all(decode(file).size for file in files)


def test_data_sets_with_equal_names_share_a_folder_and_no_crop(tmp_path, picture, resight):
    """Two sequences, files and boxes named alike, cut into one folder by two commands."""
    crops = tmp_path / "crops"
    for seed, name in enumerate(("one", "two")):
        picture(tmp_path / name / "img1" / "1.png", seed, height=20, width=20)
        (tmp_path / f"{name}.csv").write_text(f"path,left,top,width,height\n{name}/img1/1.png,2,3,9,8\n")
        words = ("data", "convert", tmp_path / f"{name}.csv", tmp_path / f"{name}.cut.csv", "--cut", crops, "--png")
        assert resight(*words)[0] == 0
    for name in ("one", "two"):
        (cut,) = read_dataset(tmp_path / f"{name}.cut.csv").train.paths
        assert np.array_equal(decode(cut), decode(tmp_path / name / "img1" / "1.png")[3:11, 2:11])
    assert len(list(crops.rglob("*.png"))) == 2


def test_a_file_that_was_changed_is_cut_again(tmp_path, frames, picture):
    before = cut_crops(frames, tmp_path / "crops", png=True)
    picture(frames.train.samples[0].path, 99, height=40, width=60)
    after = cut_crops(frames, tmp_path / "crops", png=True)
    path = after.train.samples[0].path
    assert path != before.train.samples[0].path
    assert np.array_equal(decode(path), decode(frames.train.samples[0].path)[:20, :10])
    assert after.train.samples[1] == before.train.samples[1]  # of another file


def test_a_cut_of_whole_images_is_refused(tmp_path, picture):
    folder(tmp_path / "data", picture)
    with pytest.raises(ConfigError, match=r"--cut needs images with boxes, and .*data has none; leave it out"):
        cut_crops(read_dataset(tmp_path / "data"), tmp_path / "crops")


def test_a_box_outside_its_image_and_a_broken_file_are_refused(tmp_path, frames):
    path = frames.train.samples[0].path
    outside = dataclasses.replace(frames, train=Split("train", (Sample(path, box=(60, 0, 5, 5)),)))
    with pytest.raises(DataError, match=r"a/1.png cannot be decoded: its box \[60, 0, 5, 5\]"):
        cut_crops(outside, tmp_path / "crops")
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a/1.png cannot be decoded: the file is empty"):
        cut_crops(frames, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_crops_that_cannot_be_written_are_one_sentence(tmp_path, frames):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/a cannot be made: Not a directory; give another folder"):
        cut_crops(frames, tmp_path / "file")


# --- the command


def test_convert_writes_what_data_reads(tmp_path, picture, resight):
    root = tmp_path / "animals"
    identities(root, picture)
    (root / "readme.txt").write_text("")
    file = tmp_path / "m.csv"
    words = ("data", "convert", root, file, "--format", "folder-per-identity")
    code, said, _ = resight(*words)
    assert code == 0
    assert said.splitlines() == [
        f"note: 1 entry in {root} passed over: no image by name",
        f"wrote 5 images of {root} (folder-per-identity) to {file}",
    ]
    assert same(read_dataset(file), read_dataset(root, "folder-per-identity"))
    code, _, error = resight(*words)
    assert code == 2 and error.startswith("resight: ") and "exists already; replace it with --overwrite" in error
    assert resight(*words, "--overwrite", "--absolute")[0] == 0
    assert str(root) in file.read_text()
    code, said, _ = resight("data", file, "--cache-dir", tmp_path / "cache")
    assert code == 0 and "train: 1 image, 1 identity" in said


def test_convert_cuts_crops(tmp_path, frames, resight):
    boxes, crops = tmp_path / "boxes.parquet", tmp_path / "crops.csv"
    write_manifest(frames, boxes)
    assert resight("data", "convert", boxes, crops, "--cut", tmp_path / "crops", "--png")[0] == 0
    dataset = read_dataset(crops)
    assert all(sample.box is None and sample.path.is_file() for split in dataset.splits for sample in split)
    path = dataset.train.samples[0].path
    assert path.parent == tmp_path / "crops" / "a"
    assert path.name.startswith("1.png_0_0_10_20_")
    assert f"crops/a/{path.name},1,0,0.5,4,train" in crops.read_text()


def test_a_manifest_may_lie_in_the_folder_that_cut_makes(tmp_path, frames, resight):
    write_manifest(frames, tmp_path / "boxes.csv")
    out = tmp_path / "new" / "m.csv"
    assert resight("data", "convert", tmp_path / "boxes.csv", out, "--cut", tmp_path / "new")[0] == 0
    assert len(read_dataset(out).train) == 3


def test_a_missing_folder_is_found_before_anything_is_cut(tmp_path, frames, resight):
    write_manifest(frames, tmp_path / "boxes.csv")
    words = ("data", "convert", tmp_path / "boxes.csv", tmp_path / "none" / "m.csv", "--cut", tmp_path / "crops")
    code, _, error = resight(*words)
    assert code == 2
    assert "m.csv cannot be written: there is no folder" in error
    assert not (tmp_path / "crops").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{tmp}/none", "{tmp}/m.csv"], "there is nothing at"),
        (["{tmp}/data", "{tmp}/m.txt"], "a manifest must be a file that ends in .csv or .parquet"),
        (["{tmp}/data", "{tmp}/m.csv", "--cut", "{tmp}/crops"], "--cut needs images with boxes"),
        (["{tmp}/data", "{tmp}/m.csv", "--png"], "--png is for the files that --cut writes; give --cut FOLDER too"),
        (["{tmp}/data", "{tmp}/m.csv", "--format", "foldre"], "no format named 'foldre'; did you mean 'folder'?"),
        (["{tmp}/data", "{tmp}/none/m.csv"], "m.csv cannot be written: there is no folder {tmp}/none; make it or"),
    ],
)
def test_a_conversion_that_cannot_be_is_one_sentence(tmp_path, picture, resight, words, sentence):
    folder(tmp_path / "data", picture)
    code, _, error = resight("data", "convert", *(word.format(tmp=tmp_path) for word in words))
    assert code == 2
    assert error.startswith("resight: ") and sentence.format(tmp=tmp_path) in error and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_folder_named_convert_is_still_in_reach(tmp_path, picture, resight, monkeypatch):
    folder(tmp_path / "convert", picture)
    shutil.copytree(tmp_path / "convert", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    for words in (["./convert"], ["convert/"], ["--cache-dir", "cache", "convert"], ["elsewhere"]):
        code, said, _ = resight("data", *words)
        assert code == 0 and "train: 2 images" in said
    assert resight("data", "convert", "./convert", "m.csv")[0] == 0
    assert len(read_dataset(tmp_path / "m.csv").train) == 2


def test_help_teaches_both_commands():
    for words, parts in (
        (["data", "--help"], ("resight data crops/", "resight data convert DATA OUT.csv", "./convert", "--json")),
        (["data", "convert", "--help"], ("resight data convert MOT17/train", "--cut", "--png", "--absolute")),
        (["--help"], ("data convert",)),
    ):
        shown = CliRunner().invoke(cli.app, words, env={"COLUMNS": "200"})
        assert shown.exit_code == 0
        assert all(part in shown.output for part in parts), words
