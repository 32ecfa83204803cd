"""The page in a real browser: the map answers to pointer, touch and keys, and nothing is wider than a phone."""

import shutil
from pathlib import Path

import pytest

from resight.strips import report_run

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def address(run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("browser") / "report.html"
    return report_run(run, out=out, against=run, device="cpu").as_uri()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "height", "touch"), [(1280, 900, False), (360, 740, True)])
def test_the_map_answers_and_nothing_is_wider_than_the_screen(browser, address, width, height, touch):
    page = browser.new_context(viewport={"width": width, "height": height}, has_touch=touch).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    points, told = page.locator("#map-points"), page.locator("#map-told")
    points.scroll_into_view_if_needed()
    page.wait_for_function("document.getElementById('map-points').width > 300 || innerWidth < 700")
    page.wait_for_selector("#map-by option", state="attached")
    assert page.locator("#map-by option").all_text_contents()[0] == "identity"
    points.focus()
    page.keyboard.press("ArrowRight")
    assert "identity" in told.inner_text() and "camera" in told.inner_text()
    page.wait_for_selector("#map-crop:not([hidden])")
    page.keyboard.press("Escape")
    assert told.inner_text().strip() == "No image is pointed at."
    # Any point of the map: where the first is drawn.
    at = page.evaluate("""() => {
      const canvas = document.getElementById('map-points'), box = canvas.getBoundingClientRect();
      const data = JSON.parse(document.getElementById('map-data').textContent), [x, y] = data.points[0];
      const step = (Math.min(box.width, box.height) - 24) / data.side;
      return [box.left + (x - data.side / 2) * step + box.width / 2,
              box.top + (y - data.side / 2) * step + box.height / 2];
    }""")
    if touch:
        page.touchscreen.tap(*at)
    else:
        page.mouse.move(*at)
    page.wait_for_selector("#map-crop:not([hidden])")
    page.select_option("#map-by", label="camera")
    assert "camera" in page.locator("#map-legend").inner_text()
    assert said == []
