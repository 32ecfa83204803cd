"""The app in a real browser: search, filter, review with keys, undo, and a kill in the middle."""

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from app_cases import bomb

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if BROWSER is None:
    pytest.skip("no Chromium is installed, so the app is not tried in a browser", allow_module_level=True)
for package in ("nicegui", "pymilvus"):  # looked for, not imported: the app does that, in a process of its own
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api")

SERVE = """
import sys
from pathlib import Path
import resight.app.pages
from resight.app.request import AppRequest
from resight.app.serving import run_app
run, gallery, folder = map(Path, sys.argv[1:])
port = int(sys.stdin.readline())
run_app(AppRequest(run, str(gallery), groups=folder / "groups.parquet", port=port, browser=False,
                   state=folder / "review.sqlite", device="cpu"), lambda text: print(text, flush=True))
"""

PATIENCE = 90_000
"""Milliseconds; a slow machine needs some to import what the app is made of."""


class App:
    """A running app that can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, "0"
        # Both import what they need while the other one is tried.
        self.waiting = [self._process(), self._process()]
        self.start()

    def _process(self) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", SERVE, *map(str, (self.folder / "run", self.folder / "crops.db", self.folder))]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self) -> None:
        self.process = self.waiting.pop(0)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{self.port}\n")
        self.process.stdin.close()
        for line in self.process.stdout:
            if found := re.search(r"open (http://127\.0\.0\.1:(\d+))/", line):
                self.address, self.port = found.groups()
                return
        raise AssertionError(f"the app ended with {self.process.wait()}")

    def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def app(run: Path, stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app that is given three answers of which one must be wrong: A = B, B = C, A ≠ C."""
    from resight.gallery import Gallery
    from resight.review.questions import pair_of
    from resight.review.store import Decision, ReviewStore

    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(run, folder / "run")
    shutil.copytree(stored, folder / "crops.db")
    with Gallery.open(folder / "crops.db") as gallery:
        one, two, three = (entry.picture for entry in gallery.get(gallery.ids()[:3]))
    with ReviewStore(folder / "review.sqlite") as store:
        for left, right, same in ((one, two, True), (two, three, True), (one, three, False)):
            store.record(Decision(pair_of(left, right), same, "doubts"))
    app = App(folder)
    yield app
    app.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, app: App) -> Iterator[Any]:
    """A page that fails the test when a script fails, or anything is asked of another machine."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((app.address, "data:", "blob:"))
            else troubles.append(f"asked for {request.url}"))  # fmt: skip
    yield page
    context.close()
    assert troubles == []


def asked(page: Any) -> str:
    """The pair that is asked now, once there is one."""
    page.wait_for_function("() => document.getElementById('question')?.dataset.question")
    return str(page.evaluate("() => document.getElementById('question').dataset.question"))


def press(page: Any, key: str) -> str:
    """Press a key and wait until another pair is asked, or none."""
    before = asked(page)
    page.keyboard.press(key)
    page.wait_for_function("before => document.getElementById('question').dataset.question !== before", arg=before)
    return before


def status(page: Any, words: str) -> None:
    page.wait_for_function("words => document.getElementById('status').innerText.includes(words)", arg=words)


def test_a_search_by_upload_a_filter_a_click_and_bad_uploads(page: Any, app: App, people: Path, tmp_path: Path):
    page.goto(app.address)
    page.get_by_text("has no calibration").wait_for()  # said before anything is searched
    picker = page.locator("input[type=file]")
    picker.set_input_files(min((people / "query").glob("*.jpg")))
    hits = page.locator("ol.hits li")
    hits.first.wait_for()
    assert hits.count() == 10
    assert "score 1.000" in hits.first.inner_text()
    assert "rank 1" in (hits.first.locator("img").get_attribute("alt") or "")
    assert page.evaluate("() => document.querySelector('ol.hits img').complete")
    page.get_by_label("Camera").click()
    page.get_by_role("option", name="1", exact=True).click()
    page.wait_for_function(
        "() => ![...document.querySelectorAll('ol.hits li')].some(li => /camera [^1]/.test(li.innerText))"
    )
    page.keyboard.press("Escape")
    page.locator("ol.hits li a").nth(1).click()
    page.wait_for_url(re.compile(r"like=.*camera=1"))  # the filter goes along
    page.locator("ol.hits li").first.wait_for()
    for content, words in ((b"no image", "must be an image"), (bomb(20_000, 10_000), "million pixels")):
        file = tmp_path / "../bad.png"
        file.write_bytes(content)
        picker.set_input_files(file)
        page.get_by_role("alert").filter(has_text=words).wait_for()
    picker.set_input_files(min((people / "query").glob("*.jpg")))  # it keeps serving
    page.locator("ol.hits li").first.wait_for()


def test_answers_that_contradict_are_named_one_is_taken_back_and_groups_are_browsed_and_saved(page: Any, app: App):
    page.goto(f"{app.address}/groups")
    page.get_by_role("alert").filter(has_text="contradict each other").wait_for()
    assert page.locator("ul.answered li").count() == 3
    page.wait_for_function("() => [...document.querySelectorAll('ul.answered img')].every(i => i.naturalWidth > 0)")
    page.locator("ul.answered button").first.click()
    page.get_by_text(re.compile("alone")).first.wait_for()
    assert page.get_by_role("alert").count() == 0
    page.get_by_role("button", name="save to groups.parquet").click()
    page.get_by_text("Saved to").wait_for()
    first = pq.read_table(app.folder / "groups.parquet")
    assert first.num_rows == 20
    with page.expect_navigation():
        page.get_by_role("button", name="group again, with the answers").click()
    page.get_by_role("button", name="save to groups.parquet").click()
    page.get_by_text("Saved to").wait_for()
    again = pq.read_table(app.folder / "groups.parquet")
    assert again.select(["id", "group"]) == first.select(["id", "group"])  # no answer is new, so no number is
    with page.expect_download() as download:
        page.get_by_role("link", name="groups as CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 21
    page.goto(f"{app.address}/run")
    page.get_by_role("img", name=re.compile("^Mined positives per image by epoch")).wait_for()


def test_one_group_is_looked_through_reviewed_and_grouped_again(page: Any, app: App):
    page.goto(f"{app.address}/groups")
    page.locator("ul.answered, section.sheet").first.wait_for()
    if page.locator("ul.answered").count():  # where this test is the first
        page.locator("ul.answered button").first.click()
    head = page.locator("section.sheet h2").first
    number, members = re.findall(r"\d+", head.inner_text())[:2]
    head.get_by_role("link").click()
    page.get_by_role("heading", name=f"Group {number}", exact=True).wait_for()
    page.locator("ul.members li").first.wait_for()
    assert page.locator("ul.members li").count() == int(members)
    page.goto(f"{app.address}/groups/999")
    page.get_by_text("There is no such group now").wait_for()
    page.go_back()
    page.get_by_role("link", name="review this group").click()
    page.wait_for_url(re.compile(rf"/review\?purpose=doubts&group={number}$"))
    asked(page)
    while page.evaluate("() => document.getElementById('question').dataset.question"):
        press(page, "k")
    page.get_by_role("heading", name="All pairs are answered").wait_for()
    page.get_by_role("button", name="Group again, with the answers").click()
    page.wait_for_url(re.compile("/groups$"))
    page.locator("section.sheet").first.wait_for()


def test_answers_by_key_are_undone_and_survive_a_kill(page: Any, app: App):
    page.set_viewport_size({"width": 390, "height": 800})  # a phone's
    page.goto(f"{app.address}/review?purpose=measure")
    page.get_by_role("button", name="Draw 200 pairs").click()
    first = press(page, "s")
    status(page, "1 of")
    second = press(page, "d")
    status(page, "2 of")
    page.get_by_text("% interval").first.wait_for()  # the estimate is live
    page.keyboard.press("u")
    page.wait_for_function("pair => document.getElementById('question').dataset.question === pair", arg=second)
    status(page, "1 of")
    third = press(page, "d")  # the same pair again, answered anew
    assert third == second
    press(page, "k")
    status(page, "1 skipped")
    page.evaluate("pair => emitEvent('answer', {what: 'same', question: pair})", first)  # of a pair that is gone
    press(page, "s")
    status(page, "3 of")
    before = asked(page)
    page.get_by_role("button", name="Different").click()
    page.wait_for_function("before => document.getElementById('question').dataset.question !== before", arg=before)
    status(page, "4 of")
    said = page.locator("#status").inner_text()
    other = page.context.new_page()  # another page takes the last answer back, and this one follows
    other.goto(f"{app.address}/review?purpose=measure")
    asked(other)
    other.keyboard.press("u")
    status(page, "3 of")
    press(other, "d")
    status(page, "4 of")
    other.close()
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0  # nothing to scroll sideways
    app.end(signal.SIGKILL)
    app.start()
    page.goto(f"{app.address}/review?purpose=measure")
    asked(page)
    status(page, said.split(",")[0])
    assert page.locator("#status").inner_text() == said
    with page.expect_download() as download:
        page.get_by_role("link", name="drawn pairs as CSV").click()
    rows = Path(download.value.path()).read_text().splitlines()[1:]
    assert len(rows) == int(said.split()[0])
    names = [Path(name).name for pair in (first, second) for name in pair.split("\n")]
    assert all(any(name in row for row in rows) for name in names)
