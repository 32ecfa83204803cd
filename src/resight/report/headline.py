"""The head of the page: what was trained on what, how and where, and what came out."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from resight.report.history import History, Record, number, table


def facts(history: History) -> list[tuple[str, str]]:
    """Give the headline: what was trained on what, how and where; what is not known is left away."""
    start, data, recipe = history.start, table(history.start, "data"), table(history.start, "recipe")
    backbone = table(recipe, "backbone")
    method = " × ".join(str(table(recipe, part)["name"]) for part in ("miner", "loss") if "name" in table(recipe, part))
    found = {
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
        "Ended early": f"after epoch {end}" if (end := history.summary.get("stopped_after")) else None,
        "Version": _with_aside("resight" if "version" in start else None, start.get("version")),
        "Command": start.get("command"),
    }
    return [(name, str(value)) for name, value in found.items() if value not in (None, "")]


def _last_estimate(history: History) -> str:
    kept = history.summary.get("kept_epoch")  # where one was chosen, its estimate and not the last
    found = [(record["epoch"], value) for record in history.trust if (value := number(record, "estimate")) is not None]
    found = [pair for pair in found if pair[0] == kept] or found
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


def scores(untrained: Record | None, trained: Record | None) -> list[tuple[str, str, str, str]]:
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
        rows.append((name, percent(before), percent(after), change))
    return rows


def percent(value: float | None) -> str:
    """Give a fraction in percent, a dash where it is not known."""
    return "–" if value is None else f"{100 * value:.1f} %"


def counts(record: Record) -> str:
    """Say how many queries the figures are of."""
    queries, left_out = number(record, "queries"), number(record, "left_out")
    if queries is None or left_out is None:
        return ""
    return f"{queries:,.0f} queries; {left_out:,.0f} left out, having no right answer in the gallery."


def settings(tables: Record, prefix: str = "") -> Iterator[str]:
    """List a recipe as section.key = value."""
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key} = {json.dumps(value, ensure_ascii=False)}"
