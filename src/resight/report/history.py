"""What a run left behind: its log and summary, read so that a power cut costs no more than the line it hit."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.errors import DataError

Record = Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """A run as its log tells it.

    `start`: the first event, empty where it is missing. `epochs`, `evaluations`: one record an epoch, the last one
    written, by rising epoch; evaluation of epoch 0 is the untrained model. `trust`: likewise. `summary`: empty where
    there is none.
    `status`: how the run stands, in words. `notes`: what could not be read, one sentence each.
    """

    start: Record
    epochs: tuple[Record, ...]
    evaluations: tuple[Record, ...]
    trust: tuple[Record, ...]
    summary: Record
    status: str
    notes: tuple[str, ...]

    @property
    def untrained(self) -> Record | None:
        """The evaluation before training, or None."""
        found = [record for record in self.evaluations if record["epoch"] == 0]
        return found[0] if found else table(self.summary, "untrained") or None

    @property
    def trained(self) -> Record | None:
        """The evaluation after training: the summary's, else the last of the log; or None."""
        found = [record for record in self.evaluations if record["epoch"] > 0]
        return table(self.summary, "trained") or (found[-1] if found else None)

    @property
    def warmup_epochs(self) -> int:
        """How many epochs used self-only labels; as the recipe says, else as the mined positives show."""
        told = number(table(table(self.start, "recipe"), "train"), "warmup_epochs")
        if told is not None:
            return int(told)
        alone = [number(record, "positives_per_image") == 1.0 for record in self.epochs]
        return [*alone, False].index(False)


def read_history(run: Path) -> History:
    """Read RUN/log.jsonl and, if it is there, RUN/summary.json.

    Raises:
        DataError: there is no such folder or no log in it.
    """
    path = run / "log.jsonl"
    if not path.is_file():
        missing = "has no log.jsonl" if run.is_dir() else "does not exist"
        raise DataError(f"{run} must be the folder of a run, but it {missing}; make one with resight train")
    events, notes = _read_events(path)
    summary, summary_notes = _read_summary(run / "summary.json")
    starts = [event for event in events if event["event"] == "start"]
    start = starts[-1] if starts else {}
    caveats = tuple(f"Warning: {sentence}." for sentence in start.get("caveats") or ())
    return History(
        start=start,
        epochs=_by_epoch(events, "epoch"),
        evaluations=_by_epoch(events, "evaluation"),
        trust=_by_epoch(events, "trust"),
        summary=summary,
        status=_status(events),
        notes=caveats + notes + summary_notes,
    )


def number(record: Record, key: str) -> float | None:
    """Give a record's number, or None where it is missing, no number, NaN or infinite."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def table(record: Record, key: str) -> Record:
    """Give a record's inner table, empty where it is missing."""
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def _read_events(path: Path) -> tuple[list[Record], tuple[str, ...]]:
    events: list[Record] = []
    broken = []
    lines = path.read_bytes().splitlines()
    for place, line in enumerate(lines, start=1):
        record = _event(line)
        if record is not None:
            events.append(record)
        elif line.strip():
            broken.append(place)
    notes = []
    if broken and broken[-1] == len(lines):
        notes.append(f"The last line of {path.name} was cut short, as by a power cut, and is passed over.")
        broken.pop()
    if broken:
        places = ", ".join(map(str, broken[:5])) + (", …" if len(broken) > 5 else "")
        notes.append(f"{len(broken)} line(s) inside {path.name} could not be read and are passed over: {places}.")
    return events, tuple(notes)


def _event(line: bytes) -> Record | None:
    """Give the event that a line holds, or None where it holds none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        return None
    needs_epoch = record["event"] in ("step", "epoch", "evaluation", "trust")
    return None if needs_epoch and not isinstance(record.get("epoch"), int) else record


def _read_summary(path: Path) -> tuple[Record, tuple[str, ...]]:
    if not path.is_file():
        return {}, ()
    try:
        summary = json.loads(path.read_bytes())
    except ValueError:
        summary = None
    if isinstance(summary, dict):
        return summary, ()
    return {}, (f"{path.name} could not be read; the figures come from the log alone.",)


def _by_epoch(events: list[Record], name: str) -> tuple[Record, ...]:
    """Keep the last event of each epoch: a resumed run repeats the epoch in which it was stopped."""
    last = {event["epoch"]: event for event in events if event["event"] == name}
    return tuple(last[epoch] for epoch in sorted(last))


def _status(events: list[Record]) -> str:
    """Say how the run stands, from its last events."""
    last = events[-1] if events else {"event": "nothing"}
    if last["event"] == "end":
        return "finished"
    if last["event"] == "interrupted":
        return f"interrupted after epoch {last.get('epoch', '?')}"
    seen = [event for event in events if event["event"] in ("step", "epoch")]
    if not seen:
        return "not finished; no step is logged yet"
    if seen[-1]["event"] == "epoch":
        return f"not finished; last seen after epoch {seen[-1]['epoch']}"
    step = seen[-1]
    return f"not finished; last seen in epoch {step['epoch']}, step {step.get('step', '?')} of {step.get('steps', '?')}"
