"""The page to answer pairs on, with the keyboard: each answer is on the disk before the next pair is shown."""

from collections.abc import Callable
from typing import Any

from nicegui import events, ui
from nicegui.element import Element

from resight.app.groups_page import found_groups, group_again
from resight.app.layout import alert, asset, frame, image, in_thread, link, notice, picture_address, text, with_progress
from resight.app.workplace import Workplace
from resight.errors import ResightError
from resight.pair_audit import Estimate
from resight.review.found import Doubts
from resight.review.measuring import Measuring, answered
from resight.review.questions import DOUBTS, MEASURE, Question, Queue, Source, named
from resight.review.store import Decision
from resight.types import Picture

AHEAD = 3
"""Pairs whose images are loaded ahead."""

FOLLOW_SECONDS = 1.0
"""How often a page looks whether answers changed on another."""

MORE = 100
"""Pairs that "draw more" adds."""

SAID = {"same": True, "different": False, "skip": None}

PURPOSES = (
    (MEASURE, "measure the model", "Pairs drawn by chance: their answers say how right the model is."),
    (DOUBTS, "mend the groups", "Pairs that are doubtful: their answers make better groups, and measure nothing."),
)

WORDS = {True: "same", False: "different", None: "skipped"}


class ReviewPage:
    """One open review page. `purpose`: of the pairs; `group`: only pairs of this group."""

    def __init__(self, workplace: Workplace, purpose: str, group: int | None) -> None:
        self.workplace, self.group = workplace, group
        usual = DOUBTS if workplace.measuring is None and workplace.gallery is not None else MEASURE
        self.purpose = purpose if purpose in (MEASURE, DOUBTS) else usual
        self.queue: Queue
        self.question: Question | None = None
        self.client = ui.context.client
        self.estimating = self.stale = False
        self.seen = -1  # changes of the store that the figures are of

    async def build(self) -> None:
        """Lay it out, with the first pair."""
        # First of all: a script that is added to a page which is open already is never run.
        ui.add_body_html(f"<script>{asset('review.js')}</script>")
        with frame(self.workplace, "Review", "/review"):
            with ui.element("nav").classes("pager").props('aria-label="What to review"'):
                for purpose, name, said in PURPOSES:
                    shown = link(name, f"/review?purpose={purpose}")
                    shown.props["title"] = said
                    if purpose == self.purpose:
                        shown.props("aria-current=true").style("font-weight: 600")
            text("p", next(said for purpose, _, said in PURPOSES if purpose == self.purpose)).classes("muted")
            source = await self._source()
            if source is not None:
                self.queue = Queue(source, self.workplace.store, self.workplace.fingerprint)
                self._lay_out()
                await self._show_next()
                ui.timer(FOLLOW_SECONDS, self._follow)
            self._export()

    async def _source(self) -> Source | None:
        if self.purpose == DOUBTS:
            found = await found_groups(self.workplace)
            return None if found is None else await in_thread(Doubts, found, self.group)
        if self.workplace.measuring is not None:
            return self.workplace.measuring
        if self.workplace.audit_error:
            alert(self.workplace.audit_error)
        else:
            text("p", "No pairs are drawn yet. To draw them, all images that the model was trained on are compared.")
            with ui.element("div").classes("answers"):
                text("button", "Draw 200 pairs").props("type=button").on("click", lambda: self._draw(None))
        return None

    async def _draw(self, pairs: int | None) -> None:
        if await with_progress("Drawing pairs", lambda bar: self.workplace.draw(bar, pairs)) is not None:
            ui.navigate.to(f"/review?purpose={MEASURE}")

    def _lay_out(self) -> None:
        with ui.element("div").props("id=question") as self.box:
            text("h2", "Do these show the same one?")
            self.why = ui.label("").classes("muted")
            with ui.element("div").classes("pair"):
                self.sides = [self._side("left"), self._side("right")]
            with ui.element("div").classes("answers").props('role=group aria-label="Answer"'):
                for what, name, key, look in (
                    ("same", "Same", "S", "yes"),
                    ("different", "Different", "D", "no"),
                    ("skip", "Skip", "K", ""),
                    ("undo", "Undo", "U", ""),
                ):
                    with ui.element("button").classes(look) as button:
                        ui.label(name).style("display: inline")
                        text("kbd", key)
                    button.props(f"type=button data-answer={what} aria-keyshortcuts={key}")
        self.done = ui.element("div")
        self.problem = ui.element("div")
        self.status = ui.label("").props("role=status id=status")
        with ui.element("div").classes("figures").props("id=estimate aria-live=polite"):
            self.figures = [ui.label("") for _ in range(3)]
        self.preload = ui.element("div").classes("preload").props("aria-hidden=true")
        ui.on("answer", self._answered)
        self.client.on_delete(lambda: self.workplace.asked.pop(self.client.id, None))

    @staticmethod
    def _side(name: str) -> Element:
        """Add an image without its file's name: names may say who it shows."""
        with ui.element("figure"):
            return image("", f"{name} image", lazy=False)

    async def _answered(self, event: events.GenericEventArguments) -> None:
        """Take what a key or button said of the pair that was on the screen; what is not of this one is late."""
        said: dict[str, Any] = event.args if isinstance(event.args, dict) else {}
        what, question = said.get("what"), self.question
        if what == "undo":
            await self._undo()
        elif what in SAID and question is not None and said.get("question") == _key(question):
            self.question = None  # until it is saved, another press is of no question
            if await self._done(self.queue.answer, question, SAID[what]):
                await self._show_next()
            else:
                self.question = question

    async def _done(self, work: Callable[..., Any], *given: Any) -> tuple[Any] | None:
        """Change the answers; gives what came of it, or shows why it could not be done."""
        self.problem.clear()
        try:
            return (await in_thread(work, *given),)
        except ResightError as error:
            with self.problem:
                alert(str(error))
        return None

    async def _undo(self) -> None:
        done = await self._done(self.queue.undo)
        if done is None:
            return
        taken: Decision | None = done[0]
        if taken is None:
            with self.problem:
                notice("There is nothing to undo.")
            return
        with self.problem:
            notice(f"Taken back: {WORDS[taken.same]}.")
        left, right = (named(name) for name in taken.pair)
        await self._show(Question(left, right, taken.purpose, taken.score, "asked again, as you took it back"))

    async def _show_next(self) -> None:
        """Show the next pair, which no other open page asks."""
        while True:
            wanted = AHEAD + len(self.workplace.asked)
            coming: list[Question] = await in_thread(self.queue.next, wanted)
            # Looked at only now: another page may have come to ask one of these meanwhile.
            others = {pair for client, pair in self.workplace.asked.items() if client != self.client.id}
            free = [question for question in coming if question.pair not in others]
            if free or len(coming) < wanted:
                await self._show(free[0] if free else None, free[1:])
                return

    async def _show(self, question: Question | None, coming: list[Question] | None = None) -> None:
        self.question = question
        self.done.clear()
        self.box.set_visibility(question is not None)
        self.box.props["data-question"] = "" if question is None else _key(question)
        self.box.update()
        if question is None:
            self.workplace.asked.pop(self.client.id, None)
            with self.done:
                self._all_done()
        else:
            self.workplace.asked[self.client.id] = question.pair
            self.why.set_text(question.why)
            for shown, picture in zip(self.sides, (question.left, question.right), strict=True):
                shown.props["src"] = self._address(picture)
                shown.update()
        self._load_ahead(coming or [])
        await self._progress()

    def _load_ahead(self, coming: list[Question]) -> None:
        self.preload.clear()
        with self.preload:
            for question in coming[: AHEAD - 1]:
                for picture in (question.left, question.right):
                    image(self._address(picture), "", lazy=False)

    def _address(self, picture: Picture) -> str:
        id = self.workplace.pictures.register(picture, own=self.workplace.is_own(picture))
        return picture_address(id, "large")

    def _all_done(self) -> None:
        text("h2", "All pairs are answered")
        skipped = sum(same is None for same in self.queue.known().values())
        with ui.element("div").classes("answers"):
            if skipped:
                again = text("button", f"Ask the {skipped} skipped again").props("type=button")
                again.on("click", self._skipped_again)
            if isinstance(self.queue.source, Measuring):
                drawn = len(self.queue.source)
                text("button", f"Draw {MORE} more").props("type=button").on("click", lambda: self._draw(drawn + MORE))
            elif self.workplace.gallery is not None:
                again = text("button", "Group again, with the answers").props("type=button")
                again.on("click", lambda: group_again(self.workplace))
            text("button", "Undo").props("type=button data-answer=undo")

    async def _skipped_again(self) -> None:
        if await self._done(self.workplace.store.ask_skipped_again, self.purpose):
            await self._show_next()

    async def _follow(self) -> None:
        """Look again where answers were given, or taken back, on another page."""
        now = self.workplace.measuring
        if isinstance(self.queue.source, Measuring) and now is not None and now is not self.queue.source:
            self.queue.source, self.seen = now, -1  # more pairs were drawn there
        if self.seen != self.workplace.store.changes:
            await self._progress()

    async def _progress(self) -> None:
        """Say how far it is, and what the answers say so far."""
        self.seen = self.workplace.store.changes
        known = await in_thread(self.queue.known)
        done, skipped = answered(known), sum(same is None for same in known.values())
        total = len(self.queue.source)
        of = f"{done:,} of {total:,} pairs answered" if self.purpose == MEASURE else f"{done:,} doubtful pairs answered"
        self.status.set_text(f"{of}, {skipped:,} skipped; all saved")
        source = self.queue.source
        if isinstance(source, Measuring):
            await self._estimate(source)

    async def _estimate(self, source: Measuring) -> None:
        """Estimate anew; where answers come faster than that, only the last of them is estimated with."""
        self.stale = True
        if self.estimating:
            return
        self.estimating = True
        try:
            while self.stale:
                self.stale = False
                found: Estimate | None = await in_thread(lambda: source.estimate(self.queue.known()))
                for label, words in zip(self.figures, sentences(source, found), strict=True):
                    label.set_text(words)
        finally:
            self.estimating = False

    def _export(self) -> None:
        with ui.element("nav").classes("pager").props('aria-label="Answers as a file"'):
            link("drawn pairs as CSV", "/api/answers.csv?drawn_only=true").props("download")
            link("all answers as CSV", "/api/answers.csv").props("download")
        text(
            "p",
            "The drawn pairs are for resight audit --answers and resight calibrate --answers, all of them for resight "
            "group --answers.",
        ).classes("muted")


def sentences(source: Measuring, found: Estimate | None) -> tuple[str, str, str]:
    """Put an estimate into words, one figure each."""
    threshold = source.audit.plan.threshold
    if found is None:
        return f"at score {threshold:.3f} two images count as the same", "", "no answer yet: precision is not known"
    recall = "no pair is the same" if found.recall is None else str(found.recall)
    return f"precision {found.precision}", f"recall {recall}", f"at score {threshold:.3f}"


def _key(question: Question) -> str:
    return "\n".join(question.pair)
