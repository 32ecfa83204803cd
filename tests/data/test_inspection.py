"""The report on a data set: counts worked by hand, and every kind of trouble said once."""

import json
import shutil
from dataclasses import replace

import pytest

from resight.data.formats import read_dataset
from resight.data.inspection import inspect_dataset
from resight.data.official import differences, not_as_published
from resight.types import Sample, Split

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


@pytest.fixture
def root(tmp_path, picture):
    root = tmp_path / "market"
    shapes = {
        f"{TRAIN}/0001_c1s1_000001_00.png": (10, 5),
        f"{TRAIN}/0001_c2s1_000002_00.png": (30, 5),
        f"{TRAIN}/0002_c1s1_000003_00.png": (20, 7),
        f"{QUERY}/0005_c1s1_000004_00.png": (12, 8),
        f"{GALLERY}/0005_c2s1_000005_00.png": (12, 8),
        f"{GALLERY}/0006_c3s1_000006_00.png": (12, 8),  # no query has 6
        f"{GALLERY}/0000_c3s1_000007_00.png": (12, 8),  # nor 0
        f"{GALLERY}/-1_c3s1_000008_00.png": (12, 8),
    }
    for seed, (name, (height, width)) in enumerate(shapes.items()):
        picture(root / name, seed, height=height, width=width)
    return root


@pytest.fixture
def look(root, tmp_path):
    return lambda: inspect_dataset(read_dataset(root), tmp_path / "cache")


def test_counts_of_a_good_data_set(look, root):
    report = look()
    train, query, gallery = report.splits
    assert (train.images, train.identities, train.cameras, train.junk, train.distractors) == (3, 2, 2, 0, 0)
    assert (query.images, query.identities, query.cameras) == (1, 1, 1)
    # identities 5, 6 and 0; junk is none; 6 and 0 are distractors
    assert (gallery.images, gallery.identities, gallery.cameras, gallery.junk, gallery.distractors) == (4, 3, 2, 1, 2)
    assert (train.heights, train.widths) == ((10, 20, 30), (5, 5, 7))
    assert (report.broken, report.leaks, report.shared_pids, report.notes) == ((), (), (), ())
    lines = report.lines()
    assert lines == [
        f"{root} (market1501)",
        "train: 3 images, 2 identities, 2 cameras, height 10-20-30, width 5-5-7 pixels (min-median-max), "
        "times 1000001 to 1000003",
        "query: 1 image, 1 identity, 1 camera, height 12-12-12, width 8-8-8 pixels (min-median-max), times "
        "1000004 to 1000004",
        "gallery: 4 images, 3 identities, 2 cameras, 1 junk, 2 distractors, height 12-12-12, width 8-8-8 pixels "
        "(min-median-max), times 1000005 to 1000008",
        "protocol: market1501",
        "warning: this is not the data set as published; do not compare with published scores:",
        *(f"  {sentence}" for sentence in differences(read_dataset(root))),
    ]
    assert lines[6] == "  train has 3 images (published: 12,936)"
    assert report.to_json()["not_as_published"] == not_as_published(read_dataset(root))


def test_one_differing_count_is_one_line(look):
    report = replace(look(), differences=("train has 3 images (published: 4)",))
    sentence = (
        "this is not the data set as published: train has 3 images (published: 4); do not compare with published scores"
    )
    assert report.to_json()["not_as_published"] == sentence
    assert report.lines()[5:] == [f"warning: {sentence}"]
    assert replace(report, differences=()).lines()[5:] == []
    assert replace(report, differences=()).to_json()["not_as_published"] is None


def test_decoding_is_heard_of_over_all_splits(root, tmp_path):
    heard = []
    inspect_dataset(read_dataset(root), tmp_path / "cache", decoding=lambda done, total: heard.append((done, total)))
    assert heard == [(done, 8) for done in range(1, 9)]


def test_broken_images_are_all_listed(look, root):
    paths = [root / TRAIN / f"0009_c1s1_{i:06}_00.jpg" for i in range(7)]
    for i, path in enumerate(paths):
        path.write_bytes(b"x" * i)
    report = look()
    assert [path for path, _ in report.broken] == paths
    assert report.broken[0] == (paths[0], "the file is empty")
    assert report.splits[0].images == 10
    assert report.splits[0].heights == (10, 20, 30)  # of those that decode
    lines = report.lines()
    assert "7 broken images in train:" in lines
    assert all(any(str(path) in line for line in lines) for path in paths)


def test_duplicates_leaks_and_shared_identities_are_told_apart(root, tmp_path):
    source = root / TRAIN / "0001_c1s1_000001_00.png"
    twin = shutil.copy(source, root / TRAIN / "0007_c1s1_000001_00.png")
    dataset = read_dataset(root)
    leaked = shutil.copy(root / TRAIN / "0002_c1s1_000003_00.png", root / GALLERY / "0002_c1s1_000003_00.png")
    gallery = Split("gallery", (*dataset.gallery, Sample(leaked, pid=2)))  # the reader refuses a shared identity
    report = inspect_dataset(replace(dataset, gallery=gallery), tmp_path / "cache")
    assert report.splits[0].duplicates == ((source, twin),)
    assert report.splits[2].duplicates == ()
    assert [(leak.train_path.name, leak.other_path) for leak in report.leaks] == [(leaked.name, leaked)]
    assert report.shared_pids == (2,)
    lines = report.lines()
    assert "1 group of equal images in train:" in lines
    assert "warning: 1 training image also in query or gallery:" in lines
    assert "warning: train shares 1 identity with query or gallery" in lines


def test_only_the_first_few_groups_are_printed(look, root, picture):
    for i in range(8):
        for half in (0, 1):
            picture(root / GALLERY / f"0005_c{half + 1}s1_{100 + i:06}_00.png", 100 + i)
    lines = look().lines()
    assert "8 groups of equal images in gallery:" in lines
    assert "  ... and 3 more" in lines
    assert len(look().splits[2].duplicates) == 8


def test_an_unlabelled_folder(tmp_path, picture):
    picture(tmp_path / "crops" / "a.png")
    (tmp_path / "crops" / "x.txt").write_text("")
    report = inspect_dataset(read_dataset(tmp_path / "crops"), tmp_path / "cache")
    train, query, _ = report.splits
    assert (train.identities, train.cameras, train.junk) == (None, None, 0)
    assert (query.images, query.heights) == (0, None)
    assert report.lines()[1].startswith("train: 1 image, identities not known, cameras not known, height 12")
    assert report.lines()[2] == "query: 0 images"
    assert report.lines()[-1].startswith("note: 1 entry in")


def test_all_broken_gives_no_sizes(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    report = inspect_dataset(read_dataset(tmp_path, "folder"), tmp_path / "cache")
    assert (report.splits[0].heights, report.splits[0].widths) == (None, None)


def test_the_report_goes_through_json_whole(root, tmp_path):
    (root / TRAIN / "0009_c1s1_000001_00.jpg").write_bytes(b"")
    dataset = read_dataset(root)
    leaked = shutil.copy(root / TRAIN / "0002_c1s1_000003_00.png", root / GALLERY / "0002_c1s1_000003_00.png")
    gallery = Split("gallery", (*dataset.gallery, Sample(leaked, pid=2)))
    facts = inspect_dataset(replace(dataset, gallery=gallery), tmp_path / "cache").to_json()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["format"] == "market1501"
    assert facts["splits"]["train"]["images"] == 4
    assert facts["splits"]["train"]["heights"] == [10, 20, 30]
    assert facts["splits"]["train"]["broken"][0]["reason"] == "the file is empty"
    assert facts["splits"]["query"]["duplicates"] == []
    assert facts["leaks"][0]["split"] == "gallery"
    assert facts["shared_pids"] == [2]


def test_tracklets_times_tests_and_protocol_are_told(tmp_path, picture):
    for seed, name in enumerate("abcd"):
        picture(tmp_path / f"{name}.png", seed)
    file = tmp_path / "m.csv"
    file.write_text(
        "path,pid,timestamp,tracklet,split,tests,protocol\n"
        "a.png,1,2.5,7,query,small large,vehicleid\n"
        "b.png,1,4,8,gallery,small,\n"
        "c.png,1,2,8,gallery,large,\n"
        "d.png,1,,,gallery,large,\n"
    )
    report = inspect_dataset(read_dataset(file), tmp_path / "cache")
    train, query, gallery = report.splits
    assert (train.tracklets, query.tracklets, gallery.tracklets) == (None, 1, 1)
    assert (train.times, query.times, gallery.times) == (None, (2.5, 2.5), (2.0, 4.0))
    lines = report.lines()
    assert "1 tracklet, " in lines[2] and lines[3].endswith("times 2 to 4")
    assert lines[4:7] == [
        "test small: 1 query, 1 gallery images",
        "test large: 1 query, 2 gallery images",
        "protocol: vehicleid",
    ]
    assert lines[7].startswith("warning: ")
    assert lines[8] == "  small query has 1 image (published: 6,493)"
    facts = report.to_json()
    assert facts["tests"][1] == {"name": "large", "query": 1, "gallery": 2}
    assert facts["splits"]["gallery"]["times"] == [2.0, 4.0]
    assert json.loads(json.dumps(facts)) == facts
