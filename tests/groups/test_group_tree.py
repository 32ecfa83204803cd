"""A tree of links: its own files follow the groups, what is not its own is never touched."""

import os
from pathlib import Path

import pytest

from resight.errors import ConfigError, DataError
from resight.groups.links import NO_GROUP
from resight.groups.tree import LIST, check_tree, wanted_links, write_tree


@pytest.fixture
def crops(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "images" / folder / "a.jpg" for folder in ("x", "y", "z")]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes([number]) * 5)
    return paths


IDS = ["0" * 32, "1" * 32, "2" * 32]


def contents(tree: Path) -> dict[str, bytes]:
    return {str(p.relative_to(tree)): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file() and p.name != LIST}


def test_each_group_is_a_folder_and_equal_names_stay_apart(tmp_path: Path, crops: list[Path]):
    tree = tmp_path / "tree"
    said = write_tree(tree, wanted_links(crops, IDS, [7, 7, NO_GROUP]))
    assert said == "symbolic links"
    assert contents(tree) == {
        "alone/a.jpg": b"\2" * 5,
        "group-000007/a-111111111111.jpg": b"\1" * 5,
        "group-000007/a.jpg": b"\0" * 5,
    }


def test_another_grouping_takes_its_place_and_leaves_what_is_others(tmp_path: Path, crops: list[Path]):
    tree = tmp_path / "tree"
    write_tree(tree, wanted_links(crops, IDS, [7, 7, NO_GROUP]))
    (tree / "group-000007" / "notes.txt").write_text("mine")
    write_tree(tree, wanted_links(crops, IDS, [1, 1, 1]))
    assert sorted(contents(tree)) == [
        "group-000001/a-111111111111.jpg",
        "group-000001/a-222222222222.jpg",
        "group-000001/a.jpg",
        "group-000007/notes.txt",
    ]
    assert not (tree / "alone").exists()
    assert all(path.exists() for path in crops)


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path, crops: list[Path]):
    with pytest.raises(ConfigError, match="must be a new or empty folder"):
        check_tree(crops[0].parent)
    with pytest.raises(ConfigError, match="is a file"):
        check_tree(crops[0])


@pytest.mark.parametrize("kind", ["new", "changed"])
def test_what_a_user_put_there_stops_it_before_anything_is_changed(tmp_path: Path, crops: list[Path], kind: str):
    tree = tmp_path / "tree"
    write_tree(tree, wanted_links(crops, IDS, [1, 1, NO_GROUP]))
    place = tree / ("group-000002/a.jpg" if kind == "new" else "group-000001/a.jpg")
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.write_bytes(b"a user's own")
    before = contents(tree)
    with pytest.raises(ConfigError, match="a.jpg is not as an earlier grouping made it"):
        write_tree(tree, wanted_links(crops, IDS, [2, 2, 2]))
    assert contents(tree) == before


def test_where_links_are_not_possible_there_are_copies(
    tmp_path: Path, crops: list[Path], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "symlink", refuse)
    assert write_tree(tmp_path / "hard", wanted_links(crops, IDS, [1, 1, 1])) == "hard links"
    assert (tmp_path / "hard/group-000001/a.jpg").samefile(crops[0])
    monkeypatch.setattr(os, "link", refuse)
    copies = tmp_path / "copies"
    assert write_tree(copies, wanted_links(crops, IDS, [1, 1, 1])) == "copies"
    assert write_tree(copies, wanted_links(crops, IDS, [2, 2, 2])) == "copies"
    assert len(contents(copies)) == 3 and not (copies / "group-000001").exists()


def test_a_list_that_leads_out_of_the_tree_is_not_followed(tmp_path: Path, crops: list[Path]):
    tree = tmp_path / "tree"
    write_tree(tree, wanted_links(crops, IDS, [1, 1, 1]))
    (tree / LIST).write_text('{"../images/x/a.jpg": "/nowhere", "../a.jpg": "/nowhere"}')
    for path in (tree / "group-000001").iterdir():
        path.unlink()
    write_tree(tree, wanted_links(crops, IDS, [1, 1, 1]))
    assert all(path.exists() for path in crops)
    (tree / LIST).write_text("nonsense")
    with pytest.raises(ConfigError, match="cannot be read"):
        write_tree(tree, wanted_links(crops, IDS, [1, 1, 1]))


def test_a_tree_that_cannot_be_written_is_said(tmp_path: Path, crops: list[Path]):
    with pytest.raises(DataError, match="could not be written"):
        write_tree(crops[0] / "below" / "a-file", wanted_links(crops, IDS, [1, 1, 1]))
