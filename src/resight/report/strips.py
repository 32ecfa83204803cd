"""Ranked strips: a query and the gallery images ranked for it, marked right, wrong or left out."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from resight.data.decode import cut, decode, path_and_box
from resight.errors import DataError
from resight.evaluate import RankedGallery, evaluate, rank_gallery
from resight.protocols import GENERAL, EvaluationProtocol
from resight.retrieval_result import RetrievalResult
from resight.types import Picture, Split

if TYPE_CHECKING:
    from PIL import Image

VERDICTS = ("right", "wrong", "left out")

LEFT_OUT_SHOWN = 4
"""Most rows left out that a strip shows; the caption counts the others above its last rank."""

THUMBNAIL_SIZE = (96, 192)
"""Largest width and height of a thumbnail, in pixels."""


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
    result = evaluate(query_embeddings, gallery_embeddings, query, gallery, protocol=protocol)
    chosen = _choose(result, count)
    if not chosen:
        return []
    rows = torch.tensor([row for row, _ in chosen], device=query_embeddings.device)
    shown = Split(query.name, tuple(query.samples[row] for row, _ in chosen))
    ranked = rank_gallery(
        query_embeddings[rows], gallery_embeddings, shown, gallery, top_k=len(gallery), protocol=protocol
    )
    return [
        _strip(
            ranked, place, gallery, depth=depth, query=query.samples[row].picture, caption=_caption(result, row, why)
        )
        for place, (row, why) in enumerate(chosen)
    ]


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
    return f"{why}: AP {100 * float(result.ap[row]):.1f} %, first right answer at rank {int(result.first_rank[row])}"


def _strip(ranked: RankedGallery, place: int, gallery: Split, *, depth: int, query: Picture, caption: str) -> Strip:
    """Walk down one query's ranking until `depth` ranked images are shown."""
    items: list[StripItem] = []
    passed_over = 0
    index, score = ranked.index[place].tolist(), ranked.score[place].tolist()
    rank, right = ranked.rank[place].tolist(), ranked.right[place].tolist()
    for column, row in enumerate(index):
        if _ranked(items) == depth:
            break
        if rank[column]:
            verdict = "right" if right[column] else "wrong"
            items.append(StripItem(gallery.samples[row].picture, score[column], verdict, rank[column]))
        elif len(items) - _ranked(items) < LEFT_OUT_SHOWN:
            items.append(StripItem(gallery.samples[row].picture, score[column], "left out", None))
        else:
            passed_over += 1
    if passed_over:
        caption += f"; {passed_over} more left out above the last rank"
    return Strip(query, caption, tuple(items))


def _ranked(items: Sequence[StripItem]) -> int:
    return sum(item.rank is not None for item in items)


def thumbnail(picture: Picture, size: tuple[int, int] = THUMBNAIL_SIZE) -> str | None:
    """Give an image as a small JPEG data URI, or None where it cannot be read."""
    small = small_image(picture, size)
    if small is None:
        return None
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def small_image(picture: Picture, size: tuple[int, int]) -> "Image.Image | None":
    """Give an image in RGB, `size` wide and high at most, or None where it cannot be read."""
    from PIL import Image

    path, box = path_and_box(picture)
    try:
        pixels = decode(path)
        small = Image.fromarray(pixels if box is None else cut(pixels, box))
    except ValueError:  # a broken image, or a box with nothing in it
        return None
    small.thumbnail(size)
    return small
