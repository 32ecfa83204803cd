"""The report: what it shows, what it survives, and that it stands alone."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from resight.errors import DataError
from resight.report import Strip, StripItem, ranked_strips, write_report
from resight.report.curves import curves
from resight.report.history import read_history
from resight.report.strips import thumbnail
from resight.types import Sample, Split

RECIPE = {
    "name": "gsmlp",
    "backbone": {"name": "resnet18", "weights": "none"},
    "miner": {"name": "gsmlp", "tau": 0.6},
    "loss": {"name": "smlc"},
    "train": {"warmup_epochs": 1, "decay_at": [40]},
}
START = {
    "event": "start", "time": 1_700_000_000.0, "version": "0.1.0", "recipe": RECIPE, "seed": 7, "device": "cpu",
    "precision": "float32", "command": "resight train <crops> --recipe gsmlp",
    "data": {"root": "crops", "format": "market1501", "train": 1234, "query": 40, "gallery": 60, "cameras": 2},
}  # fmt: skip
VOID = {"meta", "img", "br"}


def epoch(number: int, loss: float, **more: Any) -> dict[str, Any]:
    return {
        "event": "epoch", "epoch": number, "loss": loss, "positives_per_image": 1.0 + (number > 1), "seconds": 10.0,
        "images_per_second": 100.0, "learning_rate": 0.1, "mining_seconds": 0.5, **more,
    }  # fmt: skip


def evaluation(number: int, mAP: float) -> dict[str, Any]:
    cmc = {"1": mAP, "5": mAP + 0.1, "10": mAP + 0.2, "20": mAP + 0.3}
    return {
        "event": "evaluation", "epoch": number, "mAP": mAP, "mINP": mAP / 2, "cmc": cmc, "queries": 38, "left_out": 2,
    }  # fmt: skip


WHOLE = [
    START, evaluation(0, 0.1), {"event": "step", "epoch": 1, "step": 5, "steps": 5, "loss": 2.0},
    epoch(1, 2.0, precision=1.0, recall=0.1), epoch(2, 1.0, precision=0.75, recall=0.5), evaluation(2, 0.4),
    {"event": "end", "seconds": 20.0, "images_per_second": 100.0},
]  # fmt: skip


def make_run(folder: Path, events: list[dict[str, Any]], *, tail: str = "") -> Path:
    run = folder / "run"
    run.mkdir()
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + tail, encoding="utf-8")
    return run


def report(run: Path, **extra: Any) -> str:
    out = run / "report.html"
    write_report(run, out, **extra)
    return out.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Reads a page: every opened tag must be closed; collects text, ids and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href", "xlink:href"):
                self.addresses.append(str(value))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_shows_headline_scores_curves_and_recipe(tmp_path):
    html = report(make_run(tmp_path, WHOLE))
    text = Page(html).text
    for words in (
        "Run finished.", "crops (market1501)", "1,234 train, 40 query, 60 gallery, 2 cameras", "gsmlp (gsmlp × smlc)",
        "resnet18", "cpu (float32)", "resight (0.1.0)", "2023-11-14 22:13 UTC", "resight train <crops> --recipe gsmlp",
        "mAP 10.0 % 40.0 % +30.0", "mINP 5.0 % 20.0 % +15.0", "CMC@20 40.0 % 70.0 % +30.0", "38 queries; 2 left out",
        "miner.tau = 0.6", "train.decay_at = [40]", "Mined positives: precision and recall, %", "warm-up",
    ):  # fmt: skip
        assert words in text, words
    assert "Loss by epoch: loss 2 at epoch 1, 1 at epoch 2." in html


def test_the_page_loads_nothing_and_its_ids_are_its_own(tmp_path):
    image = tmp_path / "a.jpg"
    Image.new("RGB", (30, 60), "red").save(image)
    strip = Strip(image, "one", (StripItem(image, 0.5, "right", 1),))
    html = report(make_run(tmp_path, WHOLE), strips=[strip])
    page = Page(html)
    assert page.addresses
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in page.addresses)
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(page.ids)
    assert not re.search(r"https?://|<script|@import", html)
    assert "#010203" not in html


def test_text_from_the_run_is_escaped(tmp_path):
    data = {**START["data"], "root": "<script>alert(1)</script>"}
    html = report(make_run(tmp_path, [{**START, "data": data}]), notes=["a < b & c"])
    assert "<script>" not in html
    assert "a &lt; b &amp; c" in html


def test_the_summary_gives_the_figures_where_there_is_one(tmp_path):
    run = make_run(tmp_path, WHOLE)
    summary = {"untrained": evaluation(0, 0.2), "trained": evaluation(2, 0.5), "seconds": 4000, "images_per_second": 9}
    (run / "summary.json").write_text(json.dumps(summary))
    text = Page(report(run)).text
    assert "mAP 10.0 % 50.0 % +40.0" in text
    assert "1 h 6 min, 9.0 images/s" in text


@pytest.mark.parametrize("tail", ['{"event": "epoch", "epo', '{"event": "epoch", "loss": "\\u00', "\0\0\0\0", "[1]"])
def test_a_last_line_cut_short_is_noted(tmp_path, tail):
    history = read_history(make_run(tmp_path, WHOLE, tail=tail))
    assert history.notes == ("The last line of log.jsonl was cut short, as by a power cut, and is passed over.",)
    assert len(history.epochs) == 2


def test_what_could_not_be_read_is_on_the_page(tmp_path):
    text = Page(report(make_run(tmp_path, WHOLE[:2], tail='{"event"'))).text
    assert "The last line of log.jsonl was cut short" in text


def test_lines_cut_short_before_a_resume_are_counted(tmp_path):
    run = make_run(tmp_path, WHOLE[:4], tail='{"event": "st\n' + json.dumps({"event": "resume", "epoch": 2}) + "\n")
    assert read_history(run).notes == ("1 line(s) inside log.jsonl could not be read and are passed over: 5.",)


def test_a_summary_cut_short_is_noted(tmp_path):
    run = make_run(tmp_path, WHOLE)
    (run / "summary.json").write_text('{"trained": {"mAP": 0.')
    history = read_history(run)
    assert history.notes == ("summary.json could not be read; the figures come from the log alone.",)
    assert history.trained == WHOLE[5]


def test_a_resumed_epoch_counts_once_with_its_last_figures(tmp_path):
    events = [START, epoch(1, 3.0), epoch(2, 2.5), {"event": "resume", "epoch": 2}, epoch(2, 2.0), epoch(3, 1.0)]
    history = read_history(make_run(tmp_path, events))
    assert [(record["epoch"], record["loss"]) for record in history.epochs] == [(1, 3.0), (2, 2.0), (3, 1.0)]


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([], "not finished; no step is logged yet"),
        ([START], "not finished; no step is logged yet"),
        ([START, epoch(1, 1.0)], "not finished; last seen after epoch 1"),
        (
            [START, {"event": "step", "epoch": 3, "step": 4, "steps": 9}],
            "not finished; last seen in epoch 3, step 4 of 9",
        ),
        ([START, epoch(1, 1.0), {"event": "interrupted", "epoch": 1}], "interrupted after epoch 1"),
        (
            [START, {"event": "interrupted", "epoch": 1}, {"event": "resume", "epoch": 2}, epoch(2, 1.0)],
            "not finished; last seen after epoch 2",
        ),
        (WHOLE, "finished"),
    ],
)
def test_how_the_run_stands(tmp_path, events, status):
    assert read_history(make_run(tmp_path, events)).status == status


def test_an_unlabelled_run_of_one_epoch(tmp_path):
    text = Page(report(make_run(tmp_path, [START, epoch(1, 2.0)]))).text
    assert "Nothing was evaluated" in text
    assert "precision and recall" not in text
    assert "Ranked strips" not in text


def test_a_run_without_epochs_or_recipe(tmp_path):
    text = Page(report(make_run(tmp_path, [{"event": "start", "time": 0}]))).text
    assert "No epoch was finished." in text
    assert "Recipe" not in text


def test_only_untrained_figures_leave_the_others_open(tmp_path):
    assert "mAP 10.0 % – –" in Page(report(make_run(tmp_path, WHOLE[:2]))).text


def test_figures_that_are_not_finite_leave_a_gap(tmp_path):
    drawn = curves(read_history(make_run(tmp_path, [START, epoch(1, float("nan")), epoch(2, 1.5)])))
    assert drawn[0].alt == "Loss by epoch: loss 1.5 at epoch 2."


@pytest.mark.parametrize(("told", "epochs"), [({}, 2), ({"train": {"warmup_epochs": 3}}, 3)])
def test_warm_up_is_the_recipes_or_seen_from_the_positives(tmp_path, told, epochs):
    seen = [epoch(number, 1.0) | {"positives_per_image": count} for number, count in enumerate((1.0, 1.0, 2.5, 1.0), 1)]
    assert read_history(make_run(tmp_path, [{**START, "recipe": told}, *seen])).warmup_epochs == epochs


def test_a_missing_folder_or_log_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere must be the folder of a run, but it does not exist"):
        write_report(tmp_path / "nowhere", tmp_path / "out.html")
    with pytest.raises(DataError, match=r"but it has no log\.jsonl; make one with resight train"):
        write_report(tmp_path, tmp_path / "out.html")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_page_and_nothing_else(tmp_path, monkeypatch):
    run = make_run(tmp_path, [START])
    out = tmp_path / "out.html"
    out.write_text("old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(DataError, match=r"out\.html could not be written .*No space left"):
        write_report(run, out)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.html", "run"]


def test_a_folder_is_no_page(tmp_path):
    with pytest.raises(DataError, match="could not be written"):
        write_report(make_run(tmp_path, [START]), tmp_path)


def test_strips_tell_right_wrong_and_left_out_without_colour(tmp_path):
    image = tmp_path / "a.png"
    Image.new("RGBA", (10, 20), (0, 0, 255, 90)).save(image)
    items = (
        StripItem(image, 0.9, "left out", None), StripItem(image, 0.8, "right", 1), StripItem(image, -0.1, "wrong", 2),
    )  # fmt: skip
    html = report(make_run(tmp_path, [START]), strips=[Strip(image, "the <first> query", items)])
    text = Page(html).text
    assert "a.png · the <first> query query – left out 0.90 ✓ 1 0.80 ✗ 2 -0.10" in text
    for alt in ("left out, score 0.90", "rank 1, right, score 0.80", "rank 2, wrong, score -0.10"):
        assert f'alt="{alt}"' in html


def test_an_unreadable_image_is_a_grey_box(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no image")
    items = (StripItem(tmp_path / "gone.jpg", 0.5, "wrong", 1),)
    html = report(make_run(tmp_path, [START]), strips=[Strip(broken, "broken", items)])
    assert html.count('class="unreadable"') == 2
    assert "rank 1, wrong, score 0.50; the image is not readable" in html


@pytest.mark.parametrize(("size", "small"), [((400, 200), (96, 48)), ((100, 800), (24, 192)), ((20, 30), (20, 30))])
def test_thumbnails_are_small_and_keep_their_shape(tmp_path, size, small):
    import base64
    import io

    Image.new("L", size).save(tmp_path / "a.png")
    uri = thumbnail(tmp_path / "a.png")
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))) as image:
        assert (image.format, image.size) == ("JPEG", small)


def test_an_unknown_verdict_is_refused():
    with pytest.raises(DataError, match="verdict must be one of right, wrong, left out, got 'rigth'"):
        StripItem(Path("a.jpg"), 0.5, "rigth", 1)


def labelled(name: str, *facts: tuple[int, int]) -> Split:
    return Split(name, tuple(Sample(Path(f"{name}/{i}.jpg"), pid, camid) for i, (pid, camid) in enumerate(facts)))


def test_one_strip_worked_by_hand():
    query = labelled("query", (1, 0))
    gallery = labelled("gallery", *[(1, 0)] * 6, (2, 1), (1, 1), (3, 1))
    angles = torch.deg2rad(torch.tensor([10.0, 11, 12, 13, 14, 15, 20, 30, 40]))
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    (strip,) = ranked_strips(torch.tensor([[1.0, 0.0]]), embeddings, query, gallery, count=1, depth=2)
    # Six of the query's own camera stand first: four are shown, two counted; then ranks 1 (wrong) and 2 (right).
    assert [(item.picture.name, item.verdict, item.rank) for item in strip.items] == [
        ("0.jpg", "left out", None), ("1.jpg", "left out", None), ("2.jpg", "left out", None),
        ("3.jpg", "left out", None), ("6.jpg", "wrong", 1), ("7.jpg", "right", 2),
    ]  # fmt: skip
    assert strip.items[-1].score == pytest.approx(3**0.5 / 2)
    assert strip.query == Path("query/0.jpg")
    assert strip.caption == (
        "drawn at random: AP 50.0 %, first right answer at rank 2; 2 more left out above the last rank"
    )


def test_best_worst_and_random_queries_are_told_apart():
    draw = torch.Generator().manual_seed(5)
    query = labelled("query", *[(pid, 0) for pid in range(30)], (99, 0))
    gallery = labelled("gallery", *[(pid % 30, 1) for pid in range(60)])
    case = (torch.randn(31, 8, generator=draw), torch.randn(60, 8, generator=draw), query, gallery)
    strips = ranked_strips(*case, count=9, depth=5)
    reasons = [strip.caption.split(":")[0] for strip in strips]
    assert reasons == ["one of the best"] * 3 + ["one of the worst"] * 3 + ["drawn at random"] * 3
    shares = [float(re.findall(r"AP ([\d.]+)", strip.caption)[0]) for strip in strips]
    assert min(shares[:3]) >= max(shares[6:]) >= min(shares[6:]) >= max(shares[3:6])
    assert len({strip.query for strip in strips}) == 9
    assert all(len(strip.items) == 5 for strip in strips)
    assert ranked_strips(*case, count=9, depth=5) == strips
    # Thirty queries have an answer; the one without is never shown.
    everything = ranked_strips(*case, count=100, depth=5)
    assert {strip.query.stem for strip in everything} == {str(row) for row in range(30)}
    assert ranked_strips(*case, count=0) == []
