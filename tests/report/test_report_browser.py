"""The page in a real browser: the map answers to pointer, touch and keys, and nothing is wider than a phone."""

from pathlib import Path

import pytest

from browsing import CHROMIUM, chromium, expect, fits, pages, waited
from resight.strips import report_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def address(run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("browser") / "report.html"
    return report_run(run, out=out, against=run, device="cpu").as_uri()


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize(("width", "height", "touch"), [(1280, 900, False), (360, 740, True)])
def test_the_map_answers_and_nothing_is_wider_than_the_screen(browser, address, width, height, touch):
    said: list[str] = []
    with pages(browser, viewport={"width": width, "height": height}, has_touch=touch) as context:
        context.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda failed: said.append(str(failed.error)))
        page = context.new_page()
        page.goto(address)
        fits(page)
        points, told, crop = page.locator("#map-points"), page.locator("#map-told"), page.locator("#map-crop")
        points.scroll_into_view_if_needed()
        waited(page, """() => {
          const { width, height, clientWidth, clientHeight } = document.getElementById('map-points');
          return clientWidth && width === Math.round(clientWidth * devicePixelRatio)
                             && height === Math.round(clientHeight * devicePixelRatio);
        }""")  # fmt: skip
        expect(page.locator("#map-by option").first).to_have_text("identity")
        points.press("ArrowRight")
        expect(told).to_contain_text("identity")
        expect(told).to_contain_text("camera")
        expect(crop).to_be_visible()
        points.press("Escape")
        expect(told).to_have_text("No image is pointed at.")
        expect(crop).to_be_hidden()
        # Any point of the map: where the first is drawn.
        x, y = waited(page, """() => {
          const { clientWidth, clientHeight } = document.getElementById('map-points');
          const data = JSON.parse(document.getElementById('map-data').textContent), [x, y] = data.points[0];
          const step = (Math.min(clientWidth, clientHeight) - 24) / data.side;
          return [(x - data.side / 2) * step + clientWidth / 2, (y - data.side / 2) * step + clientHeight / 2];
        }""")  # fmt: skip
        (points.tap if touch else points.hover)(position={"x": x, "y": y})
        expect(crop).to_be_visible()
        page.select_option("#map-by", label="camera")
        expect(page.locator("#map-legend")).to_contain_text("camera")
        fits(page)
    assert said == []
