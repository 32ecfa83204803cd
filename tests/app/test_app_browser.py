"""The app in a real browser: search, filter, review with keys, undo, and a kill in the middle."""

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from app_cases import bomb
from browsing import CHROMIUM, chromium, expect, fits, loaded, pages, waited

if CHROMIUM is None:
    pytest.skip("no Chromium is installed, so the app is not tried in a browser", allow_module_level=True)
for package in ("nicegui", "pymilvus"):  # looked for, not imported: the app does that, in a process of its own
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

SERVE = """
import sys
from pathlib import Path
import resight.app.pages
from resight.app.request import AppRequest
from resight.app.serving import run_app
run, gallery, folder = map(Path, sys.argv[1:])
if sys.stdin.readline():
    run_app(AppRequest(run, str(gallery), groups=folder / "groups.parquet", port=0, browser=False,
                       state=folder / "review.sqlite", device="cpu"), lambda text: print(text, flush=True))
"""

GONE_SECONDS = 120
"""A killed process is gone by then."""


class App:
    """A running app that can be killed and started again, at another port: what is free once may be taken then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.addresses: list[str] = []
        # They import what they need while another one is tried.
        self.waiting = [self._process(), self._process(), self._process()]
        self.start()

    def _process(self) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", SERVE, *map(str, (self.folder / "run", self.folder / "crops.db", self.folder))]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def address(self) -> str:
        return self.addresses[-1]

    def start(self) -> None:
        self.process = self.waiting.pop(0)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("start\n")
        self.process.stdin.close()
        for line in self.process.stdout:
            if found := re.search(r"open (http://127\.0\.0\.1:\d+)/", line):
                self.addresses.append(found[1])
                return
        raise AssertionError(f"the app ended with {self.process.wait()}")

    def kill(self) -> None:
        _end(self.process)

    def close(self) -> None:
        for process in (self.process, *self.waiting):
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(GONE_SECONDS)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


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
    app.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Any, app: App) -> Iterator[Any]:
    """A page that fails the test when a script fails, or anything is asked of another machine; so do its siblings."""
    troubles: list[str] = []

    def look(request: Any) -> None:
        own = tuple(f"{address}/" for address in app.addresses)  # a page of a killed app goes on to ask for it
        if not request.url.startswith((*own, "data:", "blob:")):
            troubles.append(f"asked for {request.url}")

    with pages(browser) as context:
        context.on("weberror", lambda failed: troubles.append(str(failed.error)))
        context.on("request", look)
        yield context.new_page()
    assert troubles == []


def visit(page: Any, address: str) -> None:
    """Go to a page and wait until it takes keys and clicks to the app."""
    page.goto(address)
    listening(page)


def listening(page: Any) -> None:
    # Until then a page may still decide to load itself again, and forget what was done on it.
    waited(page, "() => window.did_handshake")


@contextmanager
def anew(page: Any) -> Iterator[None]:
    """What is done loads another document, perhaps from the same address; wait for it."""
    page.evaluate("() => { window.before = true }")
    yield
    waited(page, "() => !window.before && window.did_handshake")


def asked(page: Any, *, besides: str = "") -> str:
    """The pair that is asked, once there is one, which is not that of `besides`."""
    return str(waited(page, """besides => {
      const pair = document.getElementById('question')?.dataset.question;
      return pair !== besides && pair;
    }""", besides))  # fmt: skip


def press(page: Any, key: str) -> str:
    """Press a key and wait until another pair is asked, or none; gives the pair that was."""
    before = asked(page)
    page.keyboard.press(key)
    moved(page, before)
    return before


def moved(page: Any, before: str) -> None:
    waited(page, """before => {
      const box = document.getElementById('question');
      return box && box.dataset.question !== before;
    }""", before)  # fmt: skip


def status(page: Any, done: int, skipped: int) -> str:
    """Wait until so many are said to be answered and skipped; gives how many there are."""
    words = rf"^{done} of \d+ pairs answered, {skipped} skipped; all saved$"
    expect(page.locator("#status")).to_have_text(re.compile(words))
    return re.findall(r"\d+", page.locator("#status").inner_text())[1]


def test_a_search_by_upload_a_filter_a_click_and_bad_uploads(page: Any, app: App, people: Path, tmp_path: Path):
    hits, results = page.locator("ol.hits li"), page.locator("#results")
    picker, picked = page.locator("input[type=file]"), page.locator(".q-uploader__file")

    def upload(file: Path, place: Any) -> None:
        picker.set_input_files(file)
        expect(place).not_to_have_count(0)
        expect(picked).to_have_count(0)  # until it is forgotten, another one would be forgotten with it

    visit(page, app.address)
    page.get_by_text("has no calibration").wait_for()  # said before anything is searched
    upload(min((people / "query").glob("*.jpg")), hits)
    expect(hits).to_have_count(10)
    expect(hits.first).to_contain_text("score 1.000")
    expect(hits.first.locator("img")).to_have_attribute("alt", re.compile("rank 1"))
    loaded(page, "ol.hits li:first-child img")
    page.get_by_label("Camera").click()
    page.get_by_role("option", name="1", exact=True).click()
    waited(page, """() => {
      const hits = [...document.querySelectorAll('ol.hits li')];
      return hits.length && hits.every(hit => hit.querySelector('a[href*="camera=1"]')
                                              && /camera 1$/m.test(hit.innerText));
    }""")  # fmt: skip
    page.keyboard.press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    hits.locator("a").nth(1).click()
    page.wait_for_url(re.compile(r"like=.*camera=1"))  # the filter goes along
    expect(hits).not_to_have_count(0)
    listening(page)
    file = tmp_path / "bad.png"
    for content, words in ((b"no image", "must be an image"), (bomb(20_000, 10_000), "million pixels")):
        file.write_bytes(content)
        upload(file, results.get_by_role("alert").filter(has_text=words))
        expect(hits).to_have_count(0)
    upload(min((people / "query").glob("*.jpg")), hits)  # it keeps serving
    expect(results.get_by_role("alert")).to_have_count(0)


def test_answers_that_contradict_are_named_one_is_taken_back_and_groups_are_browsed_and_saved(page: Any, app: App):
    visit(page, f"{app.address}/groups")
    page.get_by_role("alert").filter(has_text="contradict each other").wait_for()
    expect(page.locator("ul.answered li")).to_have_count(3)
    loaded(page, "ul.answered img")
    with anew(page):
        page.locator("ul.answered button").first.click()
    page.get_by_text(re.compile("alone")).first.wait_for()
    expect(page.get_by_role("alert")).to_have_count(0)
    saved = page.get_by_text("Saved to")
    page.get_by_role("button", name="save to groups.parquet").click()
    saved.wait_for()
    first = pq.read_table(app.folder / "groups.parquet")
    assert first.num_rows == 20
    with anew(page):
        page.get_by_role("button", name="group again, with the answers").click()
    expect(saved).to_have_count(0)
    page.get_by_role("button", name="save to groups.parquet").click()
    saved.wait_for()
    again = pq.read_table(app.folder / "groups.parquet")
    assert again.select(["id", "group"]) == first.select(["id", "group"])  # no answer is new, so no number is
    with page.expect_download() as download:
        page.get_by_role("link", name="groups as CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 21
    visit(page, f"{app.address}/run")
    page.get_by_role("img", name=re.compile("^Mined positives per image by epoch")).wait_for()


def test_one_group_is_looked_through_reviewed_and_grouped_again(page: Any, app: App):
    visit(page, f"{app.address}/groups")
    answered, sheets = page.locator("ul.answered"), page.locator("section.sheet")
    answered.or_(sheets).first.wait_for()
    if answered.count():  # where this test is the first; there is either this or groups
        with anew(page):
            answered.get_by_role("button").first.click()
    head = sheets.locator("h2").first
    expect(head).to_have_text(re.compile(r"Group \d+ · \d+ images, confidence"))
    number, members = re.findall(r"\d+", head.inner_text())[:2]
    head.get_by_role("link").click()
    page.get_by_role("heading", name=f"Group {number}", exact=True).wait_for()
    expect(page.locator("ul.members li")).to_have_count(int(members))
    page.goto(f"{app.address}/groups/999")
    page.get_by_text("There is no such group now").wait_for()
    page.go_back()
    page.get_by_role("link", name="review this group").click()
    page.wait_for_url(re.compile(rf"/review\?purpose=doubts&group={number}$"))
    listening(page)
    asked(page)
    while page.evaluate("() => document.getElementById('question').dataset.question"):
        press(page, "k")
    page.get_by_role("heading", name="All pairs are answered").wait_for()
    with anew(page):
        page.get_by_role("button", name="Group again, with the answers").click()
    expect(page).to_have_url(f"{app.address}/groups")
    sheets.first.wait_for()


def test_answers_by_key_are_undone_and_survive_a_kill(page: Any, app: App):
    page.set_viewport_size({"width": 390, "height": 800})  # a phone's
    visit(page, f"{app.address}/review?purpose=measure")
    with anew(page):
        page.get_by_role("button", name="Draw 200 pairs").click()
    first = press(page, "s")
    status(page, 1, 0)
    second = press(page, "d")
    status(page, 2, 0)
    page.get_by_text("% interval").first.wait_for()  # the estimate is live
    next_one = asked(page)
    page.keyboard.press("u")
    assert asked(page, besides=next_one) == second
    status(page, 1, 0)
    assert press(page, "d") == second  # the same pair again, answered anew
    status(page, 2, 0)
    press(page, "k")
    status(page, 2, 1)
    page.evaluate("pair => emitEvent('answer', {what: 'same', question: pair})", first)  # of a pair that is gone
    press(page, "s")
    status(page, 3, 1)
    last = asked(page)
    page.get_by_role("button", name="Different").click()
    moved(page, last)
    status(page, 4, 1)
    other = page.context.new_page()  # another page takes the last answer back, and this one follows
    visit(other, f"{app.address}/review?purpose=measure")
    theirs = asked(other)
    assert theirs not in (asked(page), last)
    other.keyboard.press("u")
    assert asked(other, besides=theirs) == last
    status(page, 3, 1)
    assert press(other, "d") == last
    drawn = status(page, 4, 1)
    other.close()
    loaded(page, "#question img")
    fits(page)
    app.kill()
    app.start()
    page = page.context.new_page()  # the old one still looks for what was killed
    visit(page, f"{app.address}/review?purpose=measure")
    asked(page)
    assert status(page, 4, 1) == drawn
    with page.expect_download() as download:
        page.get_by_role("link", name="drawn pairs as CSV").click()
    rows = Path(download.value.path()).read_text().splitlines()[1:]
    assert len(rows) == 4
    names = [Path(name).name for pair in (first, second) for name in pair.split("\n")]
    assert all(any(name in row for row in rows) for name in names)
    app.kill()
    (app.folder / "groups.parquet").unlink(missing_ok=True)
    app.start()  # the first page that it serves takes long to build, and takes keys all the same
    page = page.context.new_page()
    visit(page, f"{app.address}/review?purpose=doubts")
    press(page, "k")
