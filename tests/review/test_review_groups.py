"""Groups of a gallery: answers obeyed however pictures are named, contradictions told, cameras known by source."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("pymilvus")

from held_gallery import MODEL, ROOT, Holding, of_four
from resight.data.digests import content_digests
from resight.errors import DataError
from resight.gallery import Entry
from resight.groups.grouping import Grouping
from resight.groups.rows import Crops, entry_rows
from resight.groups.saved import read_groups
from resight.groups.settings import Asked
from resight.groups.table import write_groups
from resight.review import found as found_module
from resight.review.contradictions import ContradictionError, contradiction
from resight.review.found import Doubts, FoundGroups, Means, cameras_apart, group_gallery, load_groups
from resight.review.matched import Matched
from resight.types import UNKNOWN_CAMID


def grouped(holding: Holding, known: dict, tmp_path: Path, means: Means = Means()) -> FoundGroups:  # noqa: B008
    return group_gallery(holding, known, means, ROOT, tmp_path / "cache")  # type: ignore[arg-type]


def five() -> FoundGroups:
    """Five crops: 0, 1 and 2 are group 1, of which 2 is doubtful and could be in group 2; 3 and 4 are that."""
    entries = [Entry(f"{n:032x}", ROOT / f"{n}.jpg", camid=n % 2) for n in range(5)]
    angles = torch.tensor([0.0, 0.1, 0.7, 1.2, 1.3])
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    grouping = Grouping(
        np.array([1, 1, 1, 2, 2]),
        np.array([0.9, 0.8, 0.4, 0.7, 0.9]),
        np.array([2, 2, 2, 1, 1]),
        np.full(5, np.nan),
        np.zeros(5),
        np.zeros(5, dtype=bool),
    )
    return FoundGroups(Crops.of(entry_rows(entries, ROOT)), rows, grouping)


def test_doubts_begin_with_the_least_sure_crop_and_those_of_a_group_stay_in_it():
    found = five()
    assert [group.number for group in found.most_doubtful] == [1, 2]
    assert [group.number for group in found.largest] == [1, 2]
    first, second, *_ = Doubts(found).open({}, 10)
    # Crop 2 beside the nearest of its own group (0.6 away), then of its rival (0.5 away).
    assert first.pair == ("/crops/1.jpg", "/crops/2.jpg") and second.pair == ("/crops/2.jpg", "/crops/3.jpg")
    assert first.why == second.why  # nothing tells which answer is expected
    inside = Doubts(found, 1)
    assert [q.pair for q in inside.open({}, 10)] == [
        ("/crops/1.jpg", "/crops/2.jpg"),
        ("/crops/0.jpg", "/crops/1.jpg"),
    ]
    assert inside.open({("/crops/1.jpg", "/crops/2.jpg"): None}, 10)[0].pair == ("/crops/0.jpg", "/crops/1.jpg")
    assert len(Doubts(found, 99)) == 0


def test_groups_obey_answers_and_name_the_contradicting_ones(tmp_path: Path):
    with pytest.raises(DataError, match="holds no images"):
        grouped(Holding([], torch.empty(0, 16)), {}, tmp_path)
    holding = of_four()
    number = grouped(holding, {}, tmp_path).grouping.group
    assert [len(set(number[start : start + 12])) for start in (0, 12, 24, 36)] == [1, 1, 1, 1] and len(set(number)) == 4
    known = {("/crops/00.jpg", "/crops/12.jpg"): True, ("/crops/24.jpg", "/crops/25.jpg"): False}
    number = grouped(holding, known, tmp_path).grouping.group
    assert number[0] == number[12] and number[24] != number[25]
    wrong = {("/crops/12.jpg", "/crops/36.jpg"): True, ("/crops/00.jpg", "/crops/36.jpg"): False}
    with pytest.raises(ContradictionError, match="contradict") as refused:
        grouped(holding, known | wrong, tmp_path)
    assert dict(refused.value.answers) == {("/crops/00.jpg", "/crops/12.jpg"): True} | wrong


def test_the_shortest_chain_of_answers_that_contradicts_one_is_given():
    same = [(0, 1), (1, 2), (2, 3), (1, 3), (5, 6)]
    assert contradiction(7, same, [(0, 5), (0, 4)]) is None
    assert contradiction(7, same, []) is None and contradiction(7, [], [(0, 1)]) is None
    assert contradiction(7, same, [(4, 5), (3, 0)]) == (1, [3, 0])  # 3 = 1 = 0, not through 2


def test_answers_find_their_pictures_under_other_paths_by_content_and_the_others_are_counted(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    files = [folder / f"{n}.png" for n in range(3)]
    for n, file in enumerate(files):
        Image.new("RGB", (4, 4), (40 * n, 0, 0)).save(file)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "copy.png").write_bytes(files[1].read_bytes())
    entries = [Entry(id, file) for id, file in zip(content_digests(files, tmp_path), files, strict=True)]
    known = {
        (f"{tmp_path}/link/0.png", f"{folder}/2.png"): True,
        (f"{tmp_path}/copy.png", f"{folder}/../data/2.png"): False,
        (f"{folder}/0.png", f"{tmp_path}/gone.png"): True,
        (f"{folder}/0.png", f"{folder}/1.png"): None,
    }
    crops = Crops.of(entry_rows(entries, folder))
    matched = Matched.of(crops, known, tmp_path)
    assert (matched.same, matched.different, matched.missing) == ([(0, 2)], [(1, 2)], 1)
    assert matched.said() == ["1 of 3 answers name images that are not grouped here, and were not used."]
    later = known | {(f"{folder}/0.png", f"{folder}/2.png"): False}  # the same pair by its own name
    assert Matched.of(crops, later, tmp_path).same == []


def test_a_camera_and_a_tracklet_are_those_of_their_source(tmp_path: Path):
    entries = [
        Entry("a", ROOT / "a", camid=1, tracklet=7, source="gate"),
        Entry("b", ROOT / "b", camid=1, tracklet=7, source="yard"),
        Entry("c", ROOT / "c", camid=2, source="yard"),
        Entry("d", ROOT / "d", camid=-1, source="gate"),
        Entry("e", ROOT / "e", source="gate"),
    ]
    rows = entry_rows(entries, ROOT)
    apart = cameras_apart(rows).tolist()
    assert len(set(apart[:3])) == 3 and min(apart[:3]) >= 0 and apart[3:] == [UNKNOWN_CAMID] * 2
    assert cameras_apart(rows[1:4]).tolist() == [1, 2, UNKNOWN_CAMID]  # nothing stands in two sources: as they are
    # Tracklet 3 of the one source and of the other hold one image each, of two identities.
    holding = of_four()
    for n, source in ((0, "gate"), (12, "yard")):
        holding.entries[n] = Entry(f"{n:032x}", ROOT / f"{n:02}.jpg", tracklet=3, source=source)
    number = grouped(holding, {}, tmp_path).grouping.group
    assert number[0] == number[1] and number[12] == number[13] and number[0] != number[12]


def test_cameras_reach_the_rules_by_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    real = found_module.settled

    def settled(asked: Asked, rows: torch.Tensor, camids: torch.Tensor, **more: bool):
        seen.append(camids.tolist())
        return real(asked, rows, camids, **more)

    monkeypatch.setattr(found_module, "settled", settled)
    holding = of_four(camid=1)
    holding.entries = [Entry(e.id, e.path, camid=1, source="ab"[n % 2]) for n, e in enumerate(holding.entries)]
    grouped(holding, {}, tmp_path)
    assert len(set(seen[0])) == 2


def test_saved_groups_come_back_and_are_gone_on_from(tmp_path: Path):
    holding = of_four()
    first = grouped(holding, {}, tmp_path)
    file = tmp_path / "groups.parquet"
    write_groups(file, first.crops, first.grouping, first.embeddings, MODEL)
    again, saved = load_groups(file, MODEL)
    assert again.grouping.group.tolist() == first.grouping.group.tolist()
    assert [group.members for group in again.most_doubtful] == [group.members for group in first.most_doubtful]
    assert [(e.id, e.path) for e in again.entries] == [(e.id, e.path) for e in holding.entries]
    assert torch.equal(again.embeddings, first.embeddings) and len(Doubts(again)) == len(Doubts(first))
    # Other crops come first now, and yet each group keeps its number.
    back = Holding(holding.entries[::-1], holding.rows.flip(0))
    kept = grouped(back, {}, tmp_path, Means(earlier=read_groups(file))).grouping.group
    assert kept[::-1].tolist() == first.grouping.group.tolist() and saved.fingerprint == MODEL
    with pytest.raises(DataError, match=r"groups.parquet must hold groups .* of the app's model.*--known"):
        load_groups(file, "0" * 32)


def test_images_that_the_gallery_lacks_stay_in_their_groups_and_keep_their_numbers(tmp_path: Path):
    file, holding = tmp_path / "groups.parquet", of_four()
    first = grouped(holding, {}, tmp_path)
    write_groups(file, first.crops, first.grouping, first.embeddings, MODEL)
    # The gallery holds the last identity and a new crop of it; an answer names one that only the file holds.
    some = Holding(
        [*holding.entries[36:], Entry("e" * 32, ROOT / "new.jpg")], torch.cat([holding.rows[36:], holding.rows[40:41]])
    )
    known = {("/crops/00.jpg", "/crops/01.jpg"): False}
    again = grouped(some, known, tmp_path, Means(earlier=load_groups(file, MODEL)[1]))
    number = {row.id: at for row, at in zip(again.crops.firsts, again.grouping.group.tolist(), strict=True)}
    before = dict(zip((e.id for e in holding.entries), first.grouping.group.tolist(), strict=True))
    assert len(again.crops.rows) == 49 and [number[id] for id in list(before)[12:]] == list(before.values())[12:]
    assert number["e" * 32] == before[holding.entries[40].id]
    assert number[holding.entries[0].id] != number[holding.entries[1].id]  # the answer was obeyed
    assert not any("name images that are not" in sentence for sentence in again.said)


def test_earlier_groups_are_known_by_content_where_a_folder_has_another_path(tmp_path: Path):
    file, holding = tmp_path / "groups.parquet", of_four(camid=1, source="yard")
    first = grouped(holding, {}, tmp_path)
    write_groups(file, first.crops, first.grouping, first.embeddings, MODEL)
    moved = Holding([replace(e, path=Path("/mnt") / e.path.name) for e in holding.entries][::-1], holding.rows.flip(0))
    again = grouped(moved, {}, tmp_path, Means(earlier=load_groups(file, MODEL)[1]))
    assert again.grouping.group[::-1].tolist() == first.grouping.group.tolist()
    assert [entry.path for entry in again.entries] == [entry.path for entry in moved.entries]  # shown from where it is
    assert len(set(cameras_apart(again.crops.firsts).tolist())) == 1


def test_two_contents_of_one_path_are_never_asked_about():
    entries = [Entry(f"{n:032x}", ROOT / ("one.jpg" if n < 2 else f"{n}.jpg")) for n in range(5)]
    found = replace(five(), crops=Crops.of(entry_rows(entries, ROOT)))
    for doubts in (Doubts(found), Doubts(found, 1)):
        asked = doubts.open({}, 10)
        assert asked and all(question.pair[0] < question.pair[1] for question in asked)


def test_one_other_answer_is_told_as_one():
    error = ContradictionError([(("a", "b"), False), (("a", "b"), True)])
    assert "and, in another answer, to be the same; take one of these 2 back" in str(error)
    error = ContradictionError([(("a", "c"), False), (("a", "b"), True), (("b", "c"), True)])
    assert "and, in 2 other answers, to be the same; take one of these 3 back" in str(error)
