"""Folder per identity: names to numbers, splits by folder, and the words it refuses with."""

import pytest

from resight.data import identities
from resight.data.formats import detect, read_dataset
from resight.errors import DataError
from resight.types import JUNK_PID, Sample

FORMAT = "folder-per-identity"


@pytest.fixture
def tree(tmp_path, picture):
    """Draw the named files below a folder and read it."""
    root = tmp_path / "animals"

    def build(*names):
        for seed, name in enumerate(names):
            picture(root / name, seed)
        return root

    return build


def test_it_is_never_found_by_itself(tree):
    root = tree("anna/1.jpg", "bert/1.jpg")
    assert not identities.matches(root)
    assert detect(root) == "folder"
    assert read_dataset(root).train.pids is None


def test_without_split_folders_all_is_training_data(tree):
    root = tree("zoe/2.jpg", "zoe/1.jpg", "anna/day 1/x.png", "anna/a.jpg")
    dataset = read_dataset(root, FORMAT)
    assert dataset.format == FORMAT
    assert dataset.train.samples == (  # anna 0, zoe 1; sorted by path
        Sample(root / "anna" / "a.jpg", 0),
        Sample(root / "anna" / "day 1" / "x.png", 0),
        Sample(root / "zoe" / "1.jpg", 1),
        Sample(root / "zoe" / "2.jpg", 1),
    )
    assert (len(dataset.query), len(dataset.gallery), dataset.notes) == (0, 0, ())
    assert read_dataset(dataset.root, dataset.format) == dataset


def test_integers_are_kept_and_minus_one_is_junk(tree):
    root = tree("train/0012/1.jpg", "query/0400/1.jpg", "gallery/0400/2.jpg", "gallery/-1/3.jpg")
    dataset = read_dataset(root, FORMAT)
    assert (dataset.train.pids, dataset.query.pids, dataset.gallery.pids) == ((12,), (400,), (JUNK_PID, 400))
    assert dataset.can_be_evaluated and dataset.notes == ()


def test_one_name_makes_all_names_over_all_splits(tree):
    root = tree("train/9/1.jpg", "train/10/1.jpg", "query/zoe/1.jpg", "gallery/zoe/2.jpg", "gallery/anna/2.jpg")
    dataset = read_dataset(root, FORMAT)
    # "10" < "9" < "anna" < "zoe"
    assert (dataset.train.pids, dataset.query.pids, dataset.gallery.pids) == ((0, 1), (3,), (2, 3))


def test_the_test_folder_is_query_and_gallery(tree):
    root = tree("train/1/a.jpg", "test/2/a.jpg", "test/2/b.jpg")
    dataset = read_dataset(root, FORMAT)
    assert dataset.query.samples == dataset.gallery.samples
    assert (dataset.query.name, dataset.gallery.name) == ("query", "gallery")
    assert dataset.query.pids == (2, 2)


def test_absent_splits_and_empty_identities_are_noted(tree):
    root = tree("query/1/a.jpg")
    (root / "query" / "2").mkdir()
    (root / "query" / "3").mkdir()
    (root / "query" / "list.txt").write_text("")
    (root / "query" / ".cache").mkdir()
    (root / "query" / "1" / "list.txt").write_text("")
    assert read_dataset(root, FORMAT).notes == (
        f"1 entry in {root / 'query'} passed over: no image by name",
        f"1 entry in {root / 'query' / '1'} passed over: no image by name",
        f"2 of 3 identity folders in {root / 'query'} hold no images, such as {root / 'query' / '2'}",
        f"there is no {root / 'train'}, so that train is empty",
        f"there is no {root / 'gallery'}, so that gallery is empty",
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1/a.jpg", "b.jpg"], r"every image must lie in the folder of its identity .*animals/b.jpg lies beside them"),
        (["train/1/a.jpg", "train/b.jpg"], r"in the folder of its identity .*train/b.jpg lies beside them"),
        (["train/1/a.jpg", "b.jpg"], r"every image must lie in the folder of its split .*animals/b.jpg lies beside"),
        (["train/1/a.jpg", "anna/b.jpg"], r"but anna stands beside train; move it, or rename train if it is an ident"),
        (["test/1/a.jpg", "gallery/1/a.jpg"], r"animals/test stands for query and gallery, which .*animals has too"),
        (["7/a.jpg", "007/a.jpg"], r"animals/007 and .*animals/7 both stand for identity 7; join them"),
        (["-3/a.jpg"], r"an identity's number must be 0 or more \(or -1 for junk\), got .*animals/-3"),
        (
            ["train/anna/a.jpg", "query/bert/a.jpg", "gallery/anna/a.jpg", "gallery/bert/b.jpg"],
            r"no identity may be in both train and test, but 0 is: .*train/anna and .*gallery/anna; take it out",
        ),
        (["train/1/a.jpg", "gallery/1/x/y.txt.jpg"], r"but 1 is: .*train/1 and .*gallery/1"),
    ],
)
def test_a_broken_tree_is_refused(tree, names, words):
    with pytest.raises(DataError, match=words):
        read_dataset(tree(*names), FORMAT)


def test_a_split_without_images_is_refused(tree):
    root = tree("train/1/a.jpg")
    (root / "query" / "2").mkdir(parents=True)
    with pytest.raises(DataError, match=r"animals/query must hold a folder with images for each identity, and it hold"):
        read_dataset(root, FORMAT)


def test_junk_may_be_on_both_sides(tree):
    root = tree("train/1/a.jpg", "train/-1/b.jpg", "gallery/-1/c.jpg", "gallery/2/c.jpg")
    assert read_dataset(root, FORMAT).train.pids == (JUNK_PID, 1)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("")])
def test_an_empty_folder_or_a_file_is_refused(tmp_path, make):
    make(tmp_path / "animals")
    with pytest.raises(DataError, match=r"animals must (hold a folder with images for each|be a folder of) identit"):
        read_dataset(tmp_path / "animals", FORMAT)


def test_identities_with_underscores_are_names(tmp_path, picture):
    for name in ("1_11", "11_1"):
        picture(tmp_path / name / "a.jpg")
    assert read_dataset(tmp_path, "folder-per-identity").train.pids == (0, 1)


def test_an_identity_beyond_64_bits_is_refused(tmp_path, picture):
    picture(tmp_path / "12345678901234567890" / "a.jpg")
    with pytest.raises(DataError, match=r"has the identity 12345678901234567890, which must be at most 92233720368547"):
        read_dataset(tmp_path, "folder-per-identity")
