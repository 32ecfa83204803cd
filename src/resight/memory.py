"""The feature memory: one unit row per training image, and the products that miners and losses read from it.

The papers call it look-up table or feature dictionary. `FeatureMemory` is its only writer.
"""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.errors import ConfigError, ShapeError
from resight.gram import Gram
from resight.neighbours import NeighbourLists, candidates, exact_where_close, rank_counts, top_k
from resight.storage import Rows, product
from resight.types import Candidates

PRODUCT_BYTES = 2**28
"""Size to which a block of rows of the similarity matrix may grow; see `FeatureMemory.block_rows`."""


class FeatureMemory:
    """Rows m_i (N, D), unit length once written and zero before; row i belongs to training image `index` i.

    The rows lie in a store (`storage.Rows`) on the device, in RAM or on disk; everything computed from them is on the
    store's device. The Gram matrix and the energies that adjacency distances need are built when first asked for, and
    then follow every `update` by its B changed rows (METHODS: "GSMLP without the N×N matrix"). `refill` drops them, so
    rounding drift never outlives the time between two refills or calls of `forget`.
    """

    def __init__(self, images: int, dim: int, *, device: torch.device | str = "cpu") -> None:
        self.rows = Rows(torch.zeros(images, dim, device=device))
        self.gram: Gram | None = None
        self.lists: NeighbourLists | None = None
        # The last similarity product and whose it is: mining computes it, the update of the same step needs it again.
        self._at_hand: tuple[Tensor, int, Tensor] | None = None
        self._spare: Rows | None = None

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> "FeatureMemory":
        """Wrap rows that are unit length (or zero) already, without copying them."""
        return cls.over(Rows(features))

    @classmethod
    def over(cls, rows: Rows) -> "FeatureMemory":
        """Take rows that are unit length (or zero) where they lie."""
        memory = cls(0, rows.dim)
        memory.rows = rows
        return memory

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> Float[Tensor, "n d"]:
        """The rows as they lie in their place; change them through `update` and `refill` only."""
        return self.rows.data

    @property
    def device(self) -> torch.device:
        """Where everything computed from the rows is."""
        return self.rows.device

    @property
    def block_rows(self) -> int:
        """How many rows of the N×N similarity matrix to work on at a time."""
        return max(1, min(1024, PRODUCT_BYTES // max(1, len(self) * 4)))

    def read(self, index: Int[Tensor, " *b"]) -> Float[Tensor, " *b d"]:
        """Copies of the rows at `index`, on the device."""
        return self.rows.read(index)

    def scores(self, embeddings: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
        """Cosine of each embedding with each row; gradients flow to `embeddings` only. Before `update`, not after."""
        if not self.rows.whole:
            return _Scores.apply(embeddings, self.rows)
        return product(embeddings.to(self.features.dtype), self.rows)

    def similarity(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """s_ij of the rows at `index` with all rows; the own column holds s_ii (1, or 0 for a row not yet written)."""
        if self._at_hand is None or self._at_hand[0] is not index or self._at_hand[1] != index._version:
            self._at_hand = None  # let the old one go before the new one takes its space
            self._at_hand = (index, index._version, product(self.read(index), self.rows))
        return self._at_hand[2]

    def top(self, index: Int[Tensor, " b"], tau: float, least: int, most: int = 0) -> Candidates:
        """Top(i, K_i) of the rows at `index`: K_i = max(k_i, least) where k_i = |{j : s_ij ≥ tau}|, cut to `most`."""
        if self.lists is None:
            return candidates(self.similarity(index), index, tau, least, most)
        listed, known = self.lists.candidates(index, tau, least, most)
        if bool(known.all()):
            return listed
        rest = (~known).nonzero().squeeze(1)
        found = candidates(self.similarity(index[rest]), index[rest], tau, least, most)
        return merged(listed, found, rest)

    def outranked(
        self, rows: Int[Tensor, " p"], images: Int[Tensor, " p"], limit: Int[Tensor, " p"]
    ) -> Bool[Tensor, " p"]:
        """Whether rank_j(i) = |{n : s_jn > s_ji}| > limit, for pairs of j in `rows` and i in `images`.

        Read off the lists of `list_neighbours` where there are any and they are long enough, counted elsewhere.
        """
        result = torch.zeros_like(rows, dtype=torch.bool)
        ask = limit < len(self) - 1  # no more than N − 1 can stand before an image
        if self.lists is not None:
            result, known = self.lists.outranked(rows, images, limit)
            result, ask = result & ask, ask & ~known
        pairs = ask.nonzero().squeeze(1)
        distinct, where = rows[pairs].unique(return_inverse=True)
        for first in range(0, len(distinct), self.block_rows):
            block = distinct[first : first + self.block_rows]
            mine = ((where >= first) & (where < first + len(block))).nonzero().squeeze(1)
            similarity = product(self.read(block), self.rows)
            ranks = rank_counts(similarity, where[mine] - first, images[pairs[mine]])
            result[pairs[mine]] = ranks > limit[pairs[mine]]
        return result

    def list_neighbours(self, length: int, *, rows: int | None = None, precision: str = "float32") -> None:
        """Keep, until the rows change, the `length` most similar rows of the first `rows` (None: of every) row.

        One pass over the N×N products, after which `top` and `outranked` seldom need another. `precision` "bfloat16"
        looks for them in bfloat16 and scores in float32 all that could be among them, so the lists are the same.
        """
        for _ in self.listing(length, rows=rows, precision=precision):
            pass

    def listing(self, length: int, *, rows: int | None = None, precision: str = "float32") -> Iterator[int]:
        """Do the work of `list_neighbours` a block at a time, and give the number of rows that each block held."""
        if precision not in ("float32", "bfloat16"):
            raise ConfigError(f"precision must be float32 or bfloat16, got '{precision}'")
        self.lists = None
        length, rows = min(length, len(self)), len(self) if rows is None else rows
        scores = torch.empty(rows, length, dtype=self.rows.data.dtype, device=self.rows.data.device)
        index = torch.empty(rows, length, dtype=torch.int32, device=self.rows.data.device)
        rough = Rows(self.rows.data.bfloat16()) if precision == "bfloat16" and self.rows.whole else self.rows
        for block in torch.arange(rows, device=self.device).split(self.block_rows):
            left = self.read(block)
            if precision == "bfloat16":
                similarity = product(left.bfloat16(), rough)
                values, columns = exact_where_close(similarity, left, block, length, self.rows)
            else:
                values, columns = top_k(product(left, self.rows), block, length)
            at = block.to(index.device)
            scores[at], index[at] = values.to(scores), columns.to(index)
            yield len(block)
        self.lists = NeighbourLists(scores, index, len(self))

    def adjacency_distance(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Squared distance between rows of S, the similarity matrix with zero diagonal: d_ij² = ‖S_i − S_j‖².

        Exact but for rounding, without the N×N matrix: see `gram`. Never negative; 0 in the own column; smaller is
        closer.
        """
        if self.gram is None:
            self.gram = Gram.of(self.rows)
        return self.gram.distance(index, self.rows)

    @torch.no_grad()
    def update(
        self,
        index: Int[Tensor, " b"],
        embeddings: Float[Tensor, "b d"],
        momentum: float,
        *,
        scores: Float[Tensor, "b n"] | None = None,
    ) -> None:
        """Replace row i by normalise(momentum · m_i + (1 − momentum) · f_i) for each distinct i in `index`.

        Args:
            index: rows to change, each at most once.
            embeddings: unit length.
            momentum: share of the old row kept, 0..1; ½ is the papers' normalise(m_i + f_i).
            scores: `self.scores(embeddings)` before this update, if at hand: saves a product when the Gram is kept.
        """
        if not 0 <= momentum < 1:
            raise ConfigError(f"memory.momentum must lie in [0, 1), got {momentum}")
        if embeddings.shape != (len(index), self.rows.dim):
            raise ShapeError(
                f"embeddings must be ({len(index)}, {self.rows.dim}) to update as many rows, "
                f"got {tuple(embeddings.shape)}"
            )
        old = self.read(index)
        mixed = momentum * old + (1 - momentum) * embeddings
        length = mixed.norm(dim=1, keepdim=True).clamp_min(1e-12)
        new = mixed / length
        if self.gram is not None:
            scores = self.scores(embeddings) if scores is None else scores
            old_scores = self.similarity(index)
            new_scores = (momentum * old_scores + (1 - momentum) * scores).div_(length)
            self.gram.replace(index, (old, old_scores), (new, new_scores))
        self.rows.write(index, new)
        self.lists = self._at_hand = None

    def refill(
        self, embeddings: Float[Tensor, "n d"] | Iterable[Float[Tensor, "b d"]], *, damping: float = 0.0
    ) -> None:
        """Rewrite the whole memory (the papers' overhaul) with unit rows in the order of the training images.

        `embeddings` may come in pieces, so that they need not all be in RAM at once. `damping`: share of the old row
        that is kept, 0..1; each row is then of unit length again.
        """
        self.forget()
        first = 0
        for piece in [embeddings] if isinstance(embeddings, Tensor) else embeddings:
            if piece.shape[1] != self.rows.dim or first + len(piece) > len(self):
                raise self._wrong_refill(first + len(piece), piece.shape[1])
            index = torch.arange(first, first + len(piece))
            if damping:
                mixed = damping * self.rows.read(index) + (1 - damping) * piece.to(self.device)
                self.rows.write(index, torch.nn.functional.normalize(mixed, dim=1))
            else:
                self.rows.write(index, piece)
            first += len(piece)
        if first != len(self):
            raise self._wrong_refill(first, self.rows.dim)

    def forget(self) -> None:
        """Drop all that was computed from the rows; what is next asked for is built exactly."""
        self.gram = self.lists = self._at_hand = None

    def _wrong_refill(self, images: int, dim: int) -> ShapeError:
        return ShapeError(
            f"a refill must be ({len(self)}, {self.rows.dim}), one row per training image, got ({images}, {dim})"
        )

    def spare(self) -> Rows:
        """Give a second store of the same kind, made when first asked for and kept."""
        if self._spare is None:
            self._spare = self.rows.like()
        return self._spare


def merged(listed: Candidates, found: Candidates, rest: Int[Tensor, " r"]) -> Candidates:
    """Put the rows `found` in the place of those at `rest`, lists filled up to one length."""
    length = max(listed.index.shape[1], found.index.shape[1])
    index = listed.index[:, :1].repeat(1, length)
    index[:, : listed.index.shape[1]] = listed.index
    index[rest] = found.index[:, :1]
    index[rest, : found.index.shape[1]] = found.index
    k, width = listed.k.clone(), listed.width.clone()
    k[rest], width[rest] = found.k, found.width
    return Candidates(index, k, width)


class _Scores(torch.autograd.Function):
    """Embeddings · Mᵀ, M a constant; neither pass needs the rows in one piece."""

    @staticmethod
    def forward(ctx, embeddings: Tensor, rows: Rows) -> Tensor:  # type: ignore[override]
        ctx.rows = rows
        return product(embeddings, rows)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        total = torch.zeros(len(gradient), ctx.rows.dim, dtype=gradient.dtype, device=gradient.device)
        for first, block in ctx.rows.blocks():
            total += gradient[:, first : first + len(block)] @ block
        return total, None
