"""What all pages share: frame, sentences of errors, progress of long work, elements that NiceGUI has no name for."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, TypeVar, cast
from urllib.parse import quote

from nicegui import run, ui
from nicegui.element import Element

from resight.app.workplace import Workplace
from resight.errors import ResightError
from resight.progress import Bar

Result = TypeVar("Result")

UNEXPECTED = "this failed in a way that it should not; what happened is printed where resight app runs"

PAGES = (("/", "Search"), ("/groups", "Groups"), ("/review", "Review"), ("/run", "Run"))

PRIVACY = (
    "Images, searches and answers stay on the machine that runs this app: nothing is loaded from, or sent to, any "
    "other. Uploads are not kept. To search for people may need a legal ground and their knowledge; answers and "
    "galleries are personal data where the images are."
)


def asset(name: str) -> str:
    """Read a file of this package."""
    return (resources.files("resight.app") / name).read_text(encoding="utf-8")


@contextmanager
def frame(workplace: Workplace, title: str, here: str) -> Iterator[None]:
    """Put head and foot around a page. `here`: the address of its entry in the head."""
    ui.page_title(f"{title} · resight")
    ui.add_css(asset("app.css"))
    link("Skip to the content", "#content").classes("skip")
    with ui.element("header").classes("top"):
        text("strong", f"resight · {workplace.request.folder.resolve().name}")
        with ui.element("nav").props('aria-label="Pages"').style("display: contents"):
            for address, name in PAGES:
                shown = link(name, address)
                if address == here:
                    shown.props("aria-current=page")
    with ui.element("main").classes("page").props("id=content"):
        text("h1", title)
        yield
    with ui.element("footer").classes("foot"):
        text("p", PRIVACY)
        link("HTTP API", "/api/docs")


def text(tag: str, content: str) -> Element:
    """Add an element with some text, which is no HTML."""
    with ui.element(tag) as element:
        ui.label(content).style("display: contents")
    return element


def link(content: str, address: str) -> Element:
    """Add a link."""
    element = text("a", content)
    element.props["href"] = address
    return element


def image(address: str, alt: str, *, lazy: bool = True) -> Element:
    """Add an image."""
    element = ui.element("img")
    element.props["src"], element.props["alt"] = address, alt
    if lazy:
        element.props["loading"] = "lazy"
    return element


def picture_address(id: str, size: str = "small") -> str:
    """Give the address of a picture."""
    return f"/pictures/{quote(id, safe='')}?size={size}"


def table(rows: list[tuple[str, ...]], head: tuple[str, ...] = ()) -> None:
    """Add a table; the first cell of each row is its heading."""
    with ui.element("table").classes("plain"):
        if head:
            with ui.element("thead"), ui.element("tr"):
                for name in head:
                    text("th", name).props("scope=col")
        with ui.element("tbody"):
            for first, *others in rows:
                with ui.element("tr"):
                    text("th", first).props("scope=row")
                    for cell in others:
                        text("td", cell)


def alert(sentence: str) -> Element:
    """Add a sentence that something went wrong, which screen readers say at once."""
    return text("p", sentence).classes("alert").props("role=alert")


def notice(sentence: str) -> Element:
    """Add a sentence to know."""
    return text("p", sentence).classes("notice")


async def in_thread(work: Callable[..., Result], *given: Any) -> Result:
    """Do in another thread what would hold up the pages."""
    done = await run.io_bound(work, *given)
    return cast(Result, done)  # NiceGUI gives None in its place only while it shuts down, when nobody looks any more


async def with_progress(
    title: str, work: Callable[[Bar], Result], failed: Callable[[ResightError], object] | None = None
) -> Result | None:
    """Do long work in another thread and show how far it is; where it fails, show why (`failed`), and give None."""
    state: dict[str, Any] = {"title": title, "share": None}
    with ui.element("div") as box:
        label = ui.label(f"{title} …").props("role=status")
        shown = ui.linear_progress(value=0, show_value=False, size="0.8rem").props(f'aria-label="{title}"')

    def bar(name: str) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            state.update(title=name, share=done / max(1, total))

        return progress

    def refresh() -> None:
        if state["share"] is not None:
            label.set_text(f"{state['title']}: {state['share']:.0%}")
            shown.set_value(state["share"])

    timer = ui.timer(0.3, refresh)
    result, why = None, None
    try:
        result = await in_thread(work, bar)
    except ResightError as error:
        why = error
    except Exception:  # a fault of ours: the page must not go on showing work that has ended
        traceback.print_exc()
        why = ResightError(UNEXPECTED)
    finally:
        timer.cancel()
        box.delete()
    if why is not None:
        (failed or _said)(why)
    return result


def _said(error: ResightError) -> None:
    alert(str(error))
