"""`resight audit`: drawing, answering at the terminal and by file, going on, and what is said."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resight.audit_images import AuditRequest, nearest_score
from resight.audit_terminal import ask_pairs
from resight.auditing import Audit, prepare_audit
from resight.calibrate import Calibration, Curve, fingerprint, save_calibration
from resight.pair_answers import PairAnswer, read_answers, write_answers
from resight.report.pairs_page import write_pairs_page

Command = Callable[..., tuple[int, str, str]]
THRESHOLD = ("--threshold", "0.5")


def quiet(text: str) -> None:
    del text


def prepared(run: Path, out: Path, pairs: int = 10) -> Audit:
    request = AuditRequest(run, out=out, pairs=pairs, threshold=0.5, device="cpu")
    return prepare_audit(request, quiet, lambda title: lambda done, total: None)


def reader(*words: str) -> Callable[[str], str]:
    left = list(words)

    def read(prompt: str) -> str:
        del prompt
        if not left:
            raise EOFError
        return left.pop(0)

    return read


def calibrated(run: Path, folder: Path, *, model: str | None = None) -> Path:
    """A copy of the run whose calibration says 0.4 for all pairs, and 0.3 for those across cameras."""
    own = Path(shutil.copytree(run, folder))
    across, within = (Curve(threshold, -5.0, 3.0, 0.1) for threshold in (0.3, 0.6))
    save_calibration(
        own,
        Calibration(0.4, 1e-2, -5.0, 3.0, 0.1, "identities", 66, model or fingerprint(own), across, within),
    )
    return own


def questions(page: Path) -> list[list[object]]:
    """The pairs of a page, with the answers it starts from."""
    found = re.search(r'<script id="data"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return list(json.loads(found[1])["pairs"])


def test_all_pairs_from_identities_are_the_truth(run: Path, tmp_path: Path, resight: Command) -> None:
    out, figures = tmp_path / "audit", tmp_path / "a.json"
    words = (run, "--out", out, "--pairs", 999, "--from-identities", "--json", figures)
    code, said, _ = resight("audit", *words)
    assert code == 0 and "66 pairs were answered from the identities" in said and "not by a person" in said
    answers = read_answers(out / "pairs.csv")
    assert len(answers) == 66 and all(a.weight == 1.0 for a in answers)  # 12 images: 12 · 11 / 2
    same = {a.pair for a in answers if a.left.split("/")[1][:4] == a.right.split("/")[1][:4]}
    found = json.loads(figures.read_text())
    called = {a.pair for a in answers if a.score is not None and a.score >= found["threshold"]}
    assert 3 <= len(called) < 66  # of 12 images half have their best match there
    assert found["yes"] == len(same) == 18  # 3 people of 4 images: 3 · 6
    assert found["precision"]["value"] == pytest.approx(len(same & called) / len(called))
    assert found["recall"]["value"] == pytest.approx(len(same & called) / 18)
    assert found["recall"]["low"] == found["recall"]["high"] and found["more_answers_to_halve"] == 0


def test_a_second_call_goes_on_and_more_pairs_keep_the_answers(run: Path, tmp_path: Path, resight: Command) -> None:
    out = tmp_path / "audit"
    code, said, _ = resight("audit", run, "--out", out, *THRESHOLD, "--pairs", 20)
    assert code == 0 and "0 of 20 drawn pairs are answered" in said and "pairs.html" in said
    first = read_answers(out / "pairs.csv")
    given = tmp_path / "answers.csv"
    write_answers(given, [PairAnswer(a.right, a.left, k % 2 == 0) for k, a in enumerate(first[:7])])
    code, said, _ = resight("audit", run, "--out", out, "--pairs", 20, "--answers", given)
    assert code == 0 and "7 of 20 drawn pairs are answered, 4 with yes" in said and 'precision of "same"' in said
    code, _, _ = resight("audit", run, "--out", out, "--pairs", 30)
    after = read_answers(out / "pairs.csv")
    assert [a.pair for a in after[:20]] == [a.pair for a in first] and len({a.pair for a in after}) == 30
    assert [a.same for a in after[:7]] == [True, False] * 3 + [True]
    assert sum(a.weight for a in after) == pytest.approx(66)  # each stratum is represented whole


def test_the_same_seed_draws_the_same_pairs(run: Path, tmp_path: Path) -> None:
    one, two = (prepared(run, tmp_path / name) for name in "ab")
    assert one.answers == two.answers


def test_another_audit_in_the_folder_is_refused(run: Path, people: Path, tmp_path: Path, resight: Command) -> None:
    out = tmp_path / "audit"
    prepared(run, out)
    for words, named in (
        (("--threshold", 0.4), "threshold 0.5, but this one is to have 0.4"),
        (("--seed", 2), "seed 1, but"),
        (("--across-cameras",), "across cameras False"),
        ((people / "query",), "data "),
    ):
        code, _, errors = resight("audit", run, *words, "--out", out)
        assert code == 2 and named in " ".join(errors.split()) and "--out" in errors


def test_answers_to_other_pairs_are_told(run: Path, tmp_path: Path, resight: Command) -> None:
    out, given = tmp_path / "audit", tmp_path / "answers.csv"
    audit = prepared(run, out)
    write_answers(given, [PairAnswer("a", "b", True)])
    code, _, errors = resight("audit", run, "--out", out, "--pairs", 10, "--answers", given)
    assert code == 2 and "none of its 1 answers" in errors
    write_answers(given, [PairAnswer("a", "b", True), PairAnswer(*audit.answers[0].pair, True)])
    code, said, _ = resight("audit", run, "--out", out, "--pairs", 10, "--answers", given)
    assert code == 0 and "1 answers" in said and "do not count" in said


def test_quitting_keeps_every_answer(run: Path, tmp_path: Path) -> None:
    shown: list[object] = []
    audit = ask_pairs(
        prepared(run, tmp_path / "a"), reader("y", "what?", "n", "s", "y", "u", "n", "q"), quiet, shown.append
    )
    assert [a.same for a in read_answers(tmp_path / "a" / "pairs.csv")] == [True, False, None, False] + [None] * 6
    assert len(shown) == 8 and "▀" in str(shown[0])
    again = ask_pairs(prepared(run, tmp_path / "a"), reader("y"), quiet, shown.append)  # the input ends
    assert [a.same for a in again.answers[:5]] == [True, False, True, False, None]
    assert again.answers == prepared(run, tmp_path / "a").answers and audit.plan == again.plan


def test_across_cameras_draws_no_pair_of_one(run: Path, tmp_path: Path, resight: Command) -> None:
    code, said, _ = resight("audit", run, "--across-cameras", "--out", tmp_path / "a", *THRESHOLD, "--pairs", 99)
    assert code == 0 and "36 pairs across cameras of 12 images" in said  # 6 in each camera
    camera = re.compile(r"_c(\d)")
    for a in read_answers(tmp_path / "a" / "pairs.csv"):
        assert camera.findall(a.left) != camera.findall(a.right)


def test_without_a_threshold_it_says_which_and_why(run: Path, tmp_path: Path, resight: Command) -> None:
    code, said, _ = resight("audit", run, "--out", tmp_path / "a", "--pairs", 5)
    assert code == 0 and "median score of an image's nearest neighbour" in said


def test_the_calibrations_threshold_is_audited(run: Path, tmp_path: Path, resight: Command) -> None:
    own = calibrated(run, tmp_path / "own")
    code, said, _ = resight("audit", own, "--pairs", 99, "--from-identities", "--json", tmp_path / "a.json")
    assert code == 0 and "the same from a score of 0.4 up (the run's calibration)" in said
    answers = read_answers(own / "audit" / "pairs.csv")
    called = [a for a in answers if a.score is not None and a.score >= 0.4]
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["threshold"] == 0.4
    assert found["precision"]["value"] == pytest.approx(sum(a.same is True for a in called) / len(called))
    code, said, _ = resight("audit", own, "--pairs", 9, "--across-cameras", "--out", tmp_path / "b")
    assert code == 0 and "a score of 0.3 up (the run's calibration, for pairs across cameras)" in said


def test_another_models_calibration_is_refused(run: Path, tmp_path: Path, resight: Command) -> None:
    own = calibrated(run, tmp_path / "own", model="another")
    code, _, errors = resight("audit", own)
    assert code == 2 and "belongs to another model" in errors and not (own / "audit").exists()
    assert resight("audit", own, *THRESHOLD, "--pairs", 5)[0] == 0


def test_answers_alone_draw_nothing_more(run: Path, tmp_path: Path, resight: Command) -> None:
    out, given = tmp_path / "audit", tmp_path / "answers.csv"
    audit = prepared(run, out)
    write_answers(given, [PairAnswer(*audit.answers[3].pair, True)])
    code, said, _ = resight("audit", run, "--out", out, "--answers", given)
    assert code == 0 and "1 of 10 drawn pairs are answered" in said
    assert [q[2] for q in questions(out / "pairs.html")] == [None] * 3 + [True] + [None] * 6  # the page knows it now


def test_a_wrong_file_of_answers_changes_nothing(run: Path, tmp_path: Path, resight: Command) -> None:
    out, given = tmp_path / "audit", tmp_path / "answers.csv"
    given.write_text("left,right,same\na,b,perhaps\n")
    code, _, errors = resight("audit", run, "--out", out, "--answers", given)
    assert code == 2 and "line 2 must answer yes or no" in errors and not out.exists()
    prepared(run, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    given.write_text("left,right,same\na,b,\n")
    code, _, errors = resight("audit", run, "--out", out, "--pairs", 10, "--answers", given)
    assert code == 2 and "all of its 1 pairs are open" in errors
    assert before == {file.name: file.read_bytes() for file in out.iterdir()}


def test_a_folder_that_cannot_be_made_is_one_sentence(run: Path, tmp_path: Path, resight: Command) -> None:
    (tmp_path / "file").write_text("")
    code, _, errors = resight("audit", run, "--out", tmp_path / "file" / "audit", *THRESHOLD)
    assert code == 2 and "cannot be made a folder" in errors and "give another --out" in errors


def test_data_that_moved_are_asked_for(run: Path, people: Path, tmp_path: Path, resight: Command) -> None:
    own = Path(shutil.copytree(run, tmp_path / "own"))
    log = own / "log.jsonl"
    log.write_text(log.read_text().replace(str(people.resolve()), str(tmp_path / "gone")))
    for command in ("audit", "calibrate"):
        code, _, errors = resight(command, own)
        assert code == 2 and f"are no longer at {tmp_path / 'gone'}; give DATA" in errors
    assert resight("audit", own, people, "--pairs", 5)[0] == 0


def test_images_beside_a_link_to_a_manifest_are_found(
    run: Path, people: Path, tmp_path: Path, resight: Command
) -> None:
    images = sorted((people / "bounding_box_train").glob("*.jpg"))[:4]
    for image in images:
        shutil.copy(image, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "list.csv").write_text("path\n" + "".join(f"{i.name}\n" for i in images))
    (tmp_path / "list.csv").symlink_to(tmp_path / "elsewhere" / "list.csv")
    for _ in range(2):
        code, said, _ = resight("audit", run, tmp_path / "list.csv", "--out", tmp_path / "a", "--threshold", "0.01")
        assert code == 0 and "0 of 6 drawn pairs" in said
    assert (tmp_path / "a" / "pairs.html").read_text().count("data:image/jpeg") == 4


def test_ctrl_c_while_a_pair_is_drawn_keeps_every_answer(run: Path, tmp_path: Path) -> None:
    shown: list[object] = []

    def show(picture: object) -> None:
        shown.append(picture)
        if len(shown) == 3:
            raise KeyboardInterrupt

    audit = ask_pairs(prepared(run, tmp_path / "a"), reader("y", "n", "y"), quiet, show)
    assert [a.same for a in audit.answers] == [True, False] + [None] * 8
    assert read_answers(audit.pairs_file) == audit.answers


def test_the_nearest_score_is_the_median_of_the_best() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    assert nearest_score(rows, None) == pytest.approx(0.8)  # best of each: 0.8, 0.8, 0.6
    assert nearest_score(rows, torch.tensor([0, 0, 1])) == pytest.approx(0.6)  # 0.0, 0.6, 0.6


def test_a_threshold_that_is_no_cosine_is_refused(run: Path, tmp_path: Path, resight: Command) -> None:
    code, _, errors = resight("audit", run, "--out", tmp_path / "a", "--threshold", 3)
    assert code == 2 and "must be a cosine between -1 and 1, got 3" in errors


def test_the_page_holds_its_images_and_escapes_names(people: Path, tmp_path: Path) -> None:
    images = sorted(p.relative_to(people).as_posix() for p in people.rglob("*.jpg"))[:3]
    evil = "</script><script>alert(1)</script>.jpg"
    answers = [PairAnswer(images[0], images[1], True, 2.5, 0.25), PairAnswer(images[2], evil)]
    write_pairs_page(tmp_path / "p.html", answers, people, title="<b>x</b>")
    page = (tmp_path / "p.html").read_text()
    assert "<b>" not in page and page.count("</script>") == 2  # the data's and the program's own
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert data["pairs"] == [[images[0], images[1], True, "2.5", "0.25"], [images[2], evil, None, "1.0", ""]]
    assert data["images"][evil] is None
    for name in images:
        assert data["images"][name].startswith("data:image/jpeg;base64,/9j/")
    assert not re.search(r"(src|href)=[\"']?http|//cdn|@import", page)
