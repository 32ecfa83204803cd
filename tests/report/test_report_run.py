"""`resight report` on a small run: what is on the page, what is left out, and how large it may be."""

import json
import re
import shutil
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from report.report_cases import noise
from resight.cli_report import report_command
from resight.errors import ConfigError, DataError
from resight.report import Strip, StripItem, write_report
from resight.report.album import MARKUP_BYTES
from resight.report.page import Extras, albums_of, script_hash
from resight.strips import ReportRequest, report_run
from test_report import START, Page, epoch, make_run


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The whole report of a small run, against itself."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert report_run(run, out=out, against=run, device="cpu") == out
    return out.read_text(encoding="utf-8")


def test_every_part_is_there_and_named_in_the_contents(page):
    text = Page(page).text
    for words in (
        "Ranked strips", "Hardest queries", "mAP and rank-1, %, by pair of cameras", "Where the nearest images are",
        "Map of the images", "8 images (query and gallery). Places by PCA", "Most doubtful first",
        "Settings that differ None.", "Both models on the same",
        "This file holds", "small pictures of the images themselves",
    ):  # fmt: skip
        assert words in text, words
    anchors = re.findall(r'<a href="#(\w+)"', page)
    assert anchors == ["retrieval", "against", "curves", "strips", "hardest", "cameras", "map", "groups"]
    assert set(anchors) <= set(Page(page).ids)
    assert re.findall(r"<h([1-6])", page)[0] == "1"
    assert len(re.findall("<h1", page)) == 1


def test_the_page_loads_nothing_and_runs_its_own_script_alone(page):
    assert all(a.startswith(("data:image/jpeg;base64,", "#")) for a in Page(page).addresses)
    assert len(Page(page).ids) == len(set(Page(page).ids))
    policy = re.findall(r'Security-Policy" content="([^"]*)"', page)[0]
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert f"script-src '{script_hash(script)}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"https?://|@import|\son\w+=", page)
    assert all(image for image in re.findall(r'<img [^>]*alt="([^"]*)"', page))
    assert page.count("<img ") == len(re.findall(r"<img [^>]*alt=", page))


def test_the_maps_data_hold_every_image(page, people):
    data = json.loads(re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL)[0])
    images = {path.name for folder in ("query", "bounding_box_test") for path in (people / folder).iterdir()}
    assert set(data["names"]) == images
    assert all(slot >= 0 for slot in data["slots"])
    names = [found["name"] for found in data["colourings"]]
    assert names[0] == "identity" and "camera" in names


def test_without_images_there_is_not_a_single_picture(run, tmp_path):
    html = report_run(run, out=tmp_path / "r.html", images=False, device="cpu").read_text()
    assert "data:image" not in html
    text = Page(html).text
    for absent in ("Ranked strips", "Hardest queries", "Most doubtful", "small pictures of"):
        assert absent not in text
    assert "Map of the images" in text and "by pair of cameras" in text


def test_sections_are_left_out(run, tmp_path):
    text = Page(report_run(run, out=tmp_path / "r.html", sections=("cameras",), device="cpu").read_text()).text
    assert "by pair of cameras" in text
    for absent in ("Curves", "Ranked strips", "Map of the images", "Groups", "All settings"):
        assert absent not in text


def test_curves_alone_need_neither_data_nor_model(tmp_path):
    events = [{**START, "data": {"root": str(tmp_path / "gone"), "format": "folder"}}, epoch(1, 2.0)]
    made = make_run(tmp_path, events)
    html = report_run(made, sections=("curves",)).read_text()
    assert "Loss by epoch" in html and "No images are shown" not in html
    assert "No images are shown" in report_run(made).read_text()


def test_plain_images_without_cameras_are_mapped_and_grouped(run, people, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in sorted((people / "bounding_box_train").iterdir()):
        shutil.copy(path, folder / f"image{path.stem[-9:]}{path.stem[:4]}.jpg")
    evil = folder / '<img src=x onerror="alert(1)">&.jpg'
    shutil.copy(next(folder.iterdir()), evil)
    (folder / "broken.jpg").write_bytes(b"nothing")
    html = report_run(run, folder, tmp_path / "r.html", device="cpu").read_text()
    text = Page(html).text
    assert "13 images (train)" in text
    assert "No query was scored: " in text and "1 broken images were left out" in text
    assert "Groups" in text and "by camera" not in text and "Hardest" not in text
    assert "<img src=x" not in html and "onerror=&#34;" in html


def test_groups_of_a_file_are_shown_without_a_model(tmp_path):
    made = make_run(tmp_path, [START])
    Image.new("RGB", (30, 60), "blue").save(tmp_path / "a.png")
    file = tmp_path / "groups.csv"
    file.write_text("path,group,confidence\na.png,<b>one,0.25\na.png,two,0.75\n")
    html = report_run(made, groups=file, sections=("groups",)).read_text()
    text = Page(html).text
    assert text.index("<b>one · 1 image · confidence 0.25") < text.index("two · 1 image · confidence 0.75")
    assert html.count("data:image/jpeg") == 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"sections": ("curve",)}, "no section named 'curve'; did you mean 'curves'"),
        ({"projection": "tsne"}, "no projection named 'tsne'"),
        ({"points": 2}, "--points must be 3 to 5,000, got 2"),
        ({"megabytes": 1.5}, "--megabytes must be 2 or more, got 1.5"),
        ({"megabytes": float("nan")}, "--megabytes must be 2 or more"),
        ({"queries": 201}, "--queries must be 0 to 200, got 201"),
        ({"split": "tests"}, "--split must be one of train, query, gallery or all, got 'tests'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(run, asked, words):
    with pytest.raises(ConfigError) as refused:
        report_run(run, out=run / "never.html", device="cpu", **asked)
    assert words in str(refused.value)
    assert not (run / "never.html").exists()


def test_a_second_run_that_is_none_is_refused_before_anything_is_done(run, tmp_path):
    with pytest.raises(DataError, match="must be the folder of a run, but it does not exist"):
        report_run(run, against=tmp_path / "gone", out=tmp_path / "r.html")
    with pytest.raises(DataError, match=r"groups\.csv"):
        report_run(run, groups=tmp_path / "groups.csv", out=tmp_path / "r.html", sections=("groups",))


@pytest.mark.parametrize("megabytes", [2.0, 2.5])
def test_a_page_is_never_larger_than_asked_and_says_what_is_missing(tmp_path, megabytes):
    pictures = noise(tmp_path, 6, (96, 192))
    items = tuple(StripItem(picture, 0.5, "wrong", rank) for rank, picture in enumerate(pictures * 3, start=1))
    strips = [Strip(picture, "of noise", items) for picture in pictures * 30]
    extras, albums = Extras(strips=strips, hardest=strips), albums_of(megabytes)
    write_report(make_run(tmp_path, [START]), tmp_path / "r.html", extras=extras, albums=albums)
    html = (tmp_path / "r.html").read_text()
    assert len(html.encode()) <= megabytes * 1e6
    shown = html.count("data:image/jpeg")
    missing = re.findall(
        r"left out to bound the page.{1,5}s size: ([\d,]+) of the strips, ([\d,]+) of the hardest", html
    )
    assert shown > 0
    assert shown + sum(int(count.replace(",", "")) for count in missing[0]) == 2 * len(strips) * (1 + len(items))


def test_what_stands_around_a_picture_is_within_what_is_taken_for_it(page):
    images = re.findall(r"<li.*?</li>", page, flags=re.DOTALL)
    markup = [len(re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", image)) for image in images]
    assert max(markup) <= MARKUP_BYTES


def test_names_that_are_no_unicode_or_turn_the_text_are_shown_all_the_same(tmp_path):
    names = [Path("a\udcff.jpg"), Path("evil\u202egpj.jpg"), Path("x" * 200 + ".jpg")]
    strips = [Strip(name, "", ()) for name in names]
    write_report(make_run(tmp_path, [START]), tmp_path / "r.html", strips=strips)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "a\N{REPLACEMENT CHARACTER}.jpg" in html and "\u202e" not in html
    assert "x" * 79 + "…" in html and "x" * 81 not in html


def test_the_request_knows_what_it_wants():
    request = ReportRequest(Path("run"), sections=("map", "strips"), images=False)
    assert request.wants("map") and not request.wants("strips") and not request.wants("curves")


def test_the_commands_flags_reach_the_page(run, people, tmp_path):
    app = typer.Typer()
    app.command()(report_command)
    words = ["--sections", "cameras, map", "--points", "5", "--projection", "pca", "--split", "all", "--no-images"]
    done = CliRunner().invoke(
        app, [str(run), str(people), "--out", str(tmp_path / "r.html"), "--device", "cpu", *words]
    )
    assert done.exit_code == 0, done.output
    text = Page((tmp_path / "r.html").read_text()).text
    assert "5 of 20 images, evenly drawn (all). Places by PCA" in text
    assert "Curves" not in text and "Groups" not in text
