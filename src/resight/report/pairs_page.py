"""A page to answer pairs on: one HTML file with its images inside, that needs no network and no server."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from resight.artifacts import write_text
from resight.pair_answers import COLUMNS, PairAnswer, picture_of
from resight.report.strips import thumbnail

PICTURE_SIZE = (256, 256)
"""Largest width and height of an image on the page, in pixels."""


def write_pairs_page(out: Path, answers: Sequence[PairAnswer], root: Path, *, title: str) -> None:
    """Write the page, with the answers that there are; its button gives a file for `resight audit --answers`.

    An image that cannot be read is shown by its name alone. The scores are in the page's data, for that file, and are
    not shown: who answers should look at the images.

    Raises:
        CheckpointError: `out` cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = (resources.files("resight.report") / "pairs.html.j2").read_text(encoding="utf-8")
    names = sorted({name for answer in answers for name in answer.pair})
    data = {
        "columns": COLUMNS,
        "pairs": [[a.left, a.right, a.same, repr(float(a.weight)), _score(a)] for a in answers],
        "images": {name: thumbnail(picture_of(name, root), PICTURE_SIZE) for name in names},
    }
    write_text(out, environment.from_string(template).render(title=title, data=data))


def _score(answer: PairAnswer) -> str:
    return "" if answer.score is None else repr(float(answer.score))
