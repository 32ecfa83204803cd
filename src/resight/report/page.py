"""Fill the page and write it whole or not at all."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from resight.errors import DataError
from resight.report import headline
from resight.report.against import Beside
from resight.report.album import Album, short_name
from resight.report.curves import curves
from resight.report.embedding_map import EmbeddingMap
from resight.report.history import History, read_history, table
from resight.report.strips import Strip
from resight.whole_files import replacing

MARKS = {"right": "✓", "wrong": "✗", "left out": "–"}
"""Sign of each verdict, so that colour is not all that tells them apart."""

SECTIONS = ("curves", "strips", "hardest", "cameras", "map", "groups", "against", "recipe")
"""Parts of the page that can be left out, in the page's order but for `against`, which comes second."""

MEGABYTES = 12.0
"""Largest page, unless another size is asked for."""

LEAST_MEGABYTES = 2.0

TEXT_BYTES = 1_500_000
"""Kept free for everything that is no picture: text, drawings of curves, places of the map's points."""

SHARES = {"strips": 0.15, "hardest": 0.15, "against": 0.2, "groups": 0.25, "map": 0.25}
"""Share of the room for pictures that each part may take."""


@dataclass(frozen=True)
class Extras:
    """What stands on the page beside what the log tells; what is None or empty is left away.

    `groups`: as `group_sheets` gives them. `other`: the log of the run that `beside` compares with.
    """

    strips: Sequence[Strip] = ()
    hardest: Sequence[Strip] = ()
    cameras: Sequence[Mapping[str, Any]] = ()
    map: EmbeddingMap | None = None
    groups: Mapping[str, Any] | None = None
    beside: Beside | None = None
    other: History | None = None


def albums_of(megabytes: float = MEGABYTES) -> dict[str, Album]:
    """Share out the room for pictures on a page of at most so many megabytes (10⁶ bytes)."""
    room = int(megabytes * 1_000_000) - TEXT_BYTES
    return {name: Album(max(0, int(room * share))) for name, share in SHARES.items()}


def write_report(
    run: Path,
    out: Path,
    *,
    strips: Sequence[Strip] = (),
    notes: Sequence[str] = (),
    extras: Extras | None = None,
    albums: Mapping[str, Album] | None = None,
    sections: Sequence[str] = SECTIONS,
) -> None:
    """Write a run's report to `out`, one HTML file that loads nothing from elsewhere.

    Reads only RUN/log.jsonl and RUN/summary.json, and the images of the strips. `notes`: sentences to show on the
    page. `strips`: short for `extras` with nothing but them. `albums`: those in which the extras' pictures are counted
    already. `sections`: what of `SECTIONS` to show.

    Raises:
        DataError: the run or its log is missing, or `out` cannot be written.
    """
    history = read_history(run)
    extras = Extras(strips=strips) if extras is None else extras
    page = _render(run, history, extras, notes, albums or albums_of(), sections)
    with replacing(out, DataError) as temporary:
        out.parent.mkdir(parents=True, exist_ok=True)
        # A path need not be Unicode; what is not, is shown as "?".
        temporary.write_text(page, encoding="utf-8", errors="replace")


def _render(
    run: Path,
    history: History,
    extras: Extras,
    notes: Sequence[str],
    albums: Mapping[str, Album],
    sections: Sequence[str],
) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_asset),
    )
    script = _asset("map.js") if extras.map else ""
    beside = extras.beside
    content = {
        "strips": _rankings(extras.strips, albums["strips"]),
        "hardest": _rankings(extras.hardest, albums["hardest"]),
        "changed": [
            (change.caption, rankings)
            for change in (beside.changed if beside else ())
            if (rankings := _rankings(change.strips, albums["against"]))
        ],
    }
    recipe = "\n".join(headline.settings(table(history.start, "recipe"))) if "recipe" in sections else ""
    shown = "curves" in sections
    return environment.get_template("report.html.j2").render(
        run=run.resolve().name,
        status=history.status,
        facts=headline.facts(history),
        scores=headline.scores(history.untrained, history.trained),
        counts=headline.counts(history.trained or history.untrained or {}),
        show_curves=shown,
        curves=curves(history) if shown else [],
        recipe=recipe,
        cameras=extras.cameras,
        map=extras.map,
        groups=extras.groups,
        beside=beside,
        beside_curves=_both(history, extras) if shown else [],
        script=Markup(script),
        script_hash=script_hash(script) if script else "",
        pictures=sum(album.shown for album in albums.values()),
        notes=[*history.notes, *notes, *_crowded(albums)],
        **content,
    )


def _both(history: History, extras: Extras) -> list[Any]:
    """Draw the curves of two runs over each other."""
    if extras.beside is None or extras.other is None:
        return []
    return curves(history, extras.other, names=extras.beside.names, prefix="both")


def script_hash(script: str) -> str:
    """Give the hash by which the page's policy knows its own script from any other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _asset(name: str) -> str:
    return (resources.files("resight.report") / name).read_text(encoding="utf-8")


def _crowded(albums: Mapping[str, Album]) -> list[str]:
    """Say how many pictures had no room."""
    missing = [f"{album.left_out:,} of the {name}" for name, album in albums.items() if album.left_out]
    return (
        [f"Pictures were left out to bound the page's size: {', '.join(missing)}; see --megabytes."] if missing else []
    )


def _rankings(strips: Sequence[Strip], album: Album) -> list[dict[str, Any]]:
    """Turn strips into what the template shows, until the album is full."""
    shown = []
    for strip in strips:
        if album.full:
            album.left_out += 1 + len(strip.items)
        else:
            shown.append(_strip(strip, album))
    return shown


def _strip(strip: Strip, album: Album) -> dict[str, Any]:
    """Turn a strip into what the template shows."""
    query = album.show(strip.query)
    images = [
        {
            "shown": album.show(item.picture),
            "name": short_name(item.picture),
            "kind": item.verdict.replace(" ", "-"),
            "label": f"{MARKS[item.verdict]} {item.rank or item.verdict}",
            "score": f"{item.score:.2f}",
            "alt": f"{f'rank {item.rank}, ' if item.rank else ''}{item.verdict}, score {item.score:.2f}",
        }
        for item in strip.items
    ]
    return {"query": query, "name": short_name(strip.query), "caption": strip.caption, "images": images}
