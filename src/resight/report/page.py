"""Fill the page and write it whole or not at all."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from resight.data.decode import path_and_box
from resight.errors import DataError
from resight.report.curves import curves
from resight.report.history import History, Record, number, read_history, table
from resight.report.strips import Strip, thumbnail

MARKS = {"right": "✓", "wrong": "✗", "left out": "–"}
"""Sign of each verdict, so that colour is not all that tells them apart."""


def write_report(run: Path, out: Path, *, strips: Sequence[Strip] = (), notes: Sequence[str] = ()) -> None:
    """Write a run's report to `out`, one HTML file that loads nothing from elsewhere.

    Reads only RUN/log.jsonl and RUN/summary.json. `notes`: sentences to show on the page.

    Raises:
        DataError: the run or its log is missing, or `out` cannot be written.
    """
    history = read_history(run)
    _write_whole(out, _render(run, history, strips, notes))


def _render(run: Path, history: History, strips: Sequence[Strip], notes: Sequence[str]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = (resources.files("resight.report") / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        run=run.resolve().name,
        status=history.status,
        facts=_facts(history),
        scores=_scores(history.untrained, history.trained),
        counts=_counts(history.trained or history.untrained or {}),
        curves=curves(history),
        strips=[_strip(strip) for strip in strips],
        recipe="\n".join(_settings(table(history.start, "recipe"))),
        notes=[*history.notes, *notes],
    )


def _facts(history: History) -> list[tuple[str, str]]:
    """Give the headline: what was trained on what, how and where; what is not known is left away."""
    start, data, recipe = history.start, table(history.start, "data"), table(history.start, "recipe")
    backbone = table(recipe, "backbone")
    method = " × ".join(str(table(recipe, part)["name"]) for part in ("miner", "loss") if "name" in table(recipe, part))
    facts = {
        "Data": _with_aside(data.get("root"), data.get("format")),
        "Images": _images(data),
        "Recipe": _with_aside(recipe.get("name") or history.summary.get("recipe"), method),
        "Picked": "; ".join(str(choice) for choice in start.get("choices") or ()),
        "Backbone": backbone.get("name"),
        "Weights": backbone.get("weights"),
        "Seed": start.get("seed", history.summary.get("seed")),
        "Machine": _with_aside(start.get("machine") or start.get("device"), start.get("precision")),
        "Time": _time_taken(history),
        "Started": _moment(start),
        "Estimate without labels": _last_estimate(history),
        "Model kept": f"that of epoch {kept}" if (kept := history.summary.get("kept_epoch")) else None,
        "Version": _with_aside("resight" if "version" in start else None, start.get("version")),
        "Command": start.get("command"),
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "")]


def _last_estimate(history: History) -> str:
    found = [(record["epoch"], value) for record in history.trust if (value := number(record, "estimate")) is not None]
    return f"{found[-1][1]:.3f} after epoch {found[-1][0]} (0 to 1, no mAP: docs/trust.md)" if found else ""


def _with_aside(value: Any, aside: Any) -> str:
    return f"{value} ({aside})" if value and aside else str(value or "")


def _images(data: Record) -> str:
    parts = [
        f"{count:,} {split}" for split in ("train", "query", "gallery") if isinstance(count := data.get(split), int)
    ]
    cameras = data.get("cameras")
    return ", ".join(parts + ([f"{cameras} cameras"] if cameras else []))


def _time_taken(history: History) -> str:
    seconds = number(history.summary, "seconds")
    if seconds is None:
        seconds = sum(number(record, "seconds") or 0.0 for record in history.epochs)
    whole = round(seconds)
    clock = f"{whole // 3600} h {whole % 3600 // 60} min" if whole >= 3600 else f"{whole // 60} min {whole % 60} s"
    speed = number(history.summary, "images_per_second")
    return (clock if seconds else "") + (f", {speed:,.1f} images/s" if speed is not None else "")


def _moment(start: Record) -> str:
    seconds = number(start, "time")
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _scores(untrained: Record | None, trained: Record | None) -> list[tuple[str, str, str, str]]:
    """Give the table's rows: figure, untrained, trained, change; percent, and no rows where nothing was evaluated."""
    if not untrained and not trained:
        return []
    rows = []
    for name, outer, key in [
        ("mAP", None, "mAP"), ("mINP", None, "mINP"), *((f"CMC@{k}", "cmc", str(k)) for k in (1, 5, 10, 20)),
    ]:  # fmt: skip
        values = [number(table(record or {}, outer) if outer else record or {}, key) for record in (untrained, trained)]
        before, after = values
        change = "–" if before is None or after is None else f"{100 * (after - before):+.1f}"
        rows.append((name, _percent(before), _percent(after), change))
    return rows


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _counts(record: Record) -> str:
    queries, left_out = number(record, "queries"), number(record, "left_out")
    if queries is None or left_out is None:
        return ""
    return f"{queries:,.0f} queries; {left_out:,.0f} left out, having no right answer in the gallery."


def _settings(tables: Record, prefix: str = "") -> Iterator[str]:
    """List a recipe as section.key = value."""
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key} = {json.dumps(value, ensure_ascii=False)}"


def _strip(strip: Strip) -> dict[str, Any]:
    """Turn a strip into what the template shows."""
    images = [
        {
            "image": thumbnail(item.picture),
            "name": path_and_box(item.picture)[0].name,
            "kind": item.verdict.replace(" ", "-"),
            "label": f"{MARKS[item.verdict]} {item.rank or item.verdict}",
            "score": f"{item.score:.2f}",
            "alt": f"{f'rank {item.rank}, ' if item.rank else ''}{item.verdict}, score {item.score:.2f}",
        }
        for item in strip.items
    ]
    return {
        "query": thumbnail(strip.query),
        "name": path_and_box(strip.query)[0].name,
        "caption": strip.caption,
        "images": images,
    }


def _write_whole(out: Path, text: str) -> None:
    """Write the file so that it holds either its old content or all of the new."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    except OSError as error:
        if temporary.is_file():
            temporary.unlink()
        raise DataError(f"{out} must be a file that can be written, got: {error}; give another file") from error
