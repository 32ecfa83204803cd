"""Which pair is asked next, what answers say so far, and the file they are given as."""

from pathlib import Path

import numpy as np

from resight.audit_plan import AuditPlan
from resight.auditing import Audit, merged
from resight.pair_answers import PairAnswer, read_answers, write_answers
from resight.pair_audit import estimate
from resight.pair_sampling import BINS, first_predicted
from resight.review.exporting import answers_csv
from resight.review.measuring import Measuring, answered
from resight.review.questions import MEASURE, Queue, named, pair_of, whole_name
from resight.review.store import Decision, ReviewStore
from resight.types import Crop

THRESHOLD = 0.5
MODEL = "m"


def make_audit(folder: Path, same: tuple[bool | None, ...] = (None,) * 12) -> Audit:
    """12 pairs in two strata: 6 of 60 that score 0.6, and 6 of 6,000 that score 0.4."""
    folder.mkdir(exist_ok=True)
    lowest = (first_predicted(THRESHOLD), 0)
    plan = AuditPlan(MODEL, str(folder), "folder", "train", 111, False, THRESHOLD, "given", 1, lowest, 1, 2, (60, 6000))
    scores = [0.6] * 6 + [0.4] * 6
    answers = tuple(
        PairAnswer(f"{n:02}.jpg", f"x/{n:02}.jpg", said, (10.0, 1000.0)[n // 6], score)
        for n, (said, score) in enumerate(zip(same, scores, strict=True))
    )
    write_answers(folder / "pairs.csv", answers)
    assert lowest[0] < BINS
    return Audit(folder, plan, answers)


def test_names_lead_back_to_their_pictures(tmp_path: Path):
    for picture in (tmp_path / "a b.jpg", Crop(tmp_path / "a [1].jpg", (3, -2, 10, 20))):
        assert named(whole_name(picture)) == picture
    assert pair_of(tmp_path / "b", tmp_path / "a") == (str(tmp_path / "a"), str(tmp_path / "b"))


def test_each_stratum_is_asked_once_first_and_then_where_the_variance_falls_most(tmp_path: Path):
    measuring = Measuring(make_audit(tmp_path))
    order = measuring.open({}, 12)
    assert len({question.pair for question in order}) == 12
    strata = [0 if question.score == 0.6 else 1 for question in order]
    assert set(strata[:2]) == {0, 1}
    # The oracle: after n_h answers the next stratum is that with the largest worth² / (n (n + 1)).
    worth = measuring._importance(measuring.tally({}))
    asked = np.ones(2)
    for h in strata[2:7]:
        assert h == int(np.argmax(worth**2 / (asked * (asked + 1))))
        asked[h] += 1
    within = [question.pair for question in order if question.score == 0.6]
    assert within == measuring.pairs[:6]  # in the order of the draw, which is by chance


def test_what_was_answered_or_skipped_is_not_asked_again(tmp_path: Path):
    measuring = Measuring(make_audit(tmp_path / "audit", (True, *(None,) * 11)))
    with ReviewStore(tmp_path / "r.sqlite") as store:
        queue = Queue(measuring, store, MODEL)
        seen = [measuring.pairs[0]]
        for said in (True, False, None) * 4:
            questions = queue.next()
            if not questions:
                break
            seen.append(questions[0].pair)
            queue.answer(questions[0], said)
        assert sorted(seen) == sorted(measuring.pairs)
        assert queue.next() == []
        undone = queue.undo()
        assert undone is not None and [q.pair for q in queue.next()] == [undone.pair]


def test_the_estimate_is_the_audits_own(tmp_path: Path):
    said = (True, True, True, False, None, None, False, False, None, None, None, None)
    by_file = Measuring(make_audit(tmp_path, said))
    by_hand = Measuring(make_audit(tmp_path / "other"))
    known = dict(zip(by_hand.pairs, said, strict=True))
    assert by_file.estimate(by_file.known()) == by_hand.estimate(known)
    tally = by_hand.tally(known)
    assert (tally.asked.tolist(), tally.yes.tolist(), tally.sizes.tolist()) == ([4, 2], [3, 0], [60, 6000])
    assert by_hand.estimate(known) == estimate(tally, seed=1)
    assert by_hand.estimate({}) is None and answered(known) == 6


def test_pairs_that_were_picked_for_their_doubt_do_not_move_the_estimate(tmp_path: Path):
    measuring = Measuring(make_audit(tmp_path / "audit"))
    with ReviewStore(tmp_path / "r.sqlite") as store:
        queue = Queue(measuring, store, MODEL)
        store.record(Decision(measuring.pairs[0], True, "doubts"))
        assert answered(queue.known()) == 0


def test_the_file_of_drawn_pairs_is_read_by_the_audit_and_weighs_by_what_was_answered(tmp_path: Path):
    audit = make_audit(tmp_path / "audit")
    measuring = Measuring(audit)
    with ReviewStore(tmp_path / "r.sqlite") as store:
        for pair, same in zip(measuring.pairs[:8], (True, True, False, None, True, False, False, False), strict=True):
            store.record(Decision(pair, same, MEASURE, 0.6, MODEL))
        store.record(Decision((str(tmp_path / "a"), str(tmp_path / "b")), True, "doubts", 0.9, MODEL))
        drawn = answers_csv(store, measuring, tmp_path / "audit", MODEL, drawn_only=True)
        whole = answers_csv(store, measuring, tmp_path / "audit", MODEL, drawn_only=False)
    file = tmp_path / "answers.csv"
    file.write_text(drawn)
    rows = read_answers(file)
    assert [row.same for row in rows] == [True, True, False, True, False, False, False]
    assert [row.weight for row in rows] == [12.0] * 5 + [3000.0] * 2  # 60 / 5 and 6,000 / 2
    said = []
    assert merged(audit, rows, file, said.append).tally().asked.tolist() == [5, 2] and said == []
    file.write_text(whole)
    rows = read_answers(file)
    assert len(rows) == 8 and rows[-1] == PairAnswer(str(tmp_path / "a"), str(tmp_path / "b"), True, 1.0, 0.9)


def test_a_pair_answered_for_both_purposes_stands_in_the_file_once_and_without_another_models_score(tmp_path: Path):
    measuring = Measuring(make_audit(tmp_path))
    with ReviewStore(tmp_path / "r.sqlite") as store:
        store.record(Decision(measuring.pairs[0], True, MEASURE, 0.6, MODEL))
        store.record(Decision(measuring.pairs[0], False, "doubts", 0.6, MODEL))
        store.record(Decision(("/a", "/b"), True, "doubts", 0.9, "another"))
        text = answers_csv(store, measuring, tmp_path, MODEL, drawn_only=False)
    assert text.splitlines()[1:] == ["00.jpg,x/00.jpg,no,60.0,0.6", "/a,/b,yes,1.0,"]
