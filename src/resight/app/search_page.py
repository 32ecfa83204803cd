"""The page to search on: an image is dropped or chosen, or a crop clicked; ranked entries come out."""

from typing import Any
from urllib.parse import urlencode

from nicegui import events, ui
from nicegui.element import Element
from PIL import Image

from resight.app.asking import entry_query
from resight.app.filters import Filters, text_of, where_of, words_of
from resight.app.layout import alert, frame, image, in_thread, link, notice, picture_address, text
from resight.app.uploads import MOST_BYTES, too_large
from resight.app.workplace import Workplace
from resight.errors import ResightError
from resight.gallery import Where
from resight.gallery.queries import Queries
from resight.gallery.results import headline, shown_picture, shown_time
from resight.gallery.searching import Answer, Ranked
from resight.report.album import jpeg_uri

TOPS = (10, 20, 50, 100)


class SearchPage:
    """One open search page. `like`: id of the entry to search for; `filters`: as the API takes them."""

    def __init__(self, workplace: Workplace, like: str, filters: Filters) -> None:
        self.workplace, self.like, self.filters = workplace, like, filters
        self.top = TOPS[0]
        self.queries: Queries | None = None
        self.others = False
        self.query: Element
        self.results: Element

    async def build(self) -> None:
        """Lay it out; search at once where an entry was named."""
        with frame(self.workplace, "Search", "/"):
            try:
                stats = await in_thread(self.workplace.stats)
                said = await in_thread(self.workplace.explanation)
            except ResightError as error:
                alert(str(error))
                return
            text("p", f"{stats['entries']:,} images can be searched.").classes("muted")
            with ui.element("div").classes("ask"):
                self._upload()
                self._filters(stats)
            self.query = ui.element("div").classes("query")
            self.results = ui.element("div").props("aria-live=polite id=results")
            if self.like:
                await self._search_like()
            else:
                with self.results:
                    for sentence in said:
                        notice(sentence)

    def _upload(self) -> None:
        upload = ui.upload(
            label="Drop or choose an image",
            auto_upload=True,
            max_file_size=MOST_BYTES,
            on_upload=self._uploaded,
            on_rejected=lambda: self._show_error(f"{too_large()} (images only)"),
        )
        upload.props('accept="image/*" flat bordered aria-label="Drop or choose an image to search for"')

    def _filters(self, stats: Any) -> None:
        kinds = (("camera", "cameras", "Camera"), ("type", "types", "Type"), ("source", "sources", "Source"))
        with ui.element("div").classes("filters").props('role=group aria-label="Filters"'):
            for name, many, label in kinds:
                options = [option for option in stats[many] if option != "unknown"]
                if options:
                    chosen = [one for one in words_of(self.filters[name]) if one in options]
                    select = ui.select(options, multiple=True, label=label, value=chosen)
                    select.props("dense outlined use-chips clearable").mark(name)
                    select.on_value_change(lambda event, name=name: self._filter(name, text_of(event.value or ())))
            if stats["first"] is not None:
                for name, label, at in (("after", "From", stats["first"]), ("before", "Before", stats["last"])):
                    field = ui.input(label, value=self.filters[name], placeholder=shown_time(at))
                    field.props("dense outlined clearable debounce=600").mark(name)
                    field.on_value_change(lambda event, name=name: self._filter(name, event.value or ""))
            top = ui.select(list(TOPS), label="Results", value=self.top).props("dense outlined")
            top.on_value_change(lambda event: self._change_top(int(event.value)))

    async def _filter(self, name: str, value: str) -> None:
        self.filters[name] = value
        await self._search()

    async def _change_top(self, top: int) -> None:
        self.top = top
        await self._search()

    async def _uploaded(self, event: events.UploadEventArguments) -> None:
        event.sender.reset()  # type: ignore[attr-defined]
        data = await event.file.read()
        try:
            queries, upload = await in_thread(self.workplace.asking.image, data)
        except ResightError as error:
            self._show_error(str(error))
            return
        small = Image.fromarray(upload.pixels)
        small.thumbnail((240, 240))
        self._show_query(jpeg_uri(small, 88), "The uploaded image")
        self.queries, self.others, self.like = queries, False, ""
        await self._search()

    async def _search_like(self) -> None:
        try:
            self.queries, entry = await in_thread(entry_query, self.workplace.opened_gallery, self.like)
        except ResightError as error:
            self._show_error(str(error))
            return
        self.others = True
        self._show_query(picture_address(self.like, "large"), f"The crop {shown_picture(entry.picture)}")
        await self._search()

    def _show_query(self, address: str, said: str) -> None:
        self.query.clear()
        with self.query:
            text("h2", "Searched for")
            image(address, said, lazy=False)

    def _show_error(self, sentence: str) -> None:
        self.results.clear()
        with self.results:
            alert(sentence)

    async def _search(self) -> None:
        """Search again with what is asked for now."""
        if self.queries is None:
            return
        try:
            where = where_of(self.filters)
            answer, said = await in_thread(self._found, where)
        except ResightError as error:
            self._show_error(str(error))
            return
        self.results.clear()
        with self.results:
            self._show(answer, said)

    def _found(self, where: Where) -> tuple[Answer, list[str]]:
        """Give the answer, and what its scores mean."""
        assert self.queries is not None
        answer = self.workplace.search(self.queries, self.top, where, others=self.others)
        return answer, self.workplace.explanation()

    def _show(self, answer: Answer, said: list[str]) -> None:
        head = headline(answer)
        text("h2", head[:1].upper() + head[1:]).classes("nomatch" if answer.match is False else "")
        with ui.element("ol").classes("hits"):
            for rank, hit in enumerate(answer.hits, start=1):
                self._show_hit(f"{rank}.", hit)
        if answer.beyond is not None:
            text("h2", "The best match after these")
            with ui.element("ol").classes("hits"):
                self._show_hit("later", answer.beyond)
        for sentence in said:
            text("p", sentence).classes("muted")

    def _show_hit(self, rank: str, hit: Ranked) -> None:
        entry = hit.entry
        verdict = {None: "", True: "match", False: "below"}[hit.same]
        facts = [f"score {hit.score:.3f}"]
        if hit.probability is not None:
            facts.append(f"probability {hit.probability:.3f}")
        about = {
            "camera": entry.camid,
            "time": shown_time(entry.timestamp) or None,
            "type": entry.type,
            "source": entry.source,
        }
        known = [f"{name} {value}" for name, value in about.items() if value is not None]
        said = {"": "", "match": "match", "below": "below the threshold"}[verdict]
        with ui.element("li").classes(verdict):
            with link("", self._link(entry.id)) as anchor:
                anchor.props["aria-label"] = f"Search for what looks like the hit {rank}"
                image(
                    picture_address(entry.id),
                    ", ".join(filter(None, [f"rank {rank.rstrip('.')}", said, *facts, *known])),
                )
            text("div", f"{rank} {said}").classes("verdict")
            for fact in (*facts, *known):
                text("div", fact)
            text("div", entry.path.name).classes("muted")

    def _link(self, id: str) -> str:
        """Give the address of the search for an entry, with the filters that are set."""
        return "/?" + urlencode({"like": id, **{name: value for name, value in self.filters.items() if value}})
