"""`resight group` from the shell: a table, gone on from, with answers, a tree and errors of one sentence."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from resight.calibrate import Calibration, fingerprint, save_calibration
from resight.data.digests import content_digests
from resight.pair_answers import PairAnswer, write_answers
from resight.report.found_groups import found_groups
from resight.report.material import Source, open_material

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def copies(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn images in a plain folder, two and a copy in folders of their own, under names that mean nothing."""
    root = tmp_path_factory.mktemp("crops")
    for number, path in enumerate(sorted(people.rglob("*.jpg"))):
        shutil.copy(path, root / f"crop{number:02d}.jpg")
    return root


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def groups(path: Path) -> dict[str, int | None]:
    found = pq.read_table(path).select(["name", "group"]).to_pylist()
    return {row["name"]: row["group"] for row in found}


def test_a_table_with_a_row_for_each_image_and_no_identity(resight: Command, run: Path, people: Path, tmp_path: Path):
    out, figures, tree = tmp_path / "g.csv", tmp_path / "g.json", tmp_path / "tree"
    code, said, error = resight("group", run, people, "--out", out, "--json", figures, "--tree", tree)
    assert (code, error) == (0, "")
    assert "has no calibration, so there are no probabilities and crops are placed by their neighbours alone" in said
    rows, content = table(out), json.loads(figures.read_text())
    assert "pid" not in rows[0] and {"id", "path", "group", "confidence", "probability", "matched"} <= set(rows[0])
    assert len(rows) == content["images"] and len({row["path"] for row in rows}) == len(rows)
    assert all(0 <= float(row["confidence"]) <= 1 and row["probability"] == "" for row in rows)
    assert len({row["group"] for row in rows} - {""}) == content["groups"]
    assert len(list(tree.rglob("*.jpg"))) == len(rows)


def test_a_report_shows_the_same_groups(resight: Command, run: Path, people: Path, tmp_path: Path):
    out = tmp_path / "g.csv"
    assert resight("group", run, people, "--out", out)[0] == 0
    wanted: dict[str, set[tuple[str, str]]] = {}
    for row in table(out):
        if row["group"]:
            wanted.setdefault(f"group {row['group']}", set()).add((row["path"], f"{float(row['confidence']):.4f}"))
    material = open_material(run, Source(people, split="all", device="cpu"))
    shown = found_groups(material, content_digests(material.images.pictures, tmp_path))
    found = {
        group.name: {(str(path), f"{sure:.4f}") for path, sure in zip(group.members, group.confidence, strict=True)}
        for group in shown.groups
    }
    assert found == wanted and found


def test_going_on_keeps_numbers_and_again_changes_no_byte(resight: Command, run: Path, copies: Path, tmp_path: Path):
    some, all_of_them, out = tmp_path / "some", copies, tmp_path / "g.parquet"
    some.mkdir()
    for path in sorted(copies.iterdir())[::2]:
        (some / path.name).symlink_to(path)
    assert resight("group", run, some, "--out", out)[0] == 0
    before = groups(out)
    code, _, error = resight("group", run, all_of_them, "--known", out, "--out", tmp_path / "h.parquet")
    assert (code, error) == (0, ""), error
    after = groups(tmp_path / "h.parquet")
    assert set(before) <= set(after)
    assert all(after[name] == number for name, number in before.items() if number is not None)
    first = (tmp_path / "h.parquet").read_bytes()
    assert resight("group", run, copies, "--known", tmp_path / "h.parquet", "--out", tmp_path / "h.parquet")[0] == 0
    assert (tmp_path / "h.parquet").read_bytes() == first


def test_copies_of_a_file_share_its_group_and_every_file_has_a_row(
    resight: Command, run: Path, copies: Path, tmp_path: Path
):
    root = tmp_path / "crops"
    shutil.copytree(copies, root)
    shutil.copy(root / "crop00.jpg", root / "other.jpg")
    out = tmp_path / "g.parquet"
    _, said, _ = resight("group", run, root, "--out", out)
    assert "1 of" in said and "are copies of others" in said
    found = groups(out)
    assert len(found) == len(list(copies.iterdir())) + 1 and found["other.jpg"] == found["crop00.jpg"]


def test_answers_are_obeyed_and_a_contradiction_writes_nothing(
    resight: Command, run: Path, copies: Path, tmp_path: Path
):
    first, second, out = tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "g.parquet"
    write_answers(
        first,
        [PairAnswer("crop00.jpg", "crop10.jpg", True), PairAnswer("crop10.jpg", str(copies / "crop05.jpg"), True)],
    )
    write_answers(second, [PairAnswer("crop01.jpg", "crop00.jpg", False), PairAnswer("gone.jpg", "crop00.jpg", True)])
    code, said, _ = resight("group", run, copies, "--out", out, "--answers", first, "--answers", second)
    assert code == 0 and "1 of 4 answers name images that are not here" in said
    found = groups(out)
    assert found["crop00.jpg"] == found["crop10.jpg"] == found["crop05.jpg"] is not None
    assert found["crop01.jpg"] != found["crop00.jpg"]
    third, never = tmp_path / "3.csv", tmp_path / "never.parquet"
    write_answers(third, [PairAnswer("crop00.jpg", "crop05.jpg", False)])
    code, _, error = resight("group", run, copies, "--out", never, "--answers", first, "--answers", third)
    assert code == 2 and not never.exists()
    assert "crop00.jpg and crop05.jpg are said to be different, and to be the same through crop10.jpg" in error


def test_a_calibrated_run_gives_probabilities_and_strictness(resight: Command, run: Path, copies: Path, tmp_path: Path):
    mine = tmp_path / "run"
    shutil.copytree(run, mine)
    print_of = fingerprint(mine)
    save_calibration(mine, Calibration(0.9999, 0.05, -2.0, 2.0, 0.1, "answers", 50, print_of))
    out = tmp_path / "g.csv"
    code, said, _ = resight("group", mine, copies, "--out", out)
    assert (
        code == 0
        and "a match is a cosine of 0.9999 or more (false-match rate 0.05)" in said
        and "--strict leaves those" in said
    )
    assert all((row["probability"] == "") == (row["group"] == "") for row in table(out))
    plain = sum(row["group"] == "" for row in table(out))
    _, said, _ = resight("group", mine, copies, "--out", out, "--strict", "--overwrite")
    strict = table(out)
    assert "crops that match nobody so are alone" in said and sum(row["group"] == "" for row in strict) >= plain
    assert all((row["matched"] == "yes") == (row["group"] != "") for row in strict)
    _, said, _ = resight("group", mine, copies, "--out", out, "--threshold", "-1", "--overwrite")
    assert all(row["matched"] == "yes" for row in table(out) if row["group"])


def test_another_model_embeds_known_images_anew(resight: Command, run: Path, copies: Path, tmp_path: Path):
    out = tmp_path / "g.parquet"
    assert resight("group", run, copies, "--out", out)[0] == 0
    before, content = groups(out), pq.read_table(out)
    other = content.replace_schema_metadata({b"resight.groups": b'{"format": 1, "fingerprint": "another"}'})
    pq.write_table(other, out)
    code, said, _ = resight("group", run, copies, "--known", out, "--out", out)
    assert code == 0 and "is of another model" in said and groups(out) == before


def test_what_cannot_be_used_is_one_sentence(resight: Command, run: Path, copies: Path, tmp_path: Path):
    there, text = tmp_path / "there.csv", tmp_path / "known.parquet"
    there.write_text("mine")
    text.write_text("no table")
    missing = tmp_path / "missing.csv"
    write_answers(missing, [PairAnswer("x.jpg", "y.jpg", True)])
    out = tmp_path / "new.csv"
    for words, sentence in (
        (("--out", tmp_path / "g.txt"), "--out must end in .csv or .parquet"),
        (("--out", tmp_path / "none" / "g.csv"), "--out must be in a folder that is there"),
        (("--out", out, "--json", tmp_path / "none" / "g.json"), "--json must be in a folder that is there"),
        (("--out", there), "exists already; replace it with --overwrite"),
        (("--out", out, "--known", there), "earlier groups must be a Parquet file"),
        (("--out", out, "--known", text), "cannot be read as a Parquet file"),
        (("--out", out, "--strict"), "--strict needs to know which scores are a match"),
        (("--out", out, "--false-match-rate", "0.01"), "needs a calibration"),
        (("--out", out, "--camera-once"), "--camera-once needs images of known cameras"),
        (("--out", out, "--tree", copies), "--tree must be a new or empty folder"),
        (("--out", out, "--distance", "1"), "must lie between 0 and 1"),
        (("--out", out, "--answers", missing), "x.jpg and all others are not among the"),
    ):
        code, _, error = resight("group", run, copies, *words)
        assert code == 2 and sentence in error and not out.exists(), (words, error)
    assert there.read_text() == "mine"


def test_a_parquet_file_of_others_is_no_earlier_result(resight: Command, run: Path, copies: Path, tmp_path: Path):
    others = tmp_path / "others.parquet"
    assert resight("embed", run, copies, "--out", others)[0] == 0
    code, _, error = resight("group", run, copies, "--known", others, "--out", tmp_path / "g.csv")
    assert code == 2 and "earlier groups must be a file that resight group wrote" in error


def test_a_broken_image_stops_it_or_is_left_out(resight: Command, run: Path, copies: Path, tmp_path: Path):
    root, out = tmp_path / "crops", tmp_path / "g.csv"
    shutil.copytree(copies, root)
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    code, _, error = resight("group", run, root, "--out", out)
    assert code == 2 and "--skip-broken" in error and not out.exists()
    code, said, _ = resight("group", run, root, "--out", out, "--skip-broken")
    assert code == 0 and "1 broken images were left out" in said
    assert len(table(out)) == len(list(copies.iterdir()))
    first = tmp_path / "g.parquet"
    assert resight("group", run, root, "--out", first, "--skip-broken")[0] == 0
    code, said, error = resight("group", run, root, "--known", first, "--out", first, "--skip-broken")
    assert (code, error) == (0, "") and "1 broken images were left out" in said  # nothing else is new
    assert len(groups(first)) == len(list(copies.iterdir()))
