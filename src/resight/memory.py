"""The feature memory: one unit row per training image, and the products that miners and losses read from it.

The papers call it look-up table or feature dictionary. `FeatureMemory` is its only writer.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.errors import ConfigError, ShapeError
from resight.neighbours import adjacency_distance, gram_energy


class FeatureMemory:
    """Rows m_i (N, D), unit length once written and zero before; row i belongs to training image `index` i.

    The Gram matrix MᵀM and the energies q_j = Σ_k s_jk² that adjacency distances need are built when first asked for,
    and then follow every `update` by its B changed rows (METHODS: "GSMLP without the N×N matrix"). `refill` drops
    them, so rounding drift never outlives the time between two refills or calls of `forget_gram`.
    """

    def __init__(self, images: int, dim: int, *, device: torch.device | str = "cpu") -> None:
        self.features: Tensor = torch.zeros(images, dim, device=device)
        self.gram: Tensor | None = None
        self.energy: Tensor | None = None
        # The last similarity product and whose it is: mining computes it, the update of the same step needs it again.
        self._at_hand: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> "FeatureMemory":
        """Wrap rows that are unit length (or zero) already, without copying them."""
        memory = cls(0, features.shape[1], device=features.device)
        memory.features = features
        return memory

    def __len__(self) -> int:
        return self.features.shape[0]

    def scores(self, embeddings: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
        """Cosine of each embedding with each row; gradients flow to `embeddings` only."""
        return embeddings @ self.features.T

    def similarity(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """s_ij of the rows at `index` with all rows; the own column holds s_ii (1, or 0 for a row not yet written)."""
        similarity = self.features[index] @ self.features.T
        self._at_hand = (index, similarity)
        return similarity

    def adjacency_distance(self, index: Int[Tensor, " b"], similarity: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Squared distance d_ij² between rows of S (diagonal zero), for the rows at `index`; smaller is closer.

        Exact, without the N×N matrix; `similarity` is `self.similarity(index)`.
        """
        if self.gram is None or self.energy is None:
            self.gram = self.features.T @ self.features
            self.energy = gram_energy(self.features, self.gram)
        return adjacency_distance(self.features, index, similarity, self.gram, self.energy)

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
        if embeddings.shape != (len(index), self.features.shape[1]):
            raise ShapeError(
                f"embeddings must be ({len(index)}, {self.features.shape[1]}) to update as many rows, "
                f"got {tuple(embeddings.shape)}"
            )
        old = self.features[index]
        mixed = momentum * old + (1 - momentum) * embeddings
        length = mixed.norm(dim=1, keepdim=True).clamp_min(1e-12)
        new = mixed / length
        if self.gram is not None and self.energy is not None:
            old_scores = self._similarity_before(index)
            scores = self.scores(embeddings) if scores is None else scores
            new_scores = (momentum * old_scores + (1 - momentum) * scores) / length
            self.gram += new.T @ new - old.T @ old
            self.energy += (new_scores.square() - old_scores.square()).sum(dim=0)
        self.features[index] = new
        if self.gram is not None and self.energy is not None:
            self.energy[index] = gram_energy(new, self.gram)
        self._at_hand = None

    def refill(self, embeddings: Float[Tensor, "n d"]) -> None:
        """Rewrite the whole memory (the papers' overhaul) with unit rows in the order of the training images."""
        if embeddings.shape != self.features.shape:
            raise ShapeError(
                f"a refill must be {tuple(self.features.shape)}, one row per training image, "
                f"got {tuple(embeddings.shape)}"
            )
        self.features.copy_(embeddings)
        self.forget_gram()

    def forget_gram(self) -> None:
        """Drop the Gram matrix and the energies; the next adjacency distance builds them exactly."""
        self.gram = self.energy = self._at_hand = None

    def _similarity_before(self, index: Tensor) -> Tensor:
        if self._at_hand is not None and self._at_hand[0] is index:
            return self._at_hand[1]
        return self.features[index] @ self.features.T


def standardise_by_camera(features: Float[Tensor, "n d"], camids: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """Take each camera's mean and spread out of its rows and give unit rows again.

    What all images of one camera share (colour cast, background) is what makes its strangers look alike; without it the
    same identity in two cameras can be found. Cameras are compared with themselves only: a camera with a single image
    keeps its row. Rows not yet written (zero) stay zero and do not count.
    """
    out = features.clone()
    written = features.abs().sum(dim=1) > 0
    for camid in camids.unique():
        rows = ((camids == camid) & written).nonzero().squeeze(1)
        if len(rows) > 1:
            spread, mean = torch.std_mean(features[rows], dim=0)
            out[rows] = torch.nn.functional.normalize((features[rows] - mean) / spread.clamp_min(1e-6), dim=1)
    return out
