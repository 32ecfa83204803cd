"""Answers as a file that `resight audit`, `resight calibrate` and `resight group` read."""

from pathlib import Path

from resight.data.decode import path_and_box
from resight.pair_answers import PairAnswer, as_csv, picture_name
from resight.review.measuring import Measuring
from resight.review.questions import MEASURE, named
from resight.review.store import Decision, ReviewStore
from resight.types import Sample

Named = tuple[str, str]


def answers_csv(store: ReviewStore, measuring: Measuring | None, root: Path, model: str, *, drawn_only: bool) -> str:
    """Write the answers as CSV, pictures named from `root` where they lie below it.

    `drawn_only`: only pairs that an audit drew, with the weights that estimates and a calibration need; else all, and
    those that were picked for their doubt weigh 1. What was skipped is left out. Of a pair that was answered for both
    purposes the later answer is right. `model`: scores of another model are left out.
    """
    rows: dict[Named, PairAnswer] = {}
    if measuring is not None:
        known = {**measuring.known(), **{d.pair: d.same for d in store.decisions(MEASURE)}}
        rows = {row.pair: row for row in measuring.rows(known)}
    if not drawn_only:
        for decision in store.decisions():
            answer = _row(decision, root, model)
            if answer.same is not None and (decision.purpose != MEASURE or answer.pair not in rows):
                rows[answer.pair] = _merged(rows.get(answer.pair), answer)
    return as_csv(rows.values())


def _row(decision: Decision, root: Path, model: str) -> PairAnswer:
    left, right = (_name(name, root) for name in decision.pair)
    return PairAnswer(left, right, decision.same, score=decision.score if decision.model == model else None)


def _name(name: str, root: Path) -> str:
    path, box = path_and_box(named(name))
    return picture_name(Sample(path, box=box), root)


def _merged(drawn: PairAnswer | None, answer: PairAnswer) -> PairAnswer:
    if drawn is None:
        return answer
    return PairAnswer(drawn.left, drawn.right, answer.same, drawn.weight, drawn.score)
