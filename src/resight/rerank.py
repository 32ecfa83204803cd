"""What is done to a ranking after the search: k-reciprocal re-ranking, and query expansion before it.

Papers: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017;
Radenović, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018 (α-weighted query
expansion).

Embeddings are taken by their direction. They are copied only if they are not of unit length already.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn import functional

from resight.errors import ConfigError, DataError, ShapeError
from resight.reciprocal import Progress, Stacked, encode, half, list_nearest, nearest, overlaps, span
from resight.sparse_rows import SparseRows

ROWS_AT_A_TIME = 1024

UNIT = 1e-5
"""By how much a length may differ from 1 and be taken for it."""


@dataclass(frozen=True)
class KReciprocal:
    """Re-ranking of a gallery for queries, by how much their k-reciprocal neighbours have in common.

    The distance is (1 − λ) · Jaccard + λ · original: the original is squared Euclidean, divided by the largest that the
    query has to any query or gallery image. Of equal scores those come first that stand first, queries before gallery.
    What is kept grows with (Q + G)·k.

    Attributes:
        queries: the encoded queries.
        turned: the encoded gallery, transposed.
        spans: each query's largest squared distance.
        lambda_: λ, the share of the original distance.
    """

    queries: SparseRows
    turned: SparseRows
    spans: Float64[np.ndarray, " q"]
    lambda_: float

    @classmethod
    def of(
        cls,
        query: Float[Tensor, "q d"],
        gallery: Float[Tensor, "g d"],
        *,
        k1: int = 20,
        k2: int = 6,
        lambda_: float = 0.3,
        own: Int[Tensor, " q"] | None = None,
        progress: Progress | None = None,
    ) -> "KReciprocal":
        """Encode all Q + G images, each once.

        Args:
            query: one row or more.
            gallery: one row or more.
            k1: neighbours that may be reciprocal; where there are fewer images, all of them.
            k2: nearest images, itself counted, whose encodings are averaged; 1: no averaging.
            lambda_: share of the original distance, 0..1.
            own: the gallery row that is the query itself, -1 where there is none (None: nowhere). Such a query is not
                encoded beside its twin, which would take a place in every list that they stand in.
            progress: told rows done and rows in all while neighbours are searched, which takes most of the time.

        Raises:
            ConfigError: a parameter is outside its range.
            DataError: embeddings are missing or not finite.
            ShapeError: queries and gallery differ in their dimensions.
        """
        check_parameters(k1, k2, lambda_)
        queries, unit_gallery = unit_pair(query, gallery)
        twin = np.full(len(query), -1) if own is None else own.cpu().numpy()
        alone = np.flatnonzero(twin < 0)
        rows = Stacked(queries if len(alone) == len(query) else queries[torch.from_numpy(alone)], unit_gallery)
        lists, lowest = list_nearest(rows, k1 + 1, progress=progress)
        vectors = encode(lists, rows, expand_by=half(k1) + 1, k2=k2, lowest=lowest)
        place = twin + len(alone)
        place[alone] = np.arange(len(alone))
        return cls(vectors.take(place), vectors.turned(len(alone)), span(lowest.double().numpy()[place]), lambda_)

    @torch.no_grad()
    def rescore(self, rows: int | slice | Int[Tensor, " b"], scores: Float[Tensor, "b g"]) -> Float[Tensor, "b g"]:
        """Turn the cosines of some queries with the whole gallery into new scores, minus the final distance: −1..0.

        Args:
            rows: which queries: a slice, positions, or the first of as many as `scores` has.
            scores: changed in place and given back.

        Raises:
            ShapeError: there is not one score for each of these queries and each gallery image.
        """
        if isinstance(rows, int):
            rows = slice(rows, rows + len(scores))
        at = np.arange(len(self.queries))[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]
        if tuple(scores.shape) != (len(at), self.turned.width):
            raise ShapeError(
                f"scores of {len(at)} queries must be ({len(at)}, {self.turned.width}), one for each gallery image, "
                f"got {tuple(scores.shape)}"
            )
        factor = torch.from_numpy(2 * self.lambda_ / self.spans[at]).to(scores).unsqueeze(1)
        # λ · (2 − 2s) / span, and the Jaccard distance of what shares nothing: 1.
        scores.mul_(factor).sub_(factor + (1 - self.lambda_))
        for row, column, distance in overlaps(self.queries.take(at), self.turned):
            nearer = torch.from_numpy((1 - self.lambda_) * (1 - distance)).to(scores)
            scores[torch.from_numpy(row).to(scores.device), torch.from_numpy(column).to(scores.device)] += nearer
        return scores


def check_parameters(k1: int, k2: int, lambda_: float) -> None:
    """Refuse what the encoding cannot be made with.

    Raises:
        ConfigError: a parameter is outside its range.
    """
    if k1 < 1:
        raise ConfigError(f"k1 of re-ranking must be 1 or more neighbours, got {k1}")
    if not 1 <= k2 <= k1 + 1:
        raise ConfigError(f"k2 of re-ranking must lie in 1..k1 + 1, here 1..{k1 + 1}, got {k2}")
    if not 0 <= lambda_ <= 1:
        raise ConfigError(f"lambda of re-ranking must lie in [0, 1], got {lambda_}")


@torch.no_grad()
def expand_queries(
    query: Float[Tensor, "q d"],
    gallery: Float[Tensor, "g d"],
    *,
    k: int,
    alpha: float = 3.0,
    own: Int[Tensor, " q"] | None = None,
) -> Float[Tensor, "q d"]:
    """Add to each query its `k` nearest gallery rows, each weighed by its cosine to the power `alpha`; unit length.

    `alpha` 0 weighs them alike: average query expansion. Rows at a cosine of 0 or less weigh nothing. Of equal cosines
    the first rows are taken; `k` is cut to the gallery. `own`: the gallery row that is the query itself, which is not
    added; -1 where there is none.

    Raises:
        ConfigError: `k` is below 1 or `alpha` below 0.
        DataError: embeddings are missing or not finite.
        ShapeError: queries and gallery differ in their dimensions.
    """
    check_expansion(k, alpha)
    queries, rows = unit_pair(query, gallery)
    twin = torch.full((len(query),), -1) if own is None else own
    pieces = []
    for left, skipped in zip(queries.split(ROWS_AT_A_TIME), twin.to(rows.device).split(ROWS_AT_A_TIME), strict=True):
        scores, columns, _ = nearest(left, Stacked(rows), k + 1)
        itself = columns == skipped.unsqueeze(1)
        others = torch.arange(1, columns.shape[1] + 1, device=rows.device) - itself.cumsum(dim=1)
        pieces.append(mixed(left, scores.masked_fill(itself | (others > k), 0.0), columns, rows, alpha))
    return torch.cat(pieces)


def mixed(
    left: Float[Tensor, "b d"],
    scores: Float[Tensor, "b k"],
    columns: Int[Tensor, "b k"],
    rows: Float[Tensor, "g d"],
    alpha: float,
) -> Float[Tensor, "b d"]:
    """normalise(q + Σ sᵅ g) over the listed rows g with s > 0."""
    weights = torch.where(scores > 0, scores.clamp(min=0) ** alpha, 0.0)
    result = left.clone()
    for weight, column in zip(weights.unbind(1), columns.unbind(1), strict=True):
        result.addcmul_(weight.unsqueeze(1), rows[column])
    return functional.normalize(result, dim=1)


def check_expansion(k: int, alpha: float) -> None:
    """Refuse an expansion that cannot be made.

    Raises:
        ConfigError: a parameter is outside its range.
    """
    if k < 1:
        raise ConfigError(f"query expansion must add 1 or more neighbours, got {k}")
    if not 0 <= alpha < float("inf"):
        raise ConfigError(f"alpha of query expansion must be a number of 0 or more, got {alpha}")


def unit_pair(
    query: Float[Tensor, "q d"], gallery: Float[Tensor, "g e"]
) -> tuple[Float[Tensor, "q d"], Float[Tensor, "g e"]]:
    """Give both at unit length and in one precision.

    Raises:
        DataError: there are none, or one is not finite.
        ShapeError: they differ in their dimensions.
    """
    if query.shape[1] != gallery.shape[1]:
        raise ShapeError(
            f"query and gallery embeddings must have as many dimensions, got {query.shape[1]} and {gallery.shape[1]}; "
            "embed both with one model"
        )
    queries, rows = unit_rows(query, "query"), unit_rows(gallery, "gallery")
    dtype = torch.promote_types(queries.dtype, rows.dtype)
    return queries.to(dtype), rows.to(dtype)


def unit_rows(embeddings: Float[Tensor, "n d"], name: str) -> Float[Tensor, "n d"]:
    """Give embeddings at unit length in float32 or wider: themselves if they are so, else a copy. Zero rows stay zero.

    Raises:
        DataError: there are none, or one is not finite.
    """
    if not len(embeddings):
        raise DataError(f"re-ranking and expansion need at least one {name} embedding, got none")
    wide = embeddings.detach().to(torch.promote_types(embeddings.dtype, torch.float32))
    length = torch.cat([part.norm(dim=1) for part in wide.split(ROWS_AT_A_TIME)])
    if not length.isfinite().all():
        row = int((~length.isfinite()).nonzero()[0])
        raise DataError(
            f"{name} embeddings must be finite, got NaN or infinity in row {row} (from 0); check the weights"
        )
    if ((length - 1).abs() > UNIT).logical_and(length > 0).any():
        return functional.normalize(wide, dim=1)
    return wide
