"""The page on the run: what was trained on what, what came out, and the curves of its log."""

from nicegui import ui

from resight.app.layout import alert, frame, in_thread, notice, table, text
from resight.app.workplace import Workplace
from resight.errors import ResightError
from resight.report import headline
from resight.report.curves import curves
from resight.report.history import History, read_history


async def run_page(workplace: Workplace) -> None:
    """Show what the run's log tells."""
    with frame(workplace, "Run", "/run"):
        text("h2", "What a score means")
        try:
            for sentence in await in_thread(workplace.explanation):
                text("p", sentence)
        except ResightError as error:  # a gallery that cannot be asked takes nothing from what the log tells
            alert(str(error))
        try:
            history = await in_thread(read_history, workplace.request.folder)
        except ResightError as error:
            alert(str(error))
            return
        _facts(history)
        text("h2", "Curves")
        with ui.element("div").classes("curves"):
            for curve in curves(history):
                with ui.element("figure"):
                    text("figcaption", curve.title)
                    # The drawing is the report's own, of the log's numbers; no text of a user is in it unescaped.
                    drawing = ui.html(str(curve.svg), sanitize=False)
                    drawing.props["role"], drawing.props["aria-label"] = "img", curve.alt


def _facts(history: History) -> None:
    for sentence in history.notes:
        notice(sentence)
    scores = headline.scores(history.untrained, history.trained)
    if scores:
        text("h2", "Scores")
        table([tuple(row) for row in scores], ("", "untrained", "trained", "change"))
        text("p", headline.counts(history.trained or history.untrained or {})).classes("muted")
    text("h2", "Training")
    table([("State", history.status), *headline.facts(history)])
