"""What a person is asked: is this the same one? And in which order, over what was decided before."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from resight.data.decode import path_and_box
from resight.pair_answers import picture_of
from resight.review.store import Decision, Pair, ReviewStore
from resight.types import Picture

MEASURE = "measure"
"""Purpose of pairs that were drawn by chance, so that their answers estimate precision and recall."""

DOUBTS = "doubts"
"""Purpose of pairs that were picked for being doubtful: their answers mend groups, and estimate nothing."""


def whole_name(picture: Picture) -> str:
    """Name a picture by its whole path, and its box where it is a part of the file."""
    path, box = path_and_box(picture)
    name = path.absolute().as_posix()
    return name if box is None else f"{name} {list(box)}"


def named(name: str) -> Picture:
    """Give the picture that `whole_name` named so."""
    return picture_of(name, Path("/"))


def pair_of(left: Picture, right: Picture) -> Pair:
    """Name two pictures, in alphabetical order."""
    first, second = sorted((whole_name(left), whole_name(right)))
    return first, second


@dataclass(frozen=True, slots=True)
class Question:
    """Two pictures to show side by side. `why`: what the answer is for, in words; it says nothing of their score."""

    left: Picture
    right: Picture
    purpose: str
    score: float | None = None
    why: str = ""

    @property
    def pair(self) -> Pair:
        """Its name in the store."""
        return pair_of(self.left, self.right)


Known = Mapping[Pair, bool | None]
"""What was decided: None is skipped."""


@runtime_checkable
class Source(Protocol):
    """Gives questions of one purpose, most informative first."""

    purpose: str

    def __len__(self) -> int:
        """How many pairs it has, answered or not."""
        ...

    def known(self) -> Known:
        """What was decided of its pairs elsewhere, before."""
        ...

    def open(self, known: Known, count: int) -> list[Question]:
        """Give the next `count` questions that are not among `known`, fewer where there are fewer."""
        ...


class Queue:
    """A source's questions less those that are decided, and where the answers go. `model`: its fingerprint."""

    def __init__(self, source: Source, store: ReviewStore, model: str) -> None:
        self.source, self.store, self.model = source, store, model

    def known(self) -> dict[Pair, bool | None]:
        """Give what was decided, there or here; what was decided here is right."""
        return {**self.source.known(), **latest(self.store.decisions(self.source.purpose))}

    def next(self, count: int = 1) -> list[Question]:
        """Give the next questions, most informative first."""
        return self.source.open(self.known(), count)

    def answer(self, question: Question, same: bool | None) -> int:
        """Save an answer, None to skip; it is on the disk when this returns.

        Raises:
            DataError: it cannot be written.
        """
        return self.store.record(Decision(question.pair, same, question.purpose, question.score, self.model))

    def undo(self) -> Decision | None:
        """Take the last answer back, whatever it was to; None where there is none.

        Raises:
            DataError: it cannot be written.
        """
        return self.store.undo()


def latest(decisions: Iterable[Decision]) -> dict[Pair, bool | None]:
    """Give the last decision of each pair."""
    return {decision.pair: decision.same for decision in decisions}
