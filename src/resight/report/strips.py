"""Ranked strips: a query and the gallery images ranked for it, marked right, wrong or left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from resight.errors import DataError
from resight.evaluate import RankedGallery, rank_gallery
from resight.protocols import GENERAL, EvaluationProtocol
from resight.report.album import small_image, thumbnail
from resight.report.tested import Tested
from resight.retrieval_result import RetrievalResult
from resight.types import Picture, Split

__all__ = ["Strip", "StripItem", "hardest_strips", "ranked_strips", "small_image", "strips_at", "thumbnail"]

VERDICTS = ("right", "wrong", "left out")

LEFT_OUT_SHOWN = 4
"""Most rows left out that a strip shows; the caption counts the others above its last rank."""

MISSED_SHOWN = 3
"""Most right answers beyond the first ranks that the strip of a hard query shows."""


@dataclass(frozen=True)
class StripItem:
    """One gallery image of a strip. `score`: cosine, -1..1. `rank`: from 1, None where it is left out.

    Raises:
        DataError: the verdict is not one of `VERDICTS`.
    """

    picture: Picture
    score: float
    verdict: str
    rank: int | None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise DataError(f"verdict must be one of {', '.join(VERDICTS)}, got '{self.verdict}'")


@dataclass(frozen=True)
class Strip:
    """A query image, a caption, and gallery images in the order of their scores."""

    query: Picture
    caption: str
    items: tuple[StripItem, ...]


def ranked_strips(
    query_embeddings: Float[Tensor, "q d"],
    gallery_embeddings: Float[Tensor, "g d"],
    query: Split,
    gallery: Split,
    *,
    count: int = 12,
    depth: int = 10,
    protocol: EvaluationProtocol = GENERAL,
) -> list[Strip]:
    """Give strips of `count` queries: a third with the best AP, a third with the worst, the others drawn at random.

    Queries without a right answer are not shown. `depth`: ranked gallery images a strip; rows left out come on top.

    Raises:
        DataError: as `evaluate`.
    """
    return chosen_strips(
        Tested.of((query_embeddings, gallery_embeddings), query, gallery, protocol=protocol), count, depth=depth
    )


def chosen_strips(tested: Tested, count: int, *, depth: int = 10) -> list[Strip]:
    """Give strips as `ranked_strips` does, of a test that is scored already."""
    chosen = _choose(tested.result, count)
    return strips_at(tested, [(row, _caption(tested.result, row, why)) for row, why in chosen], depth=depth)


def hardest_strips(tested: Tested, count: int, *, depth: int = 10) -> list[Strip]:
    """Give strips of the `count` queries with the lowest AP, lowest first; of equals the first.

    Right answers that are not among the first `depth` stand behind them, the first `MISSED_SHOWN`, with their ranks.
    """
    ap = tested.result.ap.cpu()
    counted = (~ap.isnan()).nonzero().squeeze(1)
    rows = counted[ap[counted].argsort(stable=True)][:count].tolist()
    captions = [f"AP {100 * float(ap[row]):.1f} %{_first(tested.result, row)}" for row in rows]
    return strips_at(tested, list(zip(rows, captions, strict=True)), depth=depth, missed=MISSED_SHOWN)


def strips_at(tested: Tested, chosen: Sequence[tuple[int, str]], *, depth: int = 10, missed: int = 0) -> list[Strip]:
    """Give the strips of the queries at the chosen rows, with their captions.

    `missed`: how many right answers that rank below `depth` to show after it.
    """
    if not chosen:
        return []
    rows = torch.tensor([row for row, _ in chosen], device=tested.query_embeddings.device)
    samples = [tested.query.samples[row] for row, _ in chosen]
    ranked = rank_gallery(
        tested.query_embeddings[rows],
        tested.gallery_embeddings,
        Split(tested.query.name, tuple(samples)),
        tested.gallery,
        top_k=len(tested.gallery),
        protocol=tested.protocol,
    )
    strips = []
    for place, (sample, (_, caption)) in enumerate(zip(samples, chosen, strict=True)):
        items, passed_over = _items(ranked, place, tested.gallery, depth)
        more = f"; {passed_over} more left out above the last rank" if passed_over else ""
        below = _missed(ranked, place, tested.gallery, depth, missed)
        strips.append(Strip(sample.picture, caption + more, tuple(items + below)))
    return strips


def _choose(result: RetrievalResult, count: int) -> list[tuple[int, str]]:
    """Choose queries and say why each was chosen; equal AP are drawn among at random."""
    draw = torch.Generator().manual_seed(0)
    ap = result.ap.cpu()
    order = torch.randperm(len(ap), generator=draw)
    order = order[~ap[order].isnan()]
    order = order[ap[order].argsort(descending=True, stable=True)]
    count = max(0, min(count, len(order)))
    third = count // 3
    best, others, worst = order[:third], order[third : len(order) - third], order[len(order) - third :]
    drawn = others[torch.randperm(len(others), generator=draw)[: count - 2 * third]]
    groups = ((best, "one of the best"), (worst.flip(0), "one of the worst"), (drawn, "drawn at random"))
    return [(int(row), why) for rows, why in groups for row in rows]


def _caption(result: RetrievalResult, row: int, why: str) -> str:
    return f"{why}: AP {100 * float(result.ap[row]):.1f} %{_first(result, row)}"


def _first(result: RetrievalResult, row: int) -> str:
    """Say where the first right answer stands; in a drawn gallery the query may have had none."""
    rank = int(result.first_rank[row])
    return f", first right answer at rank {rank}" if rank else ""


def _items(ranked: RankedGallery, place: int, gallery: Split, depth: int) -> tuple[list[StripItem], int]:
    """Walk down one query's ranking until `depth` ranked images are shown; and count who is passed over."""
    items: list[StripItem] = []
    passed_over = shown = 0
    index, score = ranked.index[place].tolist(), ranked.score[place].tolist()
    rank, right = ranked.rank[place].tolist(), ranked.right[place].tolist()
    for column, row in enumerate(index):
        if shown == depth:
            break
        if rank[column]:
            shown += 1
            verdict = "right" if right[column] else "wrong"
            items.append(StripItem(gallery.samples[row].picture, score[column], verdict, rank[column]))
        elif len(items) - shown < LEFT_OUT_SHOWN:
            items.append(StripItem(gallery.samples[row].picture, score[column], "left out", None))
        else:
            passed_over += 1
    return items, passed_over


def _missed(ranked: RankedGallery, place: int, gallery: Split, depth: int, most: int) -> list[StripItem]:
    """Give the first right answers that rank below `depth`."""
    below = (ranked.right[place] & (ranked.rank[place] > depth)).nonzero().squeeze(1)[:most]
    return [
        StripItem(
            gallery.samples[int(ranked.index[place, column])].picture,
            float(ranked.score[place, column]),
            "right",
            int(ranked.rank[place, column]),
        )
        for column in below.tolist()
    ]
