"""The retrieval protocol: worked by hand, against plain loops, and its bad inputs."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from oracles.retrieval import slow_metrics, slow_protocol
from resight import evaluate as evaluate_module
from resight.errors import DataError
from resight.evaluate import check_answerable, evaluate, rank_gallery
from resight.protocols import EvaluationProtocol
from resight.retrieval_result import RetrievalResult
from resight.types import Sample, Split

# Directions whose dot products are exact in float32, so that ties are ties at any block size.
EXACT = torch.cat([torch.eye(4), -torch.eye(4), torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 4)])


def split(name: str, *facts: tuple[int | None, int | None]) -> Split:
    """Make a split of (pid, camid)."""
    return Split(name, tuple(Sample(Path(f"{name}/{i}.jpg"), pid, camid) for i, (pid, camid) in enumerate(facts)))


def at_angles(*degrees: float) -> Tensor:
    """Unit vectors of the plane; against the query at 0° a smaller angle is closer."""
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def random_split(
    name: str, length: int, draw: torch.Generator, *, cameras: int, shared: int = 0, more: bool = False
) -> Split:
    """Draw pids -1..5 and cameras, some not known; the first `shared` files are the same in every split.

    `more`: draw tracklets, times and boxes too, some of each not known.
    """

    def drawn(high: int) -> list[int | None]:
        return [None if value < 0 else value for value in torch.randint(-1, high, (length,), generator=draw).tolist()]

    pids = torch.randint(-1, 6, (length,), generator=draw).tolist()
    camids = drawn(cameras)
    tracklets, times, boxes = (drawn(2), drawn(30), drawn(2)) if more else [[None] * length] * 3
    return Split(
        name,
        tuple(
            Sample(
                Path(f"{'both' if i < shared else name}/{i}.jpg"),
                pids[i],
                camids[i],
                times[i],
                None if tracklets[i] is None else 2 * (pids[i] + 1) + tracklets[i],  # of one identity
                None if boxes[i] is None else (0, 0, 5, boxes[i]),
            )
            for i in range(length)
        ),
    )


def random_case(seed: int) -> tuple[Tensor, Tensor, Split, Split]:
    draw = torch.Generator().manual_seed(seed)
    queries, gallery = (int(torch.randint(1, high, (), generator=draw)) for high in (8, 30))
    cameras = seed % 4
    query_embeddings = EXACT[torch.randint(0, len(EXACT), (queries,), generator=draw)]
    gallery_embeddings = EXACT[torch.randint(0, len(EXACT), (gallery,), generator=draw)]
    return (
        query_embeddings,
        gallery_embeddings,
        random_split("query", queries, draw, cameras=cameras, shared=seed % 3),
        random_split("gallery", gallery, draw, cameras=cameras, shared=seed % 3),
    )


def random_labelled(seed: int) -> tuple[Tensor, Tensor, Split, Split]:
    """Draw a case without ties in which most queries have right answers."""
    draw = torch.Generator().manual_seed(seed)
    query = random_split("query", 9, draw, cameras=3)
    gallery = random_split("gallery", 41, draw, cameras=3)
    return torch.randn(9, 16, generator=draw), torch.randn(41, 16, generator=draw), query, gallery


def test_a_small_gallery_worked_by_hand():
    query = split("query", (1, 0), (2, 0), (3, 0))
    gallery = split("gallery", (1, 0), (0, 1), (1, 1), (-1, 1), (2, 1), (1, 2))
    query_embeddings = at_angles(0, 0, 0)
    gallery_embeddings = at_angles(5, 10, 20, 30, 40, 50)
    result = evaluate(query_embeddings, gallery_embeddings, query, gallery)
    # Query 0 (pid 1, camera 0): gallery 0 is its own camera, gallery 3 is junk: both left out. Left in order: the
    # distractor (pid 0), right, wrong (pid 2), right: right answers at ranks 2 and 4. AP = (1/2 + 2/4) / 2 = 1/2.
    # Query 1 (pid 2): junk left out; order 0, 1, 2, 4, 5: right at rank 4. AP = 1/4.
    # Query 2 (pid 3): no right answer: left out.
    assert result.ap.tolist() == pytest.approx([1 / 2, 1 / 4, math.nan], nan_ok=True)
    assert result.mAP == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert result.mINP == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert result.cmc == {1: 0.0, 5: 1.0, 10: 1.0, 20: 1.0}
    assert result.first_rank.tolist() == [2, 4, 0]
    assert (result.queries, result.left_out) == (2, 1)


@pytest.mark.parametrize(("query_camid", "gallery_camid"), [(None, 0), (0, None), (None, None)])
def test_without_a_camera_only_the_query_image_is_left_out(query_camid, gallery_camid, tmp_path):
    query = Split("query", (Sample(tmp_path / "a.jpg", 1, query_camid),))
    same_file = tmp_path / "folder" / ".." / "a.jpg"
    gallery = Split("gallery", (Sample(same_file, 1, gallery_camid), Sample(tmp_path / "b.jpg", 1, gallery_camid)))
    result = evaluate(at_angles(0), at_angles(0, 10), query, gallery)
    assert result.first_rank.tolist() == [1]
    ranked = rank_gallery(at_angles(0), at_angles(0, 10), query, gallery, top_k=2)
    assert ranked.left_out.tolist() == [[True, False]]


def test_two_hundred_and_fifty_cases_equal_plain_loops():
    refused = 0
    for seed in range(250):
        query_embeddings, gallery_embeddings, query, gallery = case = random_case(seed)
        scores = query_embeddings @ gallery_embeddings.T
        right, left_out = slow_protocol(query, gallery)
        slow = [slow_metrics(*row) for row in zip(scores.tolist(), right, left_out, strict=True)]
        counted = [row for row in slow if row.ranks]
        if not counted:
            refused += 1
            with pytest.raises(DataError, match="no query has a right answer"):
                evaluate(*case)
            continue
        result = evaluate(*case)
        assert result.ap.tolist() == pytest.approx([row.ap for row in slow], nan_ok=True), f"seed {seed}"
        assert result.mAP == pytest.approx(sum(row.ap for row in counted) / len(counted))
        assert result.mINP == pytest.approx(sum(row.inp for row in counted) / len(counted))
        for k in (1, 5, 10, 20):
            assert result.cmc[k] == pytest.approx(sum(row.ranks[0] <= k for row in counted) / len(counted))
        assert (result.queries, result.left_out) == (len(counted), len(slow) - len(counted))
    assert 0 < refused < 100


PROTOCOLS = (
    EvaluationProtocol("own", cameras="own"),
    EvaluationProtocol("all", cameras="all"),
    EvaluationProtocol("none", cameras="none"),
    EvaluationProtocol("apart", cameras="none", seconds=6),
    EvaluationProtocol("both", cameras="own", seconds=11),
)


def case_of_everything(seed: int) -> tuple[Tensor, Tensor, Split, Split]:
    draw = torch.Generator().manual_seed(seed)
    queries, gallery = (int(torch.randint(1, high, (), generator=draw)) for high in (8, 40))
    splits = [
        random_split(name, length, draw, cameras=seed % 4, shared=seed % 5, more=True)
        for name, length in (("query", queries), ("gallery", gallery))
    ]
    rows = [EXACT[torch.randint(0, len(EXACT), (length,), generator=draw)] for length in (queries, gallery)]
    return rows[0], rows[1], splits[0], splits[1]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_every_protocol_equals_plain_loops(protocol):
    """Two hundred cases each, with junk, ties, tracklets, times, boxes and images of both splits."""
    compared = 0
    for seed in range(200):
        q, g, query, gallery = case_of_everything(seed)
        right, left_out = slow_protocol(query, gallery, protocol)
        slow = [slow_metrics(*row) for row in zip((q @ g.T).tolist(), right, left_out, strict=True)]
        counted = [row for row in slow if row.ranks]
        if not counted:
            with pytest.raises(DataError, match="no query has a right answer"):
                check_answerable(query, gallery, protocol)
            continue
        check_answerable(query, gallery, protocol)
        result = evaluate(q, g, query, gallery, protocol=protocol)
        assert result.ap.tolist() == pytest.approx([row.ap for row in slow], nan_ok=True), f"seed {seed}"
        assert result.mAP_trapezoid == pytest.approx(sum(row.trapezoid_ap for row in counted) / len(counted))
        assert result.first_rank.tolist() == [(row.ranks or [0])[0] for row in slow]
        assert result.protocol == protocol.name
        compared += 1
    assert compared > 90


def test_the_check_before_embedding_refuses_what_evaluate_refuses():
    refused = 0
    for seed in range(0, 240, 3):  # every third case shares no file between query and gallery
        case = random_case(seed)
        right, _ = slow_protocol(*case[2:])
        if any(map(any, right)):
            check_answerable(*case[2:])
            continue
        refused += 1
        for refuse in (lambda case=case: evaluate(*case), lambda case=case: check_answerable(*case[2:])):
            with pytest.raises(DataError, match="no query has a right answer in the gallery"):
                refuse()
    assert 0 < refused < 40


@pytest.mark.parametrize("block_size", [1, 3])
def test_block_size_changes_nothing(block_size):
    compared = 0
    for seed in range(60):
        case = random_case(seed)
        try:
            whole = evaluate(*case)
        except DataError:
            continue
        parts = evaluate(*case, block_size=block_size)
        assert parts == whole
        assert torch.equal(parts.ap.nan_to_num(-1), whole.ap.nan_to_num(-1))
        assert torch.equal(parts.first_rank, whole.first_rank)
        compared += 1
    assert compared > 30


def test_no_block_holds_more_than_its_share(monkeypatch):
    seen = []
    measure = evaluate_module.right_ranks
    monkeypatch.setattr(evaluate_module, "right_ranks", lambda s, r, c: seen.append(s.numel()) or measure(s, r, c))
    case = random_labelled(0)
    whole = evaluate(*case)
    monkeypatch.setattr(evaluate_module, "BLOCK_ELEMENTS", 100)
    assert evaluate(*case).mAP == pytest.approx(whole.mAP)
    assert seen == [9 * 41] + [2 * 41] * 4 + [41]


def test_renumbering_the_gallery_changes_nothing():
    query_embeddings, gallery_embeddings, query, gallery = random_labelled(1)
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(2))
    renumbered = Split("gallery", tuple(gallery.samples[i] for i in order))
    before = evaluate(query_embeddings, gallery_embeddings, query, gallery)
    assert evaluate(query_embeddings, gallery_embeddings[order], query, renumbered) == before


def test_the_length_of_embeddings_changes_nothing():
    query_embeddings, gallery_embeddings, query, gallery = random_labelled(3)
    before = evaluate(query_embeddings, gallery_embeddings, query, gallery)
    assert evaluate(query_embeddings * 7.3, gallery_embeddings * 0.02, query, gallery) == before
    each = torch.linspace(0.1, 9, len(gallery))[:, None]
    assert evaluate(query_embeddings, gallery_embeddings * each, query, gallery) == before


def test_half_precision_embeddings_are_scored_in_float32():
    query_embeddings, gallery_embeddings, query, gallery = random_labelled(4)
    half = (query_embeddings.bfloat16(), gallery_embeddings.bfloat16())
    assert evaluate(*half, query, gallery) == evaluate(half[0].float(), half[1].float(), query, gallery)


def test_ranked_gallery_keeps_and_marks_the_rows_left_out():
    query = split("query", (1, 0))
    gallery = split("gallery", (1, 1), (1, 0), (2, 1), (-1, 0), (1, 2))
    ranked = rank_gallery(at_angles(0), at_angles(40, 10, 20, 30, 40), query, gallery, top_k=4)
    # By angle: 1 (own camera), 2 (wrong), 3 (junk), then 0 and 4 at one score, in gallery order; four are asked for.
    assert ranked.index.tolist() == [[1, 2, 3, 0]]
    assert ranked.left_out.tolist() == [[True, False, True, False]]
    assert ranked.right.tolist() == [[False, False, False, True]]
    assert ranked.rank.tolist() == [[0, 1, 0, 2]]
    assert ranked.score[0].tolist() == pytest.approx([math.cos(math.radians(a)) for a in (10, 20, 30, 40)], abs=1e-6)


def test_ranked_gallery_agrees_with_evaluate():
    for seed in range(30):
        case = random_case(seed)
        try:
            result = evaluate(*case)
        except DataError:
            continue
        ranked = rank_gallery(*case, top_k=len(case[3]))
        first = torch.where(ranked.right, ranked.rank, 10**6).amin(dim=1)
        assert first.where(first < 10**6, 0).tolist() == result.first_rank.tolist()


def test_result_as_json_and_on_the_screen():
    result = RetrievalResult(
        mAP=0.25, mAP_trapezoid=0.2, mINP=0.125, cmc={1: 0.5, 5: 0.75, 10: 1.0, 20: 1.0}, queries=4, left_out=1,
        ap=torch.zeros(5), first_rank=torch.ones(5, dtype=torch.int64),
    )  # fmt: skip
    assert result.to_json() == {
        "mAP": 0.25, "mAP_trapezoid": 0.2, "mINP": 0.125, "cmc": {"1": 0.5, "5": 0.75, "10": 1.0, "20": 1.0},
        "queries": 4, "left_out": 1, "protocol": "general",
    }  # fmt: skip
    assert result.lines()[0] == "mAP       25.00 %"
    assert "CMC@1     50.00 %" in str(result)
    assert str(result).endswith("4 queries, 1 left out (no right answer)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mAP": 1.5}, "mAP must be a fraction between 0 and 1, got 1.5"),
        ({"mINP": math.nan}, "mINP must be a fraction"),
        ({"cmc": {1: 0.5, 5: 0.25}}, "CMC must not fall"),
        ({"queries": 3}, "3 queries and 1 left out must make 5"),
    ],
)
def test_a_result_that_cannot_be_is_refused(change, words):
    good = {"mAP": 0.5, "mINP": 0.5, "cmc": {1: 0.5}, "queries": 4, "left_out": 1}
    tensors = {"ap": torch.zeros(5), "first_rank": torch.ones(5, dtype=torch.int64)}
    with pytest.raises(DataError, match=words):
        RetrievalResult(**{**good, **change}, **tensors)


@pytest.mark.parametrize(
    ("query", "gallery", "words"),
    [
        (
            split("query", (1, 0)),
            split("gallery", (1, 1)),
            "gallery must have one embedding .* got 2 for 1;",
        ),
        (split("query"), split("gallery", (1, 1), (2, 1)), "query must have one embedding .* got 1 for 0;"),
        (split("query", (None, 0)), split("gallery", (1, 1), (2, 1)), "every image of query must have an identity"),
        (split("query", (1, 0)), split("gallery", (1, 1), (None, 1)), "every image of gallery must have an identity"),
        (split("query", (1, 0)), split("gallery", (1, 0), (2, 1)), "share identities seen by different cameras"),
        (split("query", (7, 0)), split("gallery", (1, 1), (2, 1)), "no query has a right answer in the gallery"),
        (split("query", (-1, 0)), split("gallery", (-1, 1), (2, 1)), "none of the 1 query images"),
    ],
)
def test_bad_inputs(query, gallery, words):
    with pytest.raises(DataError, match=words):
        evaluate(at_angles(0), at_angles(10, 20), query, gallery)


def test_embeddings_that_are_not_finite_name_the_image():
    gallery_embeddings = torch.tensor([[1.0, 0.0], [math.nan, 0.0]])
    with pytest.raises(DataError, match=r"NaN or infinity for gallery image gallery.1\.jpg"):
        evaluate(at_angles(0), gallery_embeddings, split("query", (1, 0)), split("gallery", (1, 1), (1, 1)))


def test_no_images_at_all():
    with pytest.raises(DataError, match="every image of query must have an identity, got 0"):
        evaluate(torch.zeros(0, 2), at_angles(0), split("query"), split("gallery", (1, 1)))
