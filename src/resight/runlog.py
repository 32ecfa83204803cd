"""What happens in a run, one JSON line an event. Progress bar, TensorBoard and report read only these events."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Listener = Callable[[dict[str, Any]], None]


class RunLog:
    """Appends events to a file, each flushed at once, and hands them to listeners.

    A line cut short by a power loss is closed by a newline on the next opening, so that it spoils no other.
    """

    def __init__(self, path: Path | None, listeners: tuple[Listener, ...] = ()) -> None:
        self.listeners = listeners
        self._file = None
        if path is not None:
            torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
            self._file = path.open("a", encoding="utf-8")
            if torn:
                self._file.write("\n")

    def event(self, name: str, **fields: Any) -> None:
        """Record one event; values must be JSON's."""
        record = {"event": name, "time": round(time.time(), 3), **fields}
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
            if name not in ("step", "mining"):
                os.fsync(self._file.fileno())
        for listener in self.listeners:
            listener(record)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read a log; lines that a power loss cut short are passed over."""
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and "event" in record:
            events.append(record)
    return events


class TensorBoardListener:
    """Writes the numbers of step, epoch and evaluation events to TensorBoard."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder))

    def __call__(self, record: dict[str, Any]) -> None:
        """Take one event."""
        name = record["event"]
        if name == "step":
            at = (record["epoch"] - 1) * record["steps"] + record["step"]
        elif name in ("epoch", "evaluation", "trust"):
            at = record["epoch"]
        else:
            self.writer.flush()
            return
        for key, value in numbers(record).items():
            self.writer.add_scalar(f"{name}/{key}", value, at)


def numbers(record: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten an event's numbers, without its clock and counters."""
    flat: dict[str, float] = {}
    for key, value in record.items():
        if key in ("time", "event", "epoch", "step", "steps"):
            continue
        if isinstance(value, dict):
            flat |= numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[f"{prefix}{key}"] = value
    return flat
