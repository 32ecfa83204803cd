"""Groups on the page: how well an image fits, what a sheet shows, what is said of identities; and groups in a file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from report.report_cases import material
from resight.errors import DataError
from resight.report.album import Album
from resight.report.found_groups import found_groups
from resight.report.group_file import groups_of_file
from resight.report.groups import GROUPS_SHOWN, MEMBERS_SHOWN, ShownGroup, ShownGroups, group_sheets, shown_members
from resight.types import Crop

ROOM = 10**7


def groups(*sizes: int, confident: bool = True) -> ShownGroups:
    made = tuple(
        ShownGroup(
            f"group {number}",
            tuple(Path(f"{number}/{row}.jpg") for row in range(size)),
            tuple(0.1 * number + 0.001 * row for row in range(size)) if confident else None,
        )
        for number, size in enumerate(sizes)
    )
    return ShownGroups(made, 3, "Of a test.", "As made up.")


def test_the_most_doubtful_come_first_and_then_the_largest_of_the_others():
    sizes = [2] * (GROUPS_SHOWN + 1) + [5, 9]
    sheets = group_sheets(groups(*sizes), Album(ROOM), {})
    doubtful, largest = sheets["kinds"]
    assert doubtful["title"] == "Most doubtful first"
    assert [sheet["name"] for sheet in doubtful["sheets"]] == [f"group {number}" for number in range(GROUPS_SHOWN)]
    assert [sheet["count"] for sheet in largest["sheets"]] == [9, 5, 2]
    assert "21 groups of 52 images; 3 in none." in sheets["counts"]


def test_groups_without_a_figure_come_by_size_alone():
    (kind,) = group_sheets(groups(2, 7, 4, confident=False), Album(ROOM), {})["kinds"]
    assert [(sheet["count"], sheet["sure"]) for sheet in kind["sheets"]] == [(7, None), (4, None), (2, None)]


def test_of_a_large_group_the_worst_half_is_shown_and_others_evenly():
    members = 100
    group = ShownGroup("one", tuple(Path(f"{row}.jpg") for row in range(members)), tuple(range(members)[::-1]))
    shown = shown_members(group)
    assert len(shown) == MEMBERS_SHOWN
    worst = MEMBERS_SHOWN // 2
    assert shown[:worst] == list(range(99, 99 - worst, -1))
    assert shown[worst:] == sorted(shown[worst:], reverse=True)
    assert len(set(shown)) == MEMBERS_SHOWN


def test_members_of_another_identity_are_marked_and_counted():
    found = groups(3, 2)
    pids = dict.fromkeys(found.groups[0].members, 7) | {Path("0/1.jpg"): 8}
    sheets = group_sheets(found, Album(ROOM), pids)
    first, second = sheets["kinds"][0]["sheets"]
    assert [member["other"] for member in first["members"]] == [False, True, False]
    assert (first["others"], second["others"]) == (1, None)
    assert "0 of 1 hold one identity alone" in sheets["counts"]


def test_where_there_is_no_room_members_are_named_and_not_opened(tmp_path):
    album = Album(0)
    (kind,) = group_sheets(groups(3), album, {})["kinds"]
    assert [member["shown"].why for member in kind["sheets"][0]["members"]] == ["left out for its size"] * 3
    assert album.left_out == 3


@pytest.mark.parametrize("cameras", [(0, 1), (None, None)])
@pytest.mark.parametrize("recipe", ["gsmlp", "auto"])
def test_well_parted_images_form_their_groups_by_any_recipe_with_and_without_cameras(recipe, cameras):
    draw = torch.Generator().manual_seed(3)
    centres = torch.nn.functional.normalize(torch.randn(6, 32, generator=draw), dim=1).repeat_interleave(8, 0)
    rows = torch.nn.functional.normalize(centres + 0.03 * torch.randn(48, 32, generator=draw), dim=1)
    facts = [(row // 8, cameras[row % 2]) for row in range(48)]
    found = found_groups(material(facts, rows, recipe=recipe), names(48))
    truth = {frozenset(f"{row}.jpg" for row in range(48) if row // 8 == pid) for pid in range(6)}
    assert {frozenset(picture.name for picture in group.members) for group in found.groups} == truth
    assert min(min(group.confidence) for group in found.groups) > 0.5 and found.alone == 0


def names(count: int) -> list[str]:
    """Digests of images that are all different."""
    return [f"{row:032x}" for row in range(count)]


def test_groups_do_not_depend_on_identities():
    rows = torch.nn.functional.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    known, unknown = ([(pid, row % 2) for row in range(20)] for pid in (5, None))
    assert found_groups(material(known, rows), names(20)) == found_groups(material(unknown, rows), names(20))


def test_copies_stand_in_one_group_and_count_as_one_crop():
    rows = torch.nn.functional.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    plain = found_groups(material([(None, None)] * 20, rows), names(20))
    copied = found_groups(material([(None, None)] * 21, torch.cat([rows, rows[:1]])), [*names(20), names(1)[0]])
    first = next(group for group in plain.groups if Path("images/0.jpg") in group.members)
    assert [group for group in copied.groups if group.name != first.name] == [
        group for group in plain.groups if group.name != first.name
    ]
    assert set(copied.by_picture()) == {*plain.by_picture(), Path("images/20.jpg")}
    assert copied.by_picture()[Path("images/20.jpg")] == first.name


def write_csv(folder: Path, text: str) -> Path:
    file = folder / "groups.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_of_groups_with_confidence_and_paths_from_its_folder_or_the_datas(tmp_path):
    (tmp_path / "data").mkdir()
    for place in ("a.jpg", "data/b.jpg"):
        Image.new("RGB", (8, 16)).save(tmp_path / place)
    file = write_csv(
        tmp_path, "path,split,group,confidence\na.jpg,x,7,0.5\nb.jpg,x,7,0.9\nc.jpg,x,,\nd.jpg,x,-1,\n/e.jpg,x,2,1\n"
    )
    found = groups_of_file(file, tmp_path / "data")
    assert [(group.name, group.confidence) for group in found.groups] == [("7", (0.5, 0.9)), ("2", (1.0,))]
    assert found.groups[0].members == (tmp_path / "a.jpg", tmp_path / "data" / "b.jpg")
    assert found.alone == 2
    assert "Confidence" in found.measure


def test_a_parquet_file_without_confidence_and_with_boxes(tmp_path):
    file = tmp_path / "groups.parquet"
    columns = {"path": ["/a.jpg", "/a.jpg", "/b.jpg"], "group": [1, 1, None], "left": [0.0, 5.0, None]}
    more = {"top": [0, 0, None], "width": [4, 4, None], "height": [8, 8, None]}
    pq.write_table(pa.table(columns | more), file)
    (group,) = groups_of_file(file).groups
    assert group.members == (Crop(Path("/a.jpg"), (0, 0, 4, 8)), Crop(Path("/a.jpg"), (5, 0, 4, 8)))
    assert group.confidence is None
    assert "gives no confidence" in groups_of_file(file).said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "path,confidence\na.jpg,1\n",
            "must have one column 'group', as resight group writes, got the columns path, c",
        ),
        ("path,group\n,1\n", "row 2: path must name an image, got an empty cell"),
        ("path,group,confidence\na.jpg,1,high\n", "row 2: confidence must be a number from 0 to 1, got 'high'"),
        ("path,group,confidence\na.jpg,1,1.5\n", "confidence must be a number from 0 to 1, got '1.5'"),
        ("path,group,left,top,width,height\na.jpg,1,0,0,,8\n", "must be four whole numbers, got 0, 0, , 8"),
        ("path,group\na.jpg,\n", "must hold at least one group, got 1 images and none in a group"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, text, words):
    with pytest.raises(DataError) as refused:
        groups_of_file(write_csv(tmp_path, text))
    assert words in str(refused.value)


def test_a_parquet_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "g.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="cannot be read as a Parquet file"):
        groups_of_file(tmp_path / "g.parquet")
