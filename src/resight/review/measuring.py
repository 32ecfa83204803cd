"""An audit's pairs as questions: which stratum of scores to ask in next, and what the answers say so far.

Within a stratum pairs are asked in the order in which they were drawn, which is by chance; which stratum comes next
follows from the answers. Answers then stay a stratified sample: the estimate is that of `pair_audit`.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from resight.auditing import Audit
from resight.pair_answers import PairAnswer, picture_of
from resight.pair_audit import Estimate, Tally, estimate, first_guess, importance
from resight.pair_posterior import chances
from resight.review.questions import MEASURE, Known, Question
from resight.review.store import Pair

DRAWS = 400
"""Draws of the posterior that say which stratum comes next: fewer than an estimate needs."""

WHY = "drawn by chance, to measure how right the model is"


class Measuring:
    """The pairs of an audit (`auditing.prepare_audit`), asked where an answer narrows the intervals most."""

    purpose = MEASURE

    def __init__(self, audit: Audit) -> None:
        root = Path(audit.plan.data)
        self.audit = audit
        self.questions = [
            Question(picture_of(a.left, root), picture_of(a.right, root), MEASURE, a.score, WHY) for a in audit.answers
        ]
        self.pairs = [question.pair for question in self.questions]
        self.names = {name for pair in self.pairs for name in pair}
        self.stratum: Int[np.ndarray, " n"] = audit.plan.strata_of(audit.answers)
        self._worth: dict[bytes, Float[np.ndarray, " h"]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.questions)

    def known(self) -> Known:
        """Give the answers that the audit's own file holds."""
        return {
            pair: answer.same
            for pair, answer in zip(self.pairs, self.audit.answers, strict=True)
            if answer.same is not None
        }

    def open(self, known: Known, count: int) -> list[Question]:
        """Give the open pairs, most informative first: stratum by stratum where the variance falls most.

        One more answer in a stratum of which n are known lowers the variance by worth² / (n (n + 1)), worth as
        `pair_audit.importance` gives it; strata without any answer come first.
        """
        asked = self.tally(known).asked.astype(float)
        worth = self._importance(self.tally(known))
        waiting = [
            [place for place in np.flatnonzero(self.stratum == h).tolist() if self.pairs[place] not in known]
            for h in range(len(asked))
        ]
        found: list[Question] = []
        while len(found) < count and any(waiting):
            gain = worth**2 / np.maximum(asked * (asked + 1), 1e-3)
            order = sorted((h for h in range(len(asked)) if waiting[h]), key=lambda h: (asked[h] > 0, -gain[h], h))
            found.append(self.questions[waiting[order[0]].pop(0)])
            asked[order[0]] += 1
        return found

    def _importance(self, tally: Tally) -> Float[np.ndarray, " h"]:
        """Say what answers in each stratum are worth, given those there are."""
        key = tally.asked.tobytes() + tally.yes.tobytes()
        with self._lock:
            if key not in self._worth:
                seed = np.random.default_rng(self.audit.plan.seed)
                some = tally.asked.any()
                p = chances(tally.asked, tally.yes, DRAWS, seed) if some else first_guess(tally.sizes, tally.above)
                self._worth = {key: importance(tally, p)}
            return self._worth[key]

    def tally(self, known: Known) -> Tally:
        """Count the answers in each stratum; what was skipped is not answered."""
        plan, strata = self.audit.plan, len(self.audit.plan.sizes)
        said = [known.get(pair) for pair in self.pairs]
        asked = np.bincount(self.stratum[[same is not None for same in said]], minlength=strata)
        yes = np.bincount(self.stratum[[same is True for same in said]], minlength=strata)
        return Tally(np.array(plan.sizes), asked, yes, plan.above, plan.near)

    def estimate(self, known: Known) -> Estimate | None:
        """Estimate precision and recall at the audit's threshold; None where nothing is answered."""
        tally = self.tally(known)
        return estimate(tally, seed=self.audit.plan.seed) if tally.asked.any() else None

    def rows(self, known: Known) -> list[PairAnswer]:
        """Give the answered pairs as `resight audit` and `resight calibrate` read them, named as the audit does.

        A pair weighs as many as its stratum holds for each one answered there: which are answered depends on the
        stratum alone.
        """
        tally = self.tally(known)
        weight = tally.sizes / np.maximum(tally.asked, 1)
        return [
            PairAnswer(answer.left, answer.right, known[pair], float(weight[h]), answer.score)
            for answer, pair, h in zip(self.audit.answers, self.pairs, self.stratum, strict=True)
            if known.get(pair) is not None
        ]


def answered(known: Mapping[Pair, bool | None]) -> int:
    """Count what was answered, not skipped."""
    return sum(same is not None for same in known.values())
