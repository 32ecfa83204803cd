"""The retrieval protocol: who is left out for which query, then the metrics, as one checked result."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.answers import Answers, Pairs
from resight.breakdown import CameraPairs, DrawnGalleries, bootstrap_intervals
from resight.errors import DataError
from resight.metrics import QueryMetrics, cmc_at, retrieval_metrics, right_ranks
from resight.protocols import GENERAL, EvaluationProtocol
from resight.retrieval_result import RetrievalResult
from resight.types import Split

CMC_RANKS = (1, 5, 10, 20)
"""The k of CMC@k that are reported."""

BLOCK_ELEMENTS = 2**24
"""Most scores held at once: block rows × gallery; a few tensors of this many elements are the peak."""


@dataclass(frozen=True)
class RankedGallery:
    """The gallery rows nearest to each query, in order of score.

    `index`: gallery positions. `score`: cosine, -1..1. `rank`: from 1, counted over the rows that are not left out;
    0 for a row left out. `right`: never True for a row left out.
    """

    index: Int[Tensor, "q k"]
    score: Float[Tensor, "q k"]
    rank: Int[Tensor, "q k"]
    right: Bool[Tensor, "q k"]
    left_out: Bool[Tensor, "q k"]


@runtime_checkable
class Rescorer(Protocol):
    """What may change the scores before they are ranked, as re-ranking does."""

    def rescore(self, first: int, scores: Float[Tensor, "b g"], /) -> Float[Tensor, "b g"]:
        """Give new scores of the queries from `first` on; `scores` are cosines and may be overwritten."""
        ...


@dataclass(frozen=True)
class Options:
    """What an evaluation does beside the plain figures.

    `rescorer`: changes the scores first. `single_shot_draws`: over how many drawn galleries of one image an identity
    to take the single-shot CMC; 0: not at all. `camera_pairs`: score each pair of cameras too.
    """

    rescorer: Rescorer | None = None
    single_shot_draws: int = 0
    camera_pairs: bool = False


@torch.no_grad()
def evaluate(
    query_embeddings: Float[Tensor, "q d"],
    gallery_embeddings: Float[Tensor, "g d"],
    query: Split,
    gallery: Split,
    *,
    protocol: EvaluationProtocol = GENERAL,
    options: Options = Options(),
    block_size: int | None = None,
) -> RetrievalResult:
    """Rank the gallery by cosine for each query and measure where the right answers stand.

    `protocol` says what is left out for a query. `block_size`: queries at a time, as many as fit `BLOCK_ELEMENTS` when
    None; it does not change the result. Embeddings of any length are taken by their direction. Never more than a few
    blocks of scores are held, and the embeddings are not copied.

    Raises:
        DataError: embeddings do not fit their split or are not finite, identities are missing, or no query has a
            right answer.
    """
    _check_counts((query_embeddings, query), (gallery_embeddings, gallery))
    answers = Answers(query, gallery, protocol)
    metrics: list[QueryMetrics] = []
    drawn = DrawnGalleries(answers, protocol.shots, protocol.draws) if protocol.shots else None
    single = DrawnGalleries(answers, 1, options.single_shot_draws) if options.single_shot_draws else None
    pairs = CameraPairs(answers) if options.camera_pairs else None
    for first, cosines in _blocks(query_embeddings, gallery_embeddings, query, gallery, block_size=block_size):
        scores = cosines if options.rescorer is None else options.rescorer.rescore(first, cosines)
        right = _leave_out(scores, first, answers)
        for watcher in (drawn, single):
            if watcher is not None:
                watcher.watch(first, scores)
        if drawn is None:
            metrics.append(retrieval_metrics(right_ranks(scores, *right)))
        if pairs is not None:
            pairs.watch(first, scores, right)
    result = _result(drawn.metrics() if drawn else [_joined(metrics)], query, gallery, protocol)
    return dataclasses.replace(
        result,
        single_shot=_mean_cmc(single.metrics()) if single else None,
        camera_pairs=pairs.pairs() if pairs else (),
    )


def check_answerable(query: Split, gallery: Split, protocol: EvaluationProtocol = GENERAL) -> None:
    """Check, before any embedding, that `evaluate` will have at least one query to count.

    Raises:
        DataError: no query has a right answer in the gallery.
    """
    answers = Answers(query, gallery, protocol)
    if not any(len(answers.right(first, first + 64)[0]) for first in range(0, len(query), 64)):
        raise unanswerable(query, gallery)


def unanswerable(query: Split, gallery: Split) -> DataError:
    """Build the error for a query set none of whose identities can be found."""
    return DataError(
        f"no query has a right answer in the gallery: none of the {len(query):,} query images has its identity "
        f"among the {len(gallery):,} gallery images left to it; "
        "check that query and gallery share identities seen by different cameras"
    )


@torch.no_grad()
def rank_gallery(
    query_embeddings: Float[Tensor, "q d"],
    gallery_embeddings: Float[Tensor, "g d"],
    query: Split,
    gallery: Split,
    *,
    top_k: int,
    protocol: EvaluationProtocol = GENERAL,
) -> RankedGallery:
    """Give each query's `top_k` nearest gallery rows (all, if there are fewer), those left out kept and marked.

    Equal scores keep gallery order. Meant for a few queries: each block is sorted.

    Raises:
        DataError: as `evaluate`, but for queries without a right answer.
    """
    _check_counts((query_embeddings, query), (gallery_embeddings, gallery))
    answers = Answers(query, gallery, protocol)
    ranked = [
        _top_of_block(scores, first, answers, top_k)
        for first, scores in _blocks(query_embeddings, gallery_embeddings, query, gallery)
    ]
    names = ("index", "score", "rank", "right", "left_out")
    return RankedGallery(**{name: torch.cat([getattr(part, name) for part in ranked]) for name in names})


def _top_of_block(scores: Float[Tensor, "b g"], first: int, answers: Answers, top_k: int) -> RankedGallery:
    score, index = scores.sort(dim=1, descending=True, stable=True)
    score, index = score[:, :top_k], index[:, :top_k]
    rows, columns = _leave_out(scores, first, answers)
    right = torch.zeros_like(scores, dtype=torch.bool)
    right[rows, columns] = True
    left_out = (scores == -torch.inf).gather(1, index)
    rank = (~left_out).cumsum(dim=1).masked_fill(left_out, 0)
    return RankedGallery(index, score, rank, right.gather(1, index), left_out)


def _leave_out(scores: Float[Tensor, "b g"], first: int, answers: Answers) -> Pairs:
    """Put what is left out below everything, in place, and give the right answers that remain."""
    last, place = first + len(scores), scores.device
    scores[:, answers.junk.to(place)] = -torch.inf
    rows, columns = answers.left_out(first, last)
    scores[rows.to(place), columns.to(place)] = -torch.inf
    strangers = answers.strangers_out(first, last)
    if strangers is not None:
        scores.masked_fill_(strangers.to(place), -torch.inf)
    rows, columns = (part.to(place) for part in answers.of_same_identity(first, last))
    counted = scores[rows, columns] > -torch.inf
    return rows[counted], columns[counted]


def _blocks(
    query_embeddings: Float[Tensor, "q d"],
    gallery_embeddings: Float[Tensor, "g d"],
    query: Split,
    gallery: Split,
    *,
    block_size: int | None = None,
) -> Iterator[tuple[int, Float[Tensor, "b g"]]]:
    """Score the queries against the gallery, a bounded number at a time: position of the first, and its scores."""
    dtype = torch.promote_types(query_embeddings.dtype, gallery_embeddings.dtype)
    queries, query_length = _rows_and_lengths(query_embeddings.to(dtype), query)
    rows, length = _rows_and_lengths(gallery_embeddings.to(dtype), gallery)
    size = block_size or max(1, BLOCK_ELEMENTS // max(1, len(gallery)))
    all_unit = bool((query_length == 1).all() and (length == 1).all())
    first = 0
    for block, own in zip(queries.split(size), query_length.split(size), strict=True):
        scores = block @ rows.T
        if not all_unit:
            scores /= own.unsqueeze(1)
            scores /= length
        yield first, scores
        first += len(block)


def _check_counts(*given: tuple[Tensor, Split]) -> None:
    for embeddings, split in given:
        if len(embeddings) != len(split):
            raise DataError(
                f"{split.name} must have one embedding for each image, got {len(embeddings)} for {len(split)}; "
                "embed the same list of images again"
            )


def _rows_and_lengths(embeddings: Float[Tensor, "n d"], split: Split) -> tuple[Float[Tensor, "n d"], Tensor]:
    """Give the embeddings in float32 or wider, and by what to divide their products: 1 where it is but for rounding."""
    wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    length = torch.linalg.vector_norm(wide, dim=1)
    for row in (~length.isfinite()).nonzero().squeeze(1).tolist():
        if not bool(wide[row].isfinite().all()):
            raise DataError(
                f"embeddings must be finite, got NaN or infinity for {split.name} image {split.samples[row].path}; "
                "check the weights"
            )
        raise DataError(f"embeddings must not overflow, got the length of {split.samples[row].path} beyond the range")
    near_one = (length - 1).abs() <= 4e-6
    return wide, torch.where(near_one, 1.0, length.clamp(min=torch.finfo(length.dtype).tiny))


def _joined(metrics: list[QueryMetrics]) -> QueryMetrics:
    names = ("ap", "trapezoid_ap", "inp", "first_rank")
    return QueryMetrics(**{name: torch.cat([getattr(block, name) for block in metrics]).cpu() for name in names})


def _mean_cmc(draws: list[QueryMetrics]) -> dict[int, float] | None:
    """CMC, mean over the draws in which any query counts; None where there is none."""
    counting = [draw.first_rank for draw in draws if bool((draw.first_rank > 0).any())]
    return {k: float(np.mean([cmc_at(ranks, k) for ranks in counting])) for k in CMC_RANKS} if counting else None


def _result(draws: list[QueryMetrics], query: Split, gallery: Split, protocol: EvaluationProtocol) -> RetrievalResult:
    """Take means over the queries that count, then over the draws."""
    draws = [draw for draw in draws if bool((draw.first_rank > 0).any())]
    if not draws:
        raise unanswerable(query, gallery)
    by_query = {name: torch.stack([getattr(d, name) for d in draws]) for name in ("ap", "trapezoid_ap", "inp")}
    first_rank = torch.stack([draw.first_rank for draw in draws])
    ever = (first_rank > 0).any(dim=0)
    hits = torch.where(first_rank > 0, (first_rank == 1).double(), torch.nan)
    figures = {"mAP": by_query["ap"], "mINP": by_query["inp"], "CMC@1": hits}
    return RetrievalResult(
        mAP=float(by_query["ap"].nanmean(dim=1).mean()),
        mAP_trapezoid=float(by_query["trapezoid_ap"].nanmean(dim=1).mean()),
        mINP=float(by_query["inp"].nanmean(dim=1).mean()),
        cmc=_mean_cmc(draws) or {},
        queries=int(ever.sum()),
        left_out=int((~ever).sum()),
        ap=by_query["ap"].nanmean(dim=0),
        first_rank=first_rank[0],
        protocol=protocol.name,
        draws=len(draws),
        intervals=bootstrap_intervals({name: values.numpy() for name, values in figures.items()}),
    )
