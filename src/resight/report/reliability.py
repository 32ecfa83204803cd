"""The reliability diagram: what probabilities said against what was so, as an SVG file."""

import io
from pathlib import Path

from resight.artifacts import write_text
from resight.calibrate import Reliability


def write_reliability(path: Path, found: Reliability) -> None:
    """Draw a check of probabilities to an SVG file, replacing an earlier one whole or not at all.

    Dots on the diagonal are right; below it probabilities are too high. The area of a dot says how many pairs it holds.

    Raises:
        CheckpointError: the file cannot be written.
    """
    write_text(path, drawn(found))


def drawn(found: Reliability) -> str:
    """Give the SVG; the same for the same figures."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "resight", "font.size": 9}):
        figure = Figure(figsize=(4.2, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], "--", color="#808080", linewidth=1, label="right")
        most = max(found.pairs)
        sizes = [10 + 60 * pairs / most for pairs in found.pairs]
        axes.plot(found.predicted, found.observed, color="#2f7fc1", linewidth=1)
        axes.scatter(found.predicted, found.observed, s=sizes, color="#2f7fc1", label="ten cells of pairs", zorder=3)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel("probability of “same”")
        axes.set_ylabel("share that is the same")
        axes.set_title(f"For checking, not used in the fit: error {found.error:.3f}", fontsize=9)
        axes.legend(frameon=False, loc="upper left")
        axes.grid(alpha=0.2, linewidth=0.6)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
