"""The retrieval protocol: who is left out for which query, then the metrics, as one checked result."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from resight.errors import DataError
from resight.metrics import QueryMetrics, cmc_at, retrieval_metrics
from resight.types import JUNK_PID, UNKNOWN_CAMID, Split

CMC_RANKS = (1, 5, 10, 20)
"""The k of CMC@k that are reported."""

BLOCK_ELEMENTS = 2**22
"""Most scores held at once: block rows × gallery; a handful of tensors of this many elements is the peak."""


@dataclass(frozen=True)
class RetrievalResult:
    """What an evaluation found; all figures are fractions, larger is better.

    `cmc`: CMC@k by k. `queries`: how many count. `left_out`: how many do not, having no right answer. `ap`: of each
    query, NaN where left out. `first_rank`: rank of each query's first right answer, 0 where left out.

    Raises:
        DataError: a figure is not a fraction, CMC falls with k, or the counts do not add up.
    """

    mAP: float  # noqa: N815
    mINP: float  # noqa: N815
    cmc: dict[int, float]
    queries: int
    left_out: int
    ap: Float[Tensor, " q"] = field(compare=False, repr=False)
    first_rank: Int[Tensor, " q"] = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        figures = {"mAP": self.mAP, "mINP": self.mINP} | {f"CMC@{k}": share for k, share in self.cmc.items()}
        for name, value in figures.items():
            if not 0.0 <= value <= 1.0:
                raise DataError(f"{name} must be a fraction between 0 and 1, got {value}")
        shares = [self.cmc[k] for k in sorted(self.cmc)]
        if shares != sorted(shares):
            raise DataError(f"CMC must not fall as k grows, got {self.cmc}")
        if self.queries + self.left_out != len(self.ap):
            raise DataError(f"{self.queries} queries and {self.left_out} left out must make {len(self.ap)} queries")

    def to_json(self) -> dict[str, Any]:
        """Give the figures as fractions and whole numbers, ready for `json.dump`."""
        return {
            "mAP": self.mAP,
            "mINP": self.mINP,
            "cmc": {str(k): self.cmc[k] for k in sorted(self.cmc)},
            "queries": self.queries,
            "left_out": self.left_out,
        }

    def lines(self) -> list[str]:
        """Give the figures for the screen, in percent, one line each."""
        cmc = [f"CMC@{k:<4} {100 * self.cmc[k]:6.2f} %" for k in sorted(self.cmc)]
        counts = f"{self.queries:,} queries, {self.left_out:,} left out (no right answer)"
        return [f"mAP      {100 * self.mAP:6.2f} %", f"mINP     {100 * self.mINP:6.2f} %", *cmc, counts]

    def __str__(self) -> str:
        return "\n".join(self.lines())


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


@dataclass(frozen=True)
class _Block:
    """A run of queries against the whole gallery."""

    scores: Float[Tensor, "b g"]
    right: Bool[Tensor, "b g"]
    left_out: Bool[Tensor, "b g"]


def evaluate(
    query_embeddings: Float[Tensor, "q d"],
    gallery_embeddings: Float[Tensor, "g d"],
    query: Split,
    gallery: Split,
    *,
    block_size: int | None = None,
) -> RetrievalResult:
    """Rank the gallery by cosine for each query and measure where the right answers stand.

    Left out for a query: gallery rows of its own pid and camid, its own file, and junk (pid -1). A camera that is not
    known is nobody's camera. `block_size`: queries at a time, as many as fit `BLOCK_ELEMENTS` when None; it does not
    change the result. Embeddings of any length are taken by their direction.

    Raises:
        DataError: embeddings do not fit their split or are not finite, identities are missing, or no query has a
            right answer.
    """
    metrics = [
        retrieval_metrics(block.scores, block.right, block.left_out)
        for block in _blocks(query_embeddings, gallery_embeddings, query, gallery, block_size=block_size)
    ]
    return _result(metrics, query, gallery)


def check_answerable(query: Split, gallery: Split) -> None:
    """Check, before any embedding, that `evaluate` will have at least one query to count.

    Raises:
        DataError: no query has a right answer in the gallery.
    """
    cameras: dict[int, set[int]] = {}
    for pid, camid in zip(gallery.pids or (), gallery.camids, strict=True):
        cameras.setdefault(pid, set()).add(camid)
    for pid, camid in zip(query.pids or (), query.camids, strict=True):
        seen = cameras.get(pid, set()) if pid != JUNK_PID else set()
        if seen - {camid} or (camid == UNKNOWN_CAMID and seen):
            return
    raise unanswerable(query, gallery)


def unanswerable(query: Split, gallery: Split) -> DataError:
    """Build the error for a query set none of whose identities can be found."""
    return DataError(
        f"no query has a right answer in the gallery: none of the {len(query):,} query images has its identity "
        f"among the {len(gallery):,} gallery images left to it; "
        "check that query and gallery share identities seen by different cameras"
    )


def rank_gallery(
    query_embeddings: Float[Tensor, "q d"],
    gallery_embeddings: Float[Tensor, "g d"],
    query: Split,
    gallery: Split,
    *,
    top_k: int,
) -> RankedGallery:
    """Give each query's `top_k` nearest gallery rows (all, if there are fewer), those left out kept and marked.

    Equal scores keep gallery order. Meant for a few queries: each block is sorted.

    Raises:
        DataError: as `evaluate`, but for queries without a right answer.
    """
    ranked = [_top_of_block(block, top_k) for block in _blocks(query_embeddings, gallery_embeddings, query, gallery)]
    names = ("index", "score", "rank", "right", "left_out")
    return RankedGallery(**{name: torch.cat([getattr(part, name) for part in ranked]) for name in names})


def _top_of_block(block: _Block, top_k: int) -> RankedGallery:
    score, index = block.scores.sort(dim=1, descending=True, stable=True)
    score, index = score[:, :top_k], index[:, :top_k]
    left_out = block.left_out.gather(1, index)
    rank = (~left_out).cumsum(dim=1).masked_fill(left_out, 0)
    return RankedGallery(index, score, rank, block.right.gather(1, index), left_out)


@torch.no_grad()
def _blocks(
    query_embeddings: Float[Tensor, "q d"],
    gallery_embeddings: Float[Tensor, "g d"],
    query: Split,
    gallery: Split,
    *,
    block_size: int | None = None,
) -> Iterator[_Block]:
    """Score the queries against the gallery, a bounded number at a time."""
    queries = _unit_rows(query_embeddings, query)
    unit_gallery = _unit_rows(gallery_embeddings, gallery)
    files: dict[str, int] = {}
    query_facts = _facts(query, files).to(queries.device)
    gallery_facts = _facts(gallery, files).to(queries.device)
    size = block_size or max(1, BLOCK_ELEMENTS // len(gallery))
    for rows, facts in zip(queries.split(size), query_facts.split(size, dim=1), strict=True):
        right, left_out = _right_and_left_out(facts, gallery_facts)
        yield _Block(rows @ unit_gallery.T, right, left_out)


def _unit_rows(embeddings: Float[Tensor, "n d"], split: Split) -> Float[Tensor, "n d"]:
    """Check that the embeddings are the split's and give them at unit length, in float32 or wider."""
    if len(embeddings) != len(split):
        raise DataError(
            f"{split.name} must have one embedding for each image, got {len(embeddings)} for {len(split)}; "
            "embed the same list of images again"
        )
    finite = embeddings.isfinite().all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise DataError(
            f"embeddings must be finite, got NaN or infinity for {split.name} image {split.samples[row].path}; "
            "check the weights"
        )
    wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    return functional.normalize(wide, dim=1)


def _facts(split: Split, files: dict[str, int]) -> Int[Tensor, "3 n"]:
    """Give pid, camid and a number for the file of each image; `files` numbers the files seen so far."""
    if split.pids is None:
        raise DataError(
            f"every image of {split.name} must have an identity, got {len(split)} images without a full set; "
            "evaluate on labelled query and gallery images"
        )
    numbers = [files.setdefault(os.path.realpath(path), len(files)) for path in split.paths]
    return torch.tensor([split.pids, split.camids, numbers], dtype=torch.int64)


def _right_and_left_out(
    query: Int[Tensor, "3 b"], gallery: Int[Tensor, "3 g"]
) -> tuple[Bool[Tensor, "b g"], Bool[Tensor, "b g"]]:
    """Apply the protocol to the facts (pid, camid, file) of a block of queries and of the gallery."""
    pid, camid, file = query[:, :, None]
    gallery_pid, gallery_camid, gallery_file = gallery[:, None, :]
    same_pid = pid == gallery_pid
    same_camera = (camid == gallery_camid) & (camid != UNKNOWN_CAMID)
    left_out = (same_pid & same_camera) | (file == gallery_file) | (gallery_pid == JUNK_PID)
    return same_pid & ~left_out, left_out


def _result(metrics: list[QueryMetrics], query: Split, gallery: Split) -> RetrievalResult:
    ap = torch.cat([block.ap for block in metrics])
    inp = torch.cat([block.inp for block in metrics])
    first_rank = torch.cat([block.first_rank for block in metrics])
    counted = int((first_rank > 0).sum())
    if counted == 0:
        raise unanswerable(query, gallery)
    return RetrievalResult(
        mAP=float(ap.nanmean()),
        mINP=float(inp.nanmean()),
        cmc={k: cmc_at(first_rank, k) for k in CMC_RANKS},
        queries=counted,
        left_out=len(query) - counted,
        ap=ap,
        first_rank=first_rank,
    )
