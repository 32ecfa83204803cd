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

STYLES = (("#2f7fc1", "-", "o"), ("#d0781f", "--", "s"))
"""Colour, line and marker of the first and second curve: told apart without colour too."""

Point = tuple[int, float]


@dataclass(frozen=True)
class Line:
    """One curve: its name and its (epoch, value) points."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curve:
    """One figure of the page. `alt` says in words what it shows."""

    title: str
    alt: str
    svg: Markup


def curves(history: History) -> list[Curve]:
    """Draw what the log holds; a figure without a point is left away."""
    percent = 100.0
    epochs, evaluations, warmup = history.epochs, history.evaluations, history.warmup_epochs
    found = [
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
    drawn: list[Curve] = []
    for title, asked, unit, warmup_epochs in found:
        lines = [line for line in asked if line.points]
        if lines:
            svg = _svg(lines, prefix=f"figure{len(drawn) + 1}-", from_zero=title != "Loss", warmup_epochs=warmup_epochs)
            drawn.append(Curve(title, _in_words(title, lines, unit), svg))
    return drawn


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
    for line, (colour, dashes, marker) in zip(lines, STYLES, strict=False):
        size = 4 if len(line.points) <= 60 else 0
        axes.plot(
            *zip(*line.points, strict=True), dashes, color=colour, marker=marker, markersize=size, label=line.name
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


def _inline(drawing: str, prefix: str) -> Markup:
    """Make a stand-alone SVG file a part of an HTML page."""
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", drawing, count=5)
    drawing = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", drawing)
    return Markup(drawing.replace(INK, "currentColor").replace("<svg", '<svg aria-hidden="true"', 1))
