"""A person's answers to "do these two images show the same one?", as a CSV file that audits and calibration share."""

import csv
import difflib
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resight.artifacts import write_text
from resight.data.csv_file import read_csv
from resight.errors import ConfigError, DataError
from resight.types import Crop, Picture, Sample

COLUMNS = ("left", "right", "same", "weight", "score")
NEEDED = ("left", "right", "same")

YES = frozenset({"yes", "y", "true", "t", "1", "1.0", "same"})
NO = frozenset({"no", "n", "false", "f", "0", "0.0", "different"})
OPEN = frozenset({"", "skip", "skipped", "?"})


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """Two images, and whether a person says that they show the same one.

    `left`, `right`: names as `picture_name` gives them. `same`: None where there is no answer yet. `weight`:
    1 / (expected number of draws) of the pair, above 0: with it, sums over answered pairs estimate sums over all pairs
    without bias. `score`: cosine of the two, larger is closer; None where it is not known.
    """

    left: str
    right: str
    same: bool | None = None
    weight: float = 1.0
    score: float | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """The two names in alphabetical order: a pair has no direction."""
        return (self.left, self.right) if self.left <= self.right else (self.right, self.left)


def picture_name(sample: Sample, root: Path) -> str:
    """Name an image: its path, below `root` where it lies there, and the box where it is a part of the file."""
    folder = root if root.is_dir() else root.parent
    path = sample.path.relative_to(folder) if sample.path.is_relative_to(folder) else sample.path
    return path.as_posix() if sample.box is None else f"{path.as_posix()} {list(sample.box)}"


def picture_of(name: str, root: Path) -> Picture:
    """Give the image that `picture_name` named so."""
    folder = root if root.is_dir() else root.parent
    boxed = re.fullmatch(r"(.+) \[(-?\d+), (-?\d+), (\d+), (\d+)\]", name, re.DOTALL)
    if boxed is None:
        return folder / name
    left, top, width, height = (int(number) for number in boxed.groups()[1:])
    return Crop(folder / boxed[1], (left, top, width, height))


def read_answers(path: Path) -> tuple[PairAnswer, ...]:
    """Read a CSV file of answers, in the order of the file.

    `same` understands yes/no, y/n, true/false, 1/0 and same/different in any case; empty is not answered yet.
    Without a column `weight` all weigh 1; without `score`, or where its cell is empty, none is known.

    Raises:
        DataError: the file cannot be read, lacks a column or has one that is not known, a cell cannot be read, or a
            pair stands there twice.
    """
    names, numbers, rows = read_csv(path)
    _check_columns(path, names)
    answers: list[PairAnswer] = []
    seen: dict[tuple[str, str], int] = {}
    for line, cells in zip(numbers, rows, strict=True):
        answer = _answer(dict(zip(names, cells, strict=True)), f"{path} line {line}")
        first = seen.setdefault(answer.pair, line)
        if first != line:
            raise DataError(
                f"{path} line {line} asks for {answer.left} and {answer.right} again (line {first} did); keep one"
            )
        answers.append(answer)
    return tuple(answers)


def write_answers(path: Path, answers: Iterable[PairAnswer]) -> None:
    """Write a CSV file of answers: all of it or, where that fails, what was there before.

    Answers may change, but none gets lost: a pair that is answered in the file must be among `answers`.

    Raises:
        ConfigError: the file holds answers to other pairs.
        DataError: what stands in the file cannot be read.
        CheckpointError: it cannot be written.
    """
    answers = tuple(answers)
    if path.exists():
        lost = {old.pair for old in read_answers(path) if old.same is not None} - {new.pair for new in answers}
        if lost:
            raise ConfigError(
                f"{path} holds answers to {len(lost)} pairs that would be lost, such as {' and '.join(min(lost))}; "
                "move it away or give another file"
            )
    write_text(path, as_csv(answers))


def as_csv(answers: Iterable[PairAnswer]) -> str:
    """Give the text of the CSV file; numbers with all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in answers:
        same = "" if answer.same is None else ("yes" if answer.same else "no")
        score = "" if answer.score is None else repr(float(answer.score))
        writer.writerow((answer.left, answer.right, same, repr(float(answer.weight)), score))
    return text.getvalue()


def _check_columns(path: Path, names: Sequence[str]) -> None:
    expected = ", ".join(COLUMNS)
    for name in NEEDED:
        if name not in names:
            raise DataError(
                f"{path} line 1 must name the columns {expected}, but '{name}' is missing: it names "
                f"{', '.join(names) or 'none'}"
            )
    for place, name in enumerate(names):
        if name not in COLUMNS:
            close = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "remove it"
            raise DataError(f"{path} line 1 must name no other columns than {expected}, got '{name}'; {hint}")
        if name in names[:place]:
            raise DataError(f"{path} line 1 must name each column once, but '{name}' stands there twice")


def _answer(cells: dict[str, str], place: str) -> PairAnswer:
    left, right = cells["left"], cells["right"]
    if not left or not right:
        raise DataError(f"{place} must name two images, got '{left}' and '{right}'")
    if left == right:
        raise DataError(f"{place} must name two different images, got '{left}' twice")
    weight = _number(cells.get("weight", ""), "weight", place)
    if weight is not None and weight <= 0:
        raise DataError(f"{place} must have a weight above 0, got {weight:g}")
    return PairAnswer(
        left, right, _same(cells["same"], place), 1.0 if weight is None else weight,
        _number(cells.get("score", ""), "score", place),
    )  # fmt: skip


def _same(cell: str, place: str) -> bool | None:
    word = cell.strip().lower()
    if word in OPEN:
        return None
    if word not in YES | NO:
        raise DataError(f"{place} must answer yes or no under 'same', or leave it empty, got '{cell.strip()}'")
    return word in YES


def _number(cell: str, column: str, place: str) -> float | None:
    if not cell.strip():
        return None
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{place} must have a number under '{column}', got '{cell.strip()}'")
    return number
