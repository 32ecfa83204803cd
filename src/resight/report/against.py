"""Two runs side by side: settings that differ, scores with their difference, queries that changed most."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.breakdown import bootstrap_intervals
from resight.errors import DataError
from resight.report.headline import percent, settings
from resight.report.history import History, Record, number, table
from resight.report.strips import Strip, strips_at
from resight.report.tested import Tested
from resight.retrieval_result import RetrievalResult

SETTINGS_SHOWN = 80
"""Most settings that differ that are listed."""


@dataclass(frozen=True)
class Changed:
    """A query that one model ranks otherwise than the other, by both."""

    name: str
    caption: str
    strips: tuple[Strip, Strip]


@dataclass(frozen=True)
class Beside:
    """What stands on the page. `scores`: rows of figure, this run, the other, difference; `measured`: how."""

    names: tuple[str, str]
    settings: tuple[tuple[str, str, str], ...]
    more_settings: int
    scores: tuple[tuple[str, str, str, str], ...]
    measured: str
    changed: tuple[Changed, ...] = ()


def beside(
    runs: tuple[Path, Path], histories: tuple[History, History], tests: tuple[Tested, Tested] | None, *, queries: int
) -> Beside:
    """Compare two runs; `tests`: the same queries and gallery as both models see them, where there are any.

    Raises:
        DataError: the tests are not of the same images.
    """
    names = run_names(runs)
    found = list(different_settings(*histories))
    scores, measured = _measured(*tests) if tests else _logged(*histories)
    return Beside(
        names,
        tuple(found[:SETTINGS_SHOWN]),
        max(0, len(found) - SETTINGS_SHOWN),
        scores,
        measured,
        changed(tests, names, queries) if tests else (),
    )


def run_names(runs: tuple[Path, Path]) -> tuple[str, str]:
    """Name two runs by as many of their folders as tell them apart, three at most."""
    one, other = (run.resolve().parts for run in runs)
    for depth in (1, 2, 3):
        names = "/".join(one[-depth:]), "/".join(other[-depth:])
        if names[0] != names[1]:
            return names
    return f"{names[0]} (this)", f"{names[1]} (other)"


def different_settings(one: History, other: History) -> Iterator[tuple[str, str, str]]:
    """Give setting, this run's value and the other's, where they differ; a dash where one does not have it."""
    tables = [dict(line.split(" = ", 1) for line in settings(_told(history))) for history in (one, other)]
    for key in dict.fromkeys([*tables[0], *tables[1]]):
        values = [found.get(key, "–") for found in tables]
        if values[0] != values[1]:
            yield key, values[0], values[1]


def _told(history: History) -> Record:
    """Give what a run was told and what it met: recipe, data, seed, version."""
    start = history.start
    outside = {key: start[key] for key in ("seed", "precision", "device", "machine", "version") if key in start}
    return {**outside, "trained on": table(start, "data"), **table(start, "recipe")}


def changed(tests: tuple[Tested, Tested], names: tuple[str, str], count: int) -> tuple[Changed, ...]:
    """Give the queries whose AP differs most, largest difference first; those that are alike are left away.

    Raises:
        DataError: the tests are not of the same images.
    """
    check_same_images(*tests)
    one, other = (test.result.ap.cpu() for test in tests)
    difference = (one - other).nan_to_num(0.0)
    rows = difference.abs().argsort(descending=True, stable=True)[:count].tolist()
    rows = [row for row in rows if difference[row] != 0]
    strips = [
        strips_at(test, [(row, f"AP {100 * float(test.result.ap[row]):.1f} %") for row in rows]) for test in tests
    ]
    return tuple(
        Changed(
            names[0],
            f"AP {100 * float(one[row]):.1f} % by {names[0]}, {100 * float(other[row]):.1f} % by {names[1]}: "
            f"{100 * float(difference[row]):+.1f} points",
            (strips[0][place], strips[1][place]),
        )
        for place, row in enumerate(rows)
    )


def check_same_images(one: Tested, other: Tested) -> None:
    """Raise DataError unless both tests are of the same images in the same order."""
    for name in ("query", "gallery"):
        pictures = [getattr(test, name).pictures for test in (one, other)]
        if pictures[0] != pictures[1]:
            raise DataError(
                f"both runs must be shown the same images, got {len(pictures[0])} and {len(pictures[1])} {name} images "
                "that are not the same; mend or remove broken images"
            )


def _measured(one: Tested, other: Tested) -> tuple[tuple[tuple[str, str, str, str], ...], str]:
    rows = [
        (name, percent(first), percent(second), f"{100 * (first - second):+.1f}")
        for (name, first), (_, second) in zip(_figures(one.result), _figures(other.result), strict=True)
    ]
    both = (one.result.ap - other.result.ap).cpu()
    both = both[~both.isnan()]
    low, high = bootstrap_intervals({"mAP": both.unsqueeze(0).double().numpy()})["mAP"]
    return tuple(rows), (
        f"Both models on the same {one.result.queries:,} queries and {len(one.gallery):,} gallery images. "
        f"The difference in mAP has a 95 % interval from {100 * low:+.1f} to {100 * high:+.1f} points: a bootstrap "
        "over queries, which says what other queries like these might have given, and nothing of other seeds."
    )


def _figures(result: RetrievalResult) -> list[tuple[str, float]]:
    return [("mAP", result.mAP), ("mINP", result.mINP), *((f"CMC@{k}", share) for k, share in result.cmc.items())]


def _logged(one: History, other: History) -> tuple[tuple[tuple[str, str, str, str], ...], str]:
    """Give the scores that the logs hold; they may be of other images."""
    rows = []
    for name, outer, key in (("mAP", "", "mAP"), ("mINP", "", "mINP"), ("CMC@1", "cmc", "1"), ("CMC@5", "cmc", "5")):
        values = [_figure(history.trained or {}, outer, key) for history in (one, other)]
        if values == [None, None]:
            continue
        first, second = values
        apart = "–" if first is None or second is None else f"{100 * (first - second):+.1f}"
        rows.append((name, percent(first), percent(second), apart))
    return tuple(rows), "As each run's log has it, each on its own data." if rows else ""


def _figure(record: Mapping[str, Any], outer: str, key: str) -> float | None:
    return number(table(record, outer) if outer else record, key)
