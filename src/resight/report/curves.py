"""Curves of a run as inline SVG that takes the page's text colour, light or dark."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from resight.report.history import History, Record, number, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
"""Stands for the page's text colour while a figure is drawn."""

COLOURS = ("#2f7fc1", "#d0781f")
"""Of the first and second curve; of the first and second run where there are two."""

DASHES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))
"""Line and marker of each curve: told apart without colour too."""

Point = tuple[int, float]


@dataclass(frozen=True)
class Line:
    """One curve: its name, its (epoch, value) points, and which of the colours and dashes it has."""

    name: str
    points: tuple[Point, ...]
    colour: int = 0
    dash: int = 0


@dataclass(frozen=True)
class Curve:
    """One figure of the page. `alt` says in words what it shows."""

    title: str
    alt: str
    svg: Markup


def curves(*histories: History, names: Sequence[str] = ("",), prefix: str = "figure") -> list[Curve]:
    """Draw what the logs of one run or two hold, over each other; a figure without a point is left away.

    `names`: of the runs, where there are two. `prefix`: of the ids in the drawings, which a page must hold once.
    """
    drawn: list[Curve] = []
    each = [_asked(history) for history in histories]
    for asked in zip(*each, strict=True):
        title, _, unit, warmup_epochs = asked[0]
        lines = [
            Line(f"{line.name}, {name}" if name else line.name, line.points, *_style(run, place, len(histories)))
            for run, (name, (_, found, _, _)) in enumerate(zip(names, asked, strict=True))
            for place, line in enumerate(found)
            if line.points
        ]
        if lines:
            shaded = warmup_epochs if len(histories) == 1 else 0
            svg = _svg(lines, prefix=f"{prefix}{len(drawn) + 1}-", from_zero=title != "Loss", warmup_epochs=shaded)
            drawn.append(Curve(title, _in_words(title, lines, unit), svg))
    return drawn


def _asked(history: History) -> list[tuple[str, list[Line], str, int]]:
    """Give each figure's title, lines, unit and epochs of warm-up."""
    percent = 100.0
    epochs, evaluations, warmup = history.epochs, history.evaluations, history.warmup_epochs
    return [
        ("Loss", [_line("loss", epochs, "loss")], "", warmup),
        ("Retrieval, %", [_line("mAP", evaluations, "mAP", percent), _rank_1(evaluations)], "%", 0),
        ("Quality estimated without labels", [_line("estimate", history.trust, "estimate")], "", 0),
        ("Mined positives per image", [_line("positives", epochs, "positives_per_image")], "", warmup),
        (
            "Mined positives: precision and recall, %",
            [_line("precision", epochs, "precision", percent), _line("recall", epochs, "recall", percent)],
            "%",
            warmup,
        ),
        ("Images per second", [_line("images/s", epochs, "images_per_second")], "", 0),
    ]


def _style(run: int, place: int, runs: int) -> tuple[int, int]:
    """Choose colour and dash: of one run by its lines; of two the colour says which run, the dash which line of it."""
    return (place, place) if runs == 1 else (run, 2 * run + place)


def _line(name: str, records: Sequence[Record], key: str, factor: float = 1.0) -> Line:
    values = [(record["epoch"], number(record, key)) for record in records]
    return Line(name, tuple((epoch, factor * value) for epoch, value in values if value is not None))


def _rank_1(evaluations: Sequence[Record]) -> Line:
    values = [(record["epoch"], number(table(record, "cmc"), "1")) for record in evaluations]
    return Line("rank-1", tuple((epoch, 100 * value) for epoch, value in values if value is not None))


def _in_words(title: str, lines: Sequence[Line], unit: str) -> str:
    """Describe a figure by the first and last value of each curve."""
    words = []
    for line in lines:
        (first, start), (last, end) = line.points[0], line.points[-1]
        then = f", {end:.3g}{unit} at epoch {last}" if last != first else ""
        words.append(f"{line.name} {start:.3g}{unit} at epoch {first}{then}")
    return f"{title} by epoch: {'; '.join(words)}."


def _svg(lines: Sequence[Line], *, prefix: str, from_zero: bool, warmup_epochs: int) -> Markup:
    """Draw the curves; ids get `prefix`, since one page holds several drawings."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "resight", "font.size": 9}):
        figure = Figure(figsize=(5.2, 2.7), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        _draw(axes, lines, warmup_epochs)
        if from_zero:
            axes.set_ylim(0, 1.08 * max(value for line in lines for _, value in line.points) or 1)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), prefix)


def _draw(axes: "Axes", lines: Sequence[Line], warmup_epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    last = max(epoch for line in lines for epoch, _ in line.points)
    first = min(epoch for line in lines for epoch, _ in line.points)
    for line in lines:
        dashes, marker = DASHES[line.dash]
        size = 4 if len(line.points) <= 60 else 0
        axes.plot(
            *zip(*line.points, strict=True),
            dashes,
            color=COLOURS[line.colour],
            marker=marker,
            markersize=size,
            label=_legend(line.name),
        )
    has_warmup = 0 < first <= warmup_epochs
    if has_warmup:
        axes.axvspan(first - 0.5, min(warmup_epochs, last) + 0.5, color=INK, alpha=0.1, linewidth=0, label="warm-up")
    if len(lines) > 1 or has_warmup:
        axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_xlabel("epoch", color=INK)
    axes.tick_params(colors=INK)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def _legend(name: str) -> str:
    """Shorten a name for the legend: matplotlib reads $ as a formula's start, and passes over what begins with _."""
    short = name if len(name) <= 40 else name[:39] + "…"
    return short.replace("$", r"\$").lstrip("_") or "run"


def _inline(drawing: str, prefix: str) -> Markup:
    """Make a stand-alone SVG file a part of an HTML page."""
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", drawing, count=5)
    drawing = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", drawing)
    return Markup(drawing.replace(INK, "currentColor").replace("<svg", '<svg aria-hidden="true"', 1))
