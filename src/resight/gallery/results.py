"""Answers of a search as a terminal's table, a CSV or Parquet file, or a page of strips."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from resight.artifacts import write_text
from resight.data.decode import path_and_box
from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import GalleryError
from resight.gallery.entries import SCALARS
from resight.gallery.searching import Answer, Ranked
from resight.types import Crop, Picture
from resight.whole_files import replacing

PRINTED = 20
"""Most queries that the terminal shows."""

ON_PAGE = 200
"""Most queries that a page shows: its images are inside it."""

SINCE = 1e8
"""Timestamps from here on (1973) are taken for seconds since 1970 and shown as a date."""

HEADINGS = ("", "score", "probability", "match", "image", "camera", "time", "type", "source")
"""What `cells` gives, in order."""

SUFFIXES = (".csv", ".parquet")

COLUMNS = ("query", "rank", "score", "probability", "same", "id", *SCALARS)


def print_answers(answers: Sequence[Answer], console: Console) -> None:
    """Print a table for each query, and "no match" where nothing reaches the threshold."""
    for answer in answers[:PRINTED]:
        console.print(f"{answer.query}: {headline(answer)}", markup=False, style="bold")
        if not answer.hits:
            continue
        lines = [cells(rank, hit) for rank, hit in ranks(answer)]
        table = Table(box=None, pad_edge=False, header_style="dim")
        shown = [place for place in range(len(HEADINGS)) if any(line[place] for line in lines)]
        for place in shown:
            table.add_column(HEADINGS[place], justify="right" if place < 3 else "left", overflow="fold")
        for (_, hit), line in zip(ranks(answer), lines, strict=True):
            table.add_row(*(line[place] for place in shown), style="dim" if hit.same is False else None)
        console.print(table, markup=False)
    if len(answers) > PRINTED:
        console.print(f"and {len(answers) - PRINTED:,} queries more; --out FILE.csv writes all of them")


def headline(answer: Answer) -> str:
    """Say in a few words what was found."""
    if not answer.hits:
        return "nothing in the gallery meets the conditions"
    if answer.match is False:
        return f"no match (the best of all scores {answer.hits[0].score:.3f}, below the threshold)"
    if answer.beyond is not None:
        return f"a match, but none among the first {len(answer.hits)}: the best one scores {answer.beyond.score:.3f}"
    if answer.match:
        matches = sum(bool(hit.same) for hit in answer.hits)
        return f"{matches} match{'es' if matches > 1 else ''} among the first {len(answer.hits)}"
    return f"the first {len(answer.hits)}"


def ranks(answer: Answer) -> list[tuple[int | None, Ranked]]:
    """Number the hits from 1; a match that comes after them has no number."""
    numbered: list[tuple[int | None, Ranked]] = [*enumerate(answer.hits, start=1)]
    return numbered if answer.beyond is None else [*numbered, (None, answer.beyond)]


def cells(rank: int | None, hit: Ranked) -> list[str]:
    """Write a hit as the cells of a table's row."""
    entry = hit.entry
    return [
        "later" if rank is None else str(rank),
        f"{hit.score:.3f}",
        "" if hit.probability is None else f"{hit.probability:.3f}",
        "" if hit.same is None else ("match" if hit.same else "below"),
        shown_picture(entry.picture),
        "" if entry.camid is None else str(entry.camid),
        shown_time(entry.timestamp),
        entry.type or "",
        entry.source or "",
    ]


def shown_picture(picture: Picture) -> str:
    """Name a picture from the working folder, where it lies below."""
    path, box = path_and_box(picture)
    here = Path.cwd()
    name = path.relative_to(here) if path.is_relative_to(here) else path
    return str(name if box is None else Crop(name, box))


def shown_time(seconds: float | None) -> str:
    """Write a timestamp as a date (UTC) where it can be one, else as a number."""
    if seconds is None:
        return ""
    if SINCE <= seconds < 1e11:
        return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return f"{seconds:g}"


def rows(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Lay all hits of all queries out as rows of a table with `COLUMNS`."""
    return [
        {"query": answer.query, "rank": rank, "score": hit.score, "probability": hit.probability, "same": hit.same}
        | hit.entry.row()
        for answer in answers
        for rank, hit in ranks(answer)
    ]


def write_answers(answers: Sequence[Answer], out: Path) -> None:
    """Write all hits of all queries as CSV or Parquet, whole or not at all.

    Raises:
        GalleryError: the file cannot be written.
    """
    if out.suffix.lower() == ".parquet":
        _write_parquet(rows(answers), out)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(answers))
    write_text(out, text.getvalue())


def _write_parquet(content: list[dict[str, Any]], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = dict.fromkeys((*BOX_COLUMNS, "rank", "camid", "tracklet"), pa.int64())
    kinds = {**whole, **dict.fromkeys(("score", "probability", "timestamp"), pa.float64()), "same": pa.bool_()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    with replacing(out, GalleryError) as temporary:
        pq.write_table(pa.Table.from_pylist(content, schema), temporary)


def write_page(answers: Sequence[Answer], out: Path, notes: Sequence[str]) -> None:
    """Write a page of ranked strips, one HTML file with its images inside, that needs no network.

    Raises:
        CheckpointError: it cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    notes = [*notes]
    if len(answers) > ON_PAGE:
        notes.append(f"The first {ON_PAGE} of {len(answers):,} queries are shown.")
    strips = [_strip(answer) for answer in answers[:ON_PAGE]]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = (resources.files("resight.gallery") / "search.html.j2").read_text(encoding="utf-8")
    write_text(out, environment.from_string(template).render(strips=strips, notes=notes))


def _strip(answer: Answer) -> dict[str, Any]:
    """Lay one query's answer out as the page's template takes it."""
    from resight.report.album import thumbnail

    names = ("rank", *HEADINGS[1:4], "path", *HEADINGS[5:])
    hits: list[dict[str, Any]] = [
        {**dict(zip(names, cells(rank, hit), strict=True)), "image": thumbnail(hit.entry.picture)}
        for rank, hit in ranks(answer)
    ]
    image = None if answer.picture is None else thumbnail(answer.picture)
    return {"query": answer.query, "image": image, "headline": headline(answer), "hits": hits}
