"""MOT Challenge sequences: trees as they are shipped, read back box by box, and every way to break one.

The numbers in the lists are worked by hand: a box's first pixel is 1 in a list and 0 in a sample.
"""

import numpy as np
import pytest

from resight.data import crops
from resight.data.decode import decode
from resight.data.formats import FORMATS, detect, read_dataset
from resight.data.pixels import open_pixels
from resight.errors import DataError
from resight.types import Sample

WIDTH, HEIGHT = 60, 40
INFO = """[Sequence]
name={name}
imDir=img1
frameRate={rate}
seqLength={length}
imWidth=60
imHeight=40
imExt=.jpg

"""

# MOT16, 17 and 20: frame, identity, left, top, width, height, flag, class, visibility; as shipped, by identity.
GT_2017 = """1,1,11,6,10,20,1,1,1
2,1,12,6,10,20,1,1,0.86014
1,2,31,1,5,10,1,1,0.30000
2,2,31,1,5,10,1,1,0.29999
1,3,41,11,8,16,0,1,1
1,4,21,21,8,16,1,7,1
2,9,51,31,20,20,1,1,1
"""
DET_2017 = """1,-1,11.2,5.8,10.1,20.3,0.99
1,-1,-3.5,1,10,12.25,-0.41
2,-1,57.6,36,10,10,2.3
"""
DET_2016 = "1,-1,11,6,10,20,31.5,-1,-1,-1\n"


@pytest.fixture
def sequence(picture):
    """Write a sequence of `frames` frames with whatever lists are given."""

    def write(folder, *, gt=None, det=None, frames=2, rate=30, digits=6, ini=True):
        for number in range(1, frames + 1):
            picture(folder / "img1" / f"{number:0{digits}}.jpg", number, height=HEIGHT, width=WIDTH)
        for name, text in (("gt", gt), ("det", det)):
            if text is not None:
                (folder / name).mkdir(parents=True)
                (folder / name / f"{name}.txt").write_text(text)
        if ini:
            (folder / "seqinfo.ini").write_text(INFO.format(name=folder.name, rate=rate, length=frames))
        return folder

    return write


@pytest.fixture
def mot17(tmp_path, sequence):
    """Two training sequences and a test sequence, each three times."""
    root = tmp_path / "MOT17"
    for detector in ("DPM", "FRCNN", "SDP"):
        sequence(root / "train" / f"MOT17-02-{detector}", gt=GT_2017, det=DET_2017)
        sequence(root / "train" / f"MOT17-04-{detector}", gt="1,1,1,1,4,4,1,1,1\n", det=DET_2017, rate=25)
        sequence(root / "test" / f"MOT17-01-{detector}", det=DET_2017)
    return root


def facts(dataset):
    return [(s.path.parts[-3], s.path.name, s.pid, s.camid, s.tracklet, s.box) for s in dataset.train]


# --- ground truth


def test_mot17_gives_the_considered_pedestrians_of_one_copy_of_each_sequence(mot17):
    dataset = read_dataset(mot17)
    assert dataset.format == detect(mot17) == "mot"
    of_truth = facts(dataset)[3:]
    # Identity 3 is flagged 0, 4 is a car's class, 2 is hidden in frame 2; 9 sticks out to the right and below.
    assert of_truth == [
        ("MOT17-02-SDP", "000001.jpg", 0, 1, 0, (10, 5, 10, 20)),
        ("MOT17-02-SDP", "000001.jpg", 1, 1, 1, (30, 0, 5, 10)),
        ("MOT17-02-SDP", "000002.jpg", 0, 1, 0, (11, 5, 10, 20)),
        ("MOT17-02-SDP", "000002.jpg", 2, 1, 2, (50, 30, 10, 10)),
        ("MOT17-04-SDP", "000001.jpg", 3, 2, 3, (0, 0, 4, 4)),  # its identity 1 is somebody else
    ]
    assert (len(dataset.query), len(dataset.gallery), dataset.protocol.name) == (0, 0, "general")


def test_mot17_test_sequences_give_detections_without_identity(mot17):
    dataset = read_dataset(mot17)
    # 11.2 - 1 = 10.2 and 5.8 - 1 = 4.8, to 20.3 and 25.1; -4.5 to 5.5 is cut at 0; 56.6 to 66.6 at 60, 35 to 45 at 40.
    assert facts(dataset)[:3] == [
        ("MOT17-01-SDP", "000001.jpg", None, 0, None, (10, 5, 10, 20)),
        ("MOT17-01-SDP", "000001.jpg", None, 0, None, (0, 0, 6, 12)),
        ("MOT17-01-SDP", "000002.jpg", None, 0, None, (57, 35, 3, 5)),
    ]
    assert dataset.train.pids is None


def test_timestamps_are_seconds_of_the_video(mot17):
    assert read_dataset(mot17 / "train").train.timestamps == (1 / 30, 1 / 30, 2 / 30, 2 / 30, 1 / 25)


def test_what_is_left_out_and_what_is_counted_stands_in_the_notes(mot17):
    assert list(read_dataset(mot17).notes) == [
        "6 folders passed over that show the same frames as another, with other detections: "
        "MOT17-01-SDP, MOT17-02-SDP, MOT17-04-SDP taken",
        "without gt/gt.txt, det/det.txt taken: MOT17-01-SDP",
        "1 boxes marked as not to be considered left out",
        "1 boxes of another class than 1 (pedestrian) left out",
        "1 boxes of which less than 30% is visible left out",
        "8 boxes of 4 identities in 5 frames of 3 sequences: each is an image",
    ]


def test_of_copies_those_that_are_there_are_taken_in_the_order_of_their_detectors(tmp_path, sequence):
    for name in ("MOT17-02-DPM", "MOT17-02-FRCNN", "MOT17-04-DPM", "MOT16-02", "PETS-SDP-1"):
        sequence(tmp_path / name, gt="1,1,1,1,4,4,1,1,1\n")
    taken = {path.parts[-3] for path in read_dataset(tmp_path).train.paths}
    assert taken == {"MOT17-02-FRCNN", "MOT17-04-DPM", "MOT16-02", "PETS-SDP-1"}


@pytest.mark.parametrize("where", [".", "train", "train/MOT17-02-SDP"])
def test_a_part_of_the_tree_is_read_as_well(mot17, where):
    dataset = read_dataset(mot17 / where)
    assert dataset.format == "mot"
    assert {path.parts[-3] for path in dataset.train.paths} >= {"MOT17-02-SDP"}


def test_mot20_and_mot16_have_one_folder_a_sequence_and_detections_of_ten_columns(tmp_path, sequence):
    sequence(tmp_path / "train" / "MOT20-01", gt=GT_2017, det=DET_2016)
    sequence(tmp_path / "test" / "MOT20-04", det=DET_2016)
    dataset = read_dataset(tmp_path)
    assert dataset.train.camids == (0, 1, 1, 1, 1)
    assert dataset.train.samples[0].box == (10, 5, 10, 20)


def test_mot15_has_ten_columns_of_which_none_is_a_class(tmp_path, sequence):
    # The last three are a place in space, in metres or -1: its first two are no class and no visibility.
    gt = "1,1,11,6,10,20,1,-1,-1,-1\n1,2,21,6,10,20,1,-9.2685,0.0127,0\n2,1,12,6,10,20,0,-1,-1,-1\n"
    sequence(tmp_path / "train" / "PETS09-S2L1", gt=gt, det=DET_2016)
    dataset = read_dataset(tmp_path)
    assert [(s.pid, s.box) for s in dataset.train] == [(0, (10, 5, 10, 20)), (1, (20, 5, 10, 20))]


def test_a_class_of_minus_one_is_no_class(tmp_path, sequence):
    sequence(tmp_path / "A", gt="1,1,11,6,10,20,1,-1,-1\n")
    assert len(read_dataset(tmp_path).train) == 1


def test_dancetrack_has_names_of_eight_digits_and_no_lists_for_its_test(tmp_path, sequence):
    root = tmp_path / "dancetrack"
    for number, part in enumerate(("train", "val", "test")):
        gt = None if part == "test" else "1,0,11,6,10,20,1,1,1\n"
        sequence(root / part / f"dancetrack000{number}", gt=gt, digits=8, rate=20)
        (root / f"{part}_seqmap.txt").write_text("name\n")
    dataset = read_dataset(root)
    assert facts(dataset) == [
        ("dancetrack0000", "00000001.jpg", 0, 1, 0, (10, 5, 10, 20)),
        ("dancetrack0001", "00000001.jpg", 1, 2, 1, (10, 5, 10, 20)),
    ]
    assert dataset.notes[0] == "without gt/gt.txt and det/det.txt, left out: dancetrack0002"
    with pytest.raises(
        DataError, match=r"no images in .* \(read as mot-det\); without det/det.txt, left out: dancetrack"
    ):
        read_dataset(root, "mot-det")


def test_sportsmot_has_blanks_after_commas_and_identities_from_0(tmp_path, sequence):
    gt = "1, 7, 11, 6, 10, 20, 1, 1, 1\n2, 0, 11, 6, 10, 20, 1, 1, 1\n"
    sequence(tmp_path / "train" / "v_-6Os86HzwCs_c001", gt=gt, rate=25)
    assert [(s.pid, s.timestamp) for s in read_dataset(tmp_path).train] == [(1, 1 / 25), (0, 2 / 25)]


def test_without_seqinfo_timestamps_are_frames_and_boxes_may_stick_out(tmp_path, sequence):
    sequence(tmp_path / "A", gt="2,1,51,31,20,20,1,1,1\n2,2,-3,-3,8,8,1,1,1\n", ini=False)
    dataset = read_dataset(tmp_path)
    image = tmp_path / "A" / "img1" / "000002.jpg"
    assert dataset.train.samples == (
        Sample(image, 0, 0, 2.0, 0, (50, 30, 20, 20)),
        Sample(image, 1, 0, 2.0, 1, (0, 0, 4, 4)),
    )
    assert dataset.notes[0] == f"there is no {tmp_path / 'A' / 'seqinfo.ini'}, so that timestamps are numbers of frames"


def test_frames_that_seqinfo_counts_and_that_are_not_there_are_noted(tmp_path, sequence):
    sequence(tmp_path / "A", gt="1,1,11,6,10,20,1,1,1\n", frames=3)
    (tmp_path / "A" / "img1" / "000003.jpg").unlink()
    note = f"2 frames of 3 that {tmp_path / 'A' / 'seqinfo.ini'} counts are there"
    assert read_dataset(tmp_path).notes[0] == note


def test_another_folder_of_frames_is_found_by_seqinfo(tmp_path, sequence):
    folder = sequence(tmp_path / "A", gt="1,1,11,6,10,20,1,1,1\n")
    (folder / "img1").rename(folder / "images")
    (folder / "seqinfo.ini").write_text(INFO.format(name="A", rate=30, length=2).replace("imDir=img1", "imDir=images"))
    assert read_dataset(tmp_path).train.paths == (folder / "images" / "000001.jpg",)


def test_boxes_with_no_pixel_in_the_frame_are_left_out_and_counted(tmp_path, sequence):
    det = "1,-1,61,1,9,9,1\n1,-1,1,1,0,9,1\n1,-1,1,1,9,-2,1\n1,-1,-9,1,9,9,1\n1,-1,60,40,9,9,1\n"
    sequence(tmp_path / "A", det=det)
    dataset = read_dataset(tmp_path, "mot-det")
    assert [s.box for s in dataset.train] == [(59, 39, 1, 1)]
    assert dataset.notes[0] == "4 boxes that hold no pixel of the frame left out"


# --- detections


def test_mot_det_takes_detections_and_never_the_ground_truth(mot17):
    dataset = read_dataset(mot17, "mot-det")
    assert [s.camid for s in dataset.train] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert all(s.pid is None and s.tracklet is None for s in dataset.train)
    for file in mot17.glob("train/*/gt/gt.txt"):
        file.write_text("not even read")
    assert read_dataset(mot17, "mot-det") == dataset


def test_cameras_are_the_same_with_ground_truth_and_detections(tmp_path, sequence):
    sequence(tmp_path / "A", gt=GT_2017)
    sequence(tmp_path / "B", gt=GT_2017, det=DET_2017)
    assert set(read_dataset(tmp_path).train.camids) == {0, 1}
    assert set(read_dataset(tmp_path, "mot-det").train.camids) == {1}


def test_a_box_that_the_detector_gives_twice_counts_once(tmp_path, sequence):
    sequence(tmp_path / "A", det="1,-1,11,6,10,20,0.9\n1,-1,11.1,6,10,20,0.8\n2,-1,11,6,10,20,0.7\n")
    dataset = read_dataset(tmp_path, "mot-det")
    assert len(dataset.train) == 2
    assert dataset.notes[0] == "1 boxes that the detector gives twice left out"


# --- pixels


def test_frames_are_decoded_once_for_all_their_boxes(mot17, tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(crops, "decode", lambda path: (names.append(path), decode(path))[1])
    train = read_dataset(mot17).train
    opened = open_pixels(train.pictures, (20, 10), tmp_path / "cache")
    assert opened.broken == ()
    assert sorted(names) == sorted(set(train.paths))
    assert len(train) > len(names)
    first = train.samples[3]  # 10 wide and 20 high as it is, so that nothing is resized
    assert np.array_equal(opened.pixels[3], decode(first.path)[5:25, 10:20])


# --- recognising


def test_other_trees_are_no_sequences(tmp_path, picture):
    picture(tmp_path / "a" / "train" / "0001" / "1.jpg")
    picture(tmp_path / "b" / "img1.jpg")
    assert not any(FORMATS[name].matches(tmp_path / tree) for name in ("mot", "mot-det") for tree in "ab")


@pytest.mark.parametrize("format", ["mot", "mot-det"])
def test_a_folder_without_sequences_is_refused(tmp_path, picture, format):
    picture(tmp_path / "a.jpg")
    with pytest.raises(
        DataError, match=rf"must hold sequences \(folders with img1 and .*det/det.txt\), .* as {format}"
    ):
        read_dataset(tmp_path, format)


# --- broken trees


@pytest.mark.parametrize(
    ("gt", "words"),
    [
        (
            "1,1,1,1,4,4,1,1,1\n\n9,1,1,1,4,4,1,1,1\n",
            r"gt.txt line 3 names frame 9, which is no image in .*img1; put it",
        ),
        ("1,1,1,1,4\n", r"gt.txt line 1 must be numbers with commas between: frame, identity, left.*; got '1,1,1,1,4'"),
        ("1,1,1,1,4,4,1,1,1\n1,2,x,1,4,4,1,1,1\n", r"gt.txt line 2 must be numbers with commas between"),
        ("1 1 1 1 4 4\n", r"gt.txt line 1 must be numbers with commas between"),
        ("1.5,1,1,1,4,4,1,1,1\n", r"gt.txt line 1 must be numbers"),
        ("1,-1,1,1,4,4,1,1,1\n", r"gt.txt line 1 must be numbers"),
        ("1,1,nan,1,4,4,1,1,1\n", r"gt.txt line 1 must be numbers"),
        ("1,1,1,1,inf,4,1,1,1\n", r"gt.txt line 1 must be numbers"),
        (
            "1,1,1,1,4,4,1,1,1\n2,1,1,1,4,4,1,1,1\n1,1,2,2,4,4,1,1,1\n",
            r"gt.txt line 1 and .*gt.txt line 3 both give identity 1 a box in frame 1; keep one of them",
        ),
        ("\n", r"gt.txt must hold at least one box, and it is empty; put the one"),
        ("", r"gt.txt must hold at least one box"),
    ],
)
def test_a_bad_ground_truth_is_refused_with_its_line(tmp_path, sequence, gt, words):
    sequence(tmp_path / "train" / "MOT20-01", gt=gt)
    with pytest.raises(DataError, match=words):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("frameRate=30", "", "seqinfo.ini must give frameRate as a number above 0, got ''"),
        ("frameRate=30", "frameRate=0", "seqinfo.ini must give frameRate as a number above 0, got '0'"),
        ("imWidth=60", "imWidth=wide", "seqinfo.ini must give imWidth as a number above 0, got 'wide'"),
        ("[Sequence]", "", r"seqinfo.ini must be an INI file with a section \[Sequence\]"),
        ("[Sequence]", "[Video]", r"seqinfo.ini must be an INI file with a section \[Sequence\]"),
        ("imDir=img1", "imDir=img2", "img2 must hold the frames of the sequence, and there is no such folder; put it"),
    ],
)
def test_a_bad_seqinfo_is_refused(tmp_path, sequence, old, new, words):
    folder = sequence(tmp_path / "A", gt=GT_2017)
    text = (folder / "seqinfo.ini").read_text()
    assert old in text
    (folder / "seqinfo.ini").write_text(text.replace(old, new))
    with pytest.raises(DataError, match=words):
        read_dataset(tmp_path)


def test_frames_that_are_missing_nameless_or_twice_there_are_refused(tmp_path, sequence, picture):
    folder = sequence(tmp_path / "A", gt=GT_2017)
    twin = picture(folder / "img1" / "1.png")
    with pytest.raises(DataError, match=r"000001.jpg and .*1.png are both frame 1; keep one of them"):
        read_dataset(tmp_path)
    twin.rename(folder / "img1" / "cover.png")
    with pytest.raises(DataError, match=r"cover.png must be named by the number of its frame, such as 000001.jpg"):
        read_dataset(tmp_path)
    for image in (folder / "img1").iterdir():
        image.unlink()
    with pytest.raises(DataError, match=r"img1 must hold the frames of the sequence, and there is no image in it"):
        read_dataset(tmp_path)


def test_a_list_without_frames_is_refused(tmp_path):
    (tmp_path / "A" / "gt").mkdir(parents=True)
    (tmp_path / "A" / "gt" / "gt.txt").write_text(GT_2017)
    with pytest.raises(DataError, match=r"img1 must hold the frames of the sequence, and there is no such folder"):
        read_dataset(tmp_path)


def test_a_list_that_is_no_text_is_refused(tmp_path, sequence):
    folder = sequence(tmp_path / "A", gt="")
    (folder / "gt" / "gt.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"gt.txt must be a text file in UTF-8"):
        read_dataset(tmp_path)
