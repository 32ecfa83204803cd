"""The progress bar of a training run, drawn from its events; one line an epoch where the output is no terminal."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Say = Callable[[str], None]
"""Told sentences for the user."""

Bar = Callable[[str], Callable[[int, int], None]]
"""Makes a progress bar with a title, which is then told how many are done of how many."""


def silent(text: str) -> None:
    """Say nothing."""
    del text


def no_bar(title: str) -> Callable[[int, int], None]:
    """Draw nothing."""
    del title
    return lambda done, total: None


def decoding_bar(console: Console) -> Callable[[int, int], None]:
    """Give a bar for images being decoded."""
    return titled_bar(console, "decoding images")


def titled_bar(console: Console, title: str) -> Callable[[int, int], None]:
    """Give a `progress(done, total)` that draws a bar, on a terminal only."""
    bar = Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    task = bar.add_task(title, total=None)

    def progress(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)
        if done == total:
            bar.stop()

    return progress


class ProgressListener:
    """Shows loss, images/s, positives per image and time left over all epochs; prints a line after each epoch."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.epochs = 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.task = self.bar.add_task("starting", total=None, numbers="")

    def __call__(self, record: dict[str, Any]) -> None:
        """Take one event."""
        handler = getattr(self, f"on_{record['event']}", None)
        if handler is not None:
            handler(record)

    def on_start(self, record: dict[str, Any]) -> None:
        """Learn how many epochs there will be."""
        self.epochs = record["epochs"]

    on_resume = on_start

    def on_mining(self, record: dict[str, Any]) -> None:
        """Say how far the mining before an epoch has come."""
        self.bar.start()
        share = record["done"] / record["total"]
        self.bar.update(self.task, description=f"epoch {record['epoch']}/{self.epochs}: mining {share:.0%}")

    def on_step(self, record: dict[str, Any]) -> None:
        """Move the bar."""
        self.bar.start()
        steps = record["steps"]
        self.bar.update(
            self.task,
            description=f"epoch {record['epoch']}/{self.epochs}",
            total=self.epochs * steps,
            completed=(record["epoch"] - 1) * steps + record["step"],
            numbers=f"loss {record['loss']:.3f} · {record['images_per_second']:.0f} images/s · "
            f"{record['positives_per_image']:.1f} positives",
        )

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Print the epoch's line."""
        mined = ""
        if record.get("precision") is not None:
            mined = f" · precision {100 * record['precision']:.1f} % recall {100 * record['recall']:.1f} %"
        self.console.print(
            f"epoch {record['epoch']:>3}/{self.epochs} · loss {record['loss']:.4f} · "
            f"{record['positives_per_image']:.1f} positives per image{mined} · "
            f"{record['images_per_second']:.0f} images/s · {record['seconds']:.0f} s",
            highlight=False,
        )

    def on_evaluation(self, record: dict[str, Any]) -> None:
        """Print mAP and CMC."""
        when = "untrained" if record["epoch"] == 0 else f"after epoch {record['epoch']}"
        cmc = record["cmc"]
        self.console.print(
            f"{when}: mAP {100 * record['mAP']:.1f} %, R1 {100 * cmc['1']:.1f} %, R5 {100 * cmc['5']:.1f} %, "
            f"R10 {100 * cmc['10']:.1f} %, mINP {100 * record['mINP']:.1f} % "
            f"({record['queries']} queries, {record['left_out']} left out)",
            highlight=False,
        )

    def on_trust(self, record: dict[str, Any]) -> None:
        """Print the estimate of quality without labels."""
        if record.get("estimate") is None:
            return
        when = "untrained" if record["epoch"] == 0 else f"after epoch {record['epoch']}"
        kept = f", {record['labels_kept']:.0%} of the labels as before" if "labels_kept" in record else ""
        self.console.print(f"{when}: estimate without labels {record['estimate']:.3f}{kept}", highlight=False)

    def on_stopped(self, record: dict[str, Any]) -> None:
        """Say why training ends before the last epoch."""
        self.console.print(
            f"stopped after epoch {record['epoch']} of {record['epochs']}: the estimate without labels has not risen "
            f"above {record['highest_estimate']:.3f} in the last {record['measurements']} measured",
            highlight=False,
        )

    def on_kept(self, record: dict[str, Any]) -> None:
        """Say which epoch's model is left behind."""
        self.console.print(
            f"kept: the model of epoch {record['epoch']}, whose estimate without labels is the highest, "
            f"{record['estimate']:.3f}",
            highlight=False,
        )

    def on_end(self, record: dict[str, Any]) -> None:
        """Stop drawing."""
        del record
        self.bar.stop()

    on_interrupted = on_end
