""" "No match" is an answer that does not depend on how many hits are asked for."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from calibration_cases import calibration, curve
from gallery_cases import entries, make, unit_rows
from resight.gallery import Entry, Gallery, Hit, Where
from resight.gallery.queries import Queries
from resight.gallery.results import headline, rows
from resight.gallery.searching import Answer, Judge, sampled, search
from resight.matching import Thresholds, calibrated, same_camera

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

COUNT = 120


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory):
    with make(tmp_path_factory.mktemp("galleries") / "g", COUNT) as made:
        yield made


def asked(vectors: torch.Tensor, camids: list[int | None], ids=None, sources=()) -> Queries:
    nothing = (None,) * len(vectors)
    names = tuple(f"q{at}" for at in range(len(vectors)))
    return Queries(names, vectors, nothing, tuple(ids or nothing), tuple(camids), sources=tuple(sources))


def test_thresholds_by_camera_judge_pairs_by_their_cameras():
    known = calibration(across=curve(threshold=0.3, intercept=-8.0), within=curve(threshold=0.8, intercept=-10.0))
    judge = Judge(known, calibrated(known))
    hits = [Hit(Entry(str(n), Path("/x"), camid=camid, source="a"), 0.6) for n, camid in enumerate((1, 2, None))]
    assert [hit.same for hit in judge.judge(1, hits)] == [False, True, True]
    assert [hit.same for hit in judge.judge(None, hits)] == [True, True, True]  # unknown is not one camera with unknown
    assert [hit.same for hit in judge.judge(1, hits, "a")] == [False, True, True]
    assert [hit.same for hit in judge.judge(1, hits, "b")] == [True, True, True]  # camera 1 of another source
    within, across, _ = (hit.probability for hit in judge.judge(1, hits))
    assert within < across
    assert [hit.same for hit in Judge(known, Thresholds(0.7, 0.7)).judge(1, hits)] == [False] * 3
    assert judge.judge(1, []) == [] and not Judge().decides and Judge().judge(1, hits)[0].same is None


def test_a_match_behind_the_first_hits_is_found(tmp_path: Path):
    # The query's own camera gives 0.9, 0.8 and 0.7, below its threshold; another camera's 0.5 is above that one's.
    scores = torch.tensor([0.9, 0.8, 0.7, 0.5, 0.2])
    vectors = torch.zeros(5, 16)
    vectors[:, 0], vectors[:, 1] = scores, (1 - scores**2).sqrt()
    seen = [Entry(f"e{n}", Path(f"/{n}.jpg"), camid=camid) for n, camid in enumerate((1, 1, 1, 2, 2))]
    judge = Judge(None, Thresholds(0.4, 0.95))
    query = asked(torch.eye(16)[:1], [1])
    with make(tmp_path / "g") as made:
        made.add(seen, vectors)
        for top in range(1, 6):
            (answer,) = search(made, query, judge, top=top)
            assert answer.match is True and len(answer.hits) == top
            assert (answer.beyond and answer.beyond.entry.id) == ("e3" if top < 4 else None)
        (first,) = search(made, query, judge, top=1)
        assert headline(first) == "a match, but none among the first 1: the best one scores 0.500"
        assert [(row["rank"], row["id"]) for row in rows([first])] == [(1, "e0"), (None, "e3")]
        (none,) = search(made, query, judge, top=2, where=Where(camids=(1,)))
        assert none.match is False and "no match (the best of all scores 0.900" in headline(none)
        stricter = Judge(None, Thresholds(0.6, 0.95))
        assert not any(search(made, query, stricter, top=top)[0].match for top in range(1, 6))


@pytest.mark.parametrize("others", [False, True])
def test_whether_there_is_a_match_does_not_depend_on_top(gallery: Gallery, others: bool):
    # Each query is like an entry of its own camera; of some that is its own picture, of some the camera is another's.
    like = entries(20)
    vectors = torch.nn.functional.normalize(unit_rows(COUNT)[:20] + 0.9 * unit_rows(20, seed=5), dim=1)
    sources = [("elsewhere", entry.source, None)[at % 3] for at, entry in enumerate(like)]
    ids = [entry.id for entry in entries(20, 5)] if others else None
    queries = asked(vectors, [entry.camid for entry in like], ids, sources)
    late = 0
    for where, thresholds in (
        (Where(), Thresholds(0.45, 0.9)),
        (Where(types=("person",)), Thresholds(0.4, 0.6)),
        (Where(camids=(1, 2)), Thresholds(0.9, 0.45)),
        (Where(sources=('yard, "north"',)), Thresholds(0.55, 0.55)),
    ):
        judge = Judge(None, thresholds)
        everything = search(gallery, queries, judge, top=COUNT, where=where, others=others)
        best = [next((hit for hit in answer.hits if hit.same), None) for answer in everything]
        assert not any(answer.beyond for answer in everything)
        for top in (1, 3):
            answers = search(gallery, queries, judge, top=top, where=where, others=others)
            assert [answer.match for answer in answers] == [hit is not None for hit in best]
            for answer, hit in zip(answers, best, strict=True):
                late += answer.beyond is not None
                assert answer.beyond is None or (hit is not None and answer.beyond.entry.id == hit.entry.id)
    assert late > 3  # else little was tested


def test_what_is_not_seen_in_a_camera(gallery: Gallery):
    every = entries(COUNT)
    for camid, source in ((1, None), (2, 'yard, "north"'), (7, None)):
        for where in (Where(), Where(types=("person",))):
            expected = [
                e.id for e in every if not (e.camid == camid and (source is None or e.source == source))
                and (where.types is None or e.type in where.types)
            ]  # fmt: skip
            assert gallery.ids(replace(where, not_seen=(camid, source))) == expected
    assert Where(not_seen=(0, None)) and not Where()


def test_a_sample_is_spread_over_all(gallery: Gallery):
    for most in (1, 7, 100, COUNT, 1000):
        some, vectors = gallery.sample(most)
        assert 0 < len(some) <= most and vectors.equal(gallery.vectors([entry.id for entry in some]))
    assert len(gallery.sample(1000)[0]) == COUNT and len(gallery.sample(100)[0]) == 60


def test_nothing_found_is_no_match():
    assert Answer("q", None, ()).match is False


def test_a_rate_is_told_from_cameras_of_their_sources(tmp_path: Path):
    places = ((1, "gate"), (1, "yard"), (1, "gate"), (None, "yard"), (2, None))
    seen = [Entry(f"e{n}", Path(f"/{n}.jpg"), camid=c, source=source) for n, (c, source) in enumerate(places)]
    with make(tmp_path / "g") as made:
        made.add(seen, unit_rows(5))
        rows, camids = sampled(made)()
    assert rows.equal(unit_rows(5))
    one = same_camera(camids[:, None], camids)
    assert one.nonzero().tolist() == [[0, 0], [0, 2], [1, 1], [2, 0], [2, 2], [4, 4]]
