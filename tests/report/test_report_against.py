"""Two runs side by side: settings, scores, and the queries that changed."""

import json
from pathlib import Path

import pytest

from report.report_cases import scored, unit
from resight.errors import DataError
from resight.report.against import SETTINGS_SHOWN, beside, changed, different_settings, run_names
from resight.report.history import History, read_history
from resight.report.strips import hardest_strips


def history(folder: Path, name: str, recipe: dict, *, score: float | None = None) -> History:
    run = folder / name
    run.mkdir()
    events = [{"event": "start", "recipe": recipe, "seed": 1, "data": {"root": "x", "train": 4}}]
    if score is not None:
        events.append(
            {"event": "evaluation", "epoch": 2, "mAP": score, "mINP": score / 2, "cmc": {"1": score, "5": 1.0}}
        )
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return read_history(run)


def test_only_settings_that_differ_are_listed_and_what_one_lacks_is_a_dash(tmp_path):
    one = history(tmp_path, "one", {"name": "a", "train": {"epochs": 5, "seed": 1}})
    other = history(tmp_path, "other", {"name": "a", "train": {"epochs": 9}, "loss": {"name": "x = y"}})
    assert list(different_settings(one, other)) == [
        ("train.epochs", "5", "9"), ("train.seed", "1", "–"), ("loss.name", "–", '"x = y"'),
    ]  # fmt: skip


def test_many_differences_are_cut_and_counted(tmp_path):
    many = history(tmp_path, "many", {"train": {f"setting{number}": number for number in range(SETTINGS_SHOWN + 7)}})
    found = beside((tmp_path / "many", tmp_path / "few"), (many, history(tmp_path, "few", {})), None, queries=3)
    assert (len(found.settings), found.more_settings) == (SETTINGS_SHOWN, 7)
    assert (found.scores, found.measured, found.changed) == ((), "", ())


def test_without_models_the_logged_scores_stand_side_by_side(tmp_path):
    histories = history(tmp_path, "a", {}, score=0.5), history(tmp_path, "b", {}, score=0.25)
    found = beside((tmp_path / "a", tmp_path / "b"), histories, None, queries=3)
    assert found.scores == (
        ("mAP", "50.0 %", "25.0 %", "+25.0"), ("mINP", "25.0 %", "12.5 %", "+12.5"),
        ("CMC@1", "50.0 %", "25.0 %", "+25.0"), ("CMC@5", "100.0 %", "100.0 %", "+0.0"),
    )  # fmt: skip
    assert "each on its own data" in found.measured


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("a/one", "a/two"), ("one", "two")),
        (("a/one", "b/one"), ("a/one", "b/one")),
        (("a/one", "a/one"), None),
    ],
)
def test_runs_are_named_so_that_they_are_told_apart(tmp_path, paths, names):
    found = run_names((tmp_path / paths[0], tmp_path / paths[1]))
    assert found == names if names else found[0] != found[1]


QUERY = [(1, 0), (2, 0), (3, 0)]
GALLERY = [(1, 1), (2, 1), (3, 1)]


def test_the_queries_that_changed_most_come_first_and_those_alike_are_left_away(tmp_path):
    rows = unit(0, 50, 100)
    one = scored(QUERY, GALLERY, (unit(0, 50, 100), rows))
    # Query 1 now stands nearest to the third and farthest from its own: AP ⅓; query 2 nearest to the first: AP ½.
    other = scored(QUERY, GALLERY, (unit(120, 20, 100), rows))
    found = changed((one, other), ("new", "old"), 5)
    assert [change.caption for change in found] == [
        "AP 100.0 % by new, 33.3 % by old: +66.7 points",
        "AP 100.0 % by new, 50.0 % by old: +50.0 points",
    ]
    new, old = found[0].strips
    assert [item.picture.name for item in new.items] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [(item.picture.name, item.verdict) for item in old.items] == [
        ("2.jpg", "wrong"), ("1.jpg", "wrong"), ("0.jpg", "right"),
    ]  # fmt: skip
    assert changed((one, one), ("a", "b"), 5) == ()
    runs = tmp_path / "new", tmp_path / "old"
    both = beside(runs, (history(tmp_path, "new", {}), history(tmp_path, "old", {})), (one, other), queries=1)
    assert both.scores[0] == ("mAP", "100.0 %", "61.1 %", "+38.9")
    assert "the same 3 queries and 3 gallery images" in both.measured
    assert len(both.changed) == 1


def test_other_images_are_refused():
    one = scored(QUERY, GALLERY, (unit(0, 50, 100), unit(0, 50, 100)))
    other = scored(QUERY[:2], GALLERY, (unit(0, 50), unit(0, 50, 100)))
    with pytest.raises(
        DataError, match="must be shown the same images, got 3 and 2 query images that are not the same"
    ):
        changed((one, other), ("a", "b"), 5)


def test_the_hardest_queries_come_worst_first_with_the_right_answers_further_down():
    # Query 1 finds its own first; query 2 has its two right answers at ranks 5 and 6 of 6.
    gallery = [(1, 1), (3, 1), (3, 1), (3, 1), (2, 1), (2, 1)]
    test = scored([(1, 0), (2, 0)], gallery, (unit(0, 0), unit(0, 10, 20, 30, 40, 50)))
    worst, best = hardest_strips(test, 9, depth=2)
    assert worst.query == Path("query/1.jpg")
    assert [(item.verdict, item.rank) for item in worst.items] == [
        ("wrong", 1),
        ("wrong", 2),
        ("right", 5),
        ("right", 6),
    ]
    assert worst.caption == "AP 26.7 %, first right answer at rank 5"  # (1/5 + 2/6) / 2
    assert [(item.verdict, item.rank) for item in best.items] == [("right", 1), ("wrong", 2)]
    assert hardest_strips(test, 1) == [hardest_strips(test, 9)[0]]
