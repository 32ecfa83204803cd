"""Grouping what a gallery holds, alone and with new images: the same groups as from the images themselves."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from resight.calibrate import fingerprint
from resight.gallery import Entry, Gallery
from resight.groups import opening
from resight.groups.rows import Crops, Row, entry_rows
from resight.groups.running import camera_numbers
from resight.types import Sample

pytest.importorskip("pymilvus")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def crops(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn images in a plain folder."""
    root = tmp_path_factory.mktemp("plain") / "crops"
    root.mkdir()
    for number, path in enumerate(sorted(people.rglob("*.jpg"))):
        shutil.copy(path, root / f"crop{number:02d}.jpg")
    return root


@pytest.fixture(scope="module")
def half(run: Path, crops: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A gallery of every second image."""
    from resight.gallery.index import IndexRequest, run_index

    some = tmp_path_factory.mktemp("half") / "half"
    some.mkdir()
    for path in sorted(crops.iterdir())[::2]:
        shutil.copy(path, some / path.name)
    gallery = str(some.parent / "half.db")
    run_index(IndexRequest(run, some, gallery), lambda text: None, lambda title: lambda done, total: None)
    return gallery


@pytest.fixture(scope="module")
def whole(run: Path, crops: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A gallery of all images."""
    from resight.gallery.index import IndexRequest, run_index

    gallery = str(tmp_path_factory.mktemp("whole") / "whole.db")
    run_index(IndexRequest(run, crops, gallery), lambda text: None, lambda title: lambda done, total: None)
    return gallery


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are embedded."""
    names: list[str] = []

    def counted(model, size, split, **how):  # type: ignore[no-untyped-def]
        names.extend(path.name for path in split.paths)
        return real(model, size, split, **how)

    real = opening.embed_split
    monkeypatch.setattr(opening, "embed_split", counted)
    return names


def found(path: Path) -> set[frozenset[str]]:
    """The groups, and each crop that is alone, as sets of contents."""
    groups: dict[str, set[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            groups.setdefault(row["group"] or row["id"], set()).add(row["id"])
    return {frozenset(members) for members in groups.values()}


def test_a_gallery_and_its_images_give_the_same_groups(
    resight: Command, run: Path, crops: Path, whole: str, half: str, tmp_path: Path, embedded: list[str]
):
    out = [tmp_path / f"{number}.csv" for number in range(4)]
    assert resight("group", run, crops, "--out", out[0])[0] == 0
    assert len(embedded) == len(list(crops.iterdir()))
    embedded.clear()
    code, _, error = resight("group", run, "--gallery", whole, "--out", out[1])
    assert (code, error, embedded) == (0, "", []), error
    assert resight("group", run, crops, "--gallery", whole, "--out", out[2])[0] == 0
    assert embedded == []
    assert resight("group", run, crops, "--gallery", half, "--out", out[3])[0] == 0
    assert embedded == [path.name for path in sorted(crops.iterdir())[1::2]]
    wanted = found(out[0])
    assert 1 < len(wanted) < len(embedded) * 2
    assert [found(path) for path in out[1:]] == [wanted] * 3
    rows = [path.read_text().splitlines() for path in out]
    assert len(rows[0]) == len(rows[1]) == len(rows[2]) == len(rows[3]) - len(embedded)  # half lies at other places


def test_going_on_with_a_gallery_keeps_the_groups_that_there_were(
    resight: Command, run: Path, crops: Path, half: str, tmp_path: Path, embedded: list[str]
):
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    assert resight("group", run, "--gallery", half, "--out", first)[0] == 0
    assert embedded == []
    code, _, error = resight("group", run, crops, "--gallery", half, "--known", first, "--out", second)
    assert (code, error) == (0, "") and len(embedded) == len(list(crops.iterdir())) // 2
    before, after = (
        {row["id"]: row["group"] for row in pq.read_table(path).select(["id", "group"]).to_pylist()}
        for path in (first, second)
    )
    assert any(before.values()) and set(before) < set(after)
    assert all(after[id] == group for id, group in before.items() if group is not None)
    assert {group for group in before.values() if group} <= {group for group in after.values() if group}


def test_what_cannot_be_grouped_is_one_sentence(resight: Command, run: Path, tmp_path: Path):
    out = tmp_path / "g.csv"
    for name, digest in (("empty", fingerprint(run)), ("other", "a1" * 16)):
        Gallery.create(tmp_path / name, fingerprint=digest, dim=512).close()
    for words, sentence in (
        ((), "give DATA, --gallery, or both"),
        (("--gallery", tmp_path / "other"), "another model"),
        (("--gallery", tmp_path / "empty"), "holds no images; add some with resight index"),
        (("--gallery", tmp_path / "none.db"), "none.db"),
    ):
        code, _, error = resight("group", run, *words, "--out", out)
        assert code == 2 and sentence in error and not out.exists(), error


def test_one_tracklet_number_of_two_sources_is_two_tracklets(tmp_path: Path):
    entries = [
        Entry(f"{at:032x}", tmp_path / source / f"{at}.jpg", tracklet=tracklet, source=source)
        for at, (source, tracklet) in enumerate([("yard", 1), ("yard", 1), ("gate", 1), ("gate", None)])
    ]
    (tmp_path / "yard").mkdir()
    crops = Crops.of(
        [*entry_rows(entries, tmp_path / "yard"), Row("new", "new.jpg", Sample(Path("/new.jpg"), tracklet=1))]
    )
    numbers = crops.unlabelled.tracklets
    assert numbers[0] == numbers[1] and len(set(numbers)) == 4 and numbers[3] == -1
    assert [row.name for row in crops.rows] == [
        "0.jpg",
        "1.jpg",
        *(str(tmp_path / "gate" / f"{at}.jpg") for at in (2, 3)),
        "new.jpg",
    ]


def test_cameras_are_those_of_their_source_where_all_images_are_entries():
    entries = [
        Entry(f"{at:032x}", Path(f"/{source}/{at}.jpg"), camid=camid, source=source)
        for at, (source, camid) in enumerate([("yard", 1), ("gate", 1), ("gate", 1), ("gate", None)])
    ]
    rows = entry_rows(entries, Path("/"))
    numbers = camera_numbers(Crops.of(rows)).tolist()
    assert numbers[0] != numbers[1] == numbers[2] and numbers[3] == -1
    data = Row("new", "new.jpg", Sample(Path("/new.jpg"), camid=1))
    assert camera_numbers(Crops.of([*rows, data])).tolist() == [1, 1, 1, -1, 1]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_name_that_no_table_can_hold_is_told_before_any_work(
    resight: Command, run: Path, crops: Path, tmp_path: Path, embedded: list[str], ending: str
):
    root, out = tmp_path / "crops", tmp_path / f"g.{ending}"
    shutil.copytree(crops, root)
    os.rename(root / "crop00.jpg", os.fsencode(root) + b"/caf\xe9.jpg")  # noqa: PTH104 - a name in Latin-1
    code, _, error = resight("group", run, root, "--out", out)
    assert code == 2 and "UTF-8" in error and "rename it" in error and not out.exists() and embedded == []
