"""GSMLP: positives that are similar to the image *and* stand alike to all other images.

Paper: Yu & Oh 2021, "Unsupervised Person Re-identification via Multi-Label Prediction and Classification based on
Graph-Structural Insight".
"""

from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from resight.errors import ConfigError
from resight.neighbours import closest, most_similar
from resight.types import Memory


@dataclass(frozen=True, slots=True)
class GSMLP:
    """P(i) = (Top(i, K_i) ∩ Adj(i, K_i + 1)) ∪ {i}, and {i} alone where no other image reaches `tau`.

    Attributes:
        tau: cosine from which an image counts towards k_i, in (0, 1].
        min_candidates: the papers' L: K_i = max(k_i, L).
        max_candidates: upper bound of K_i, ours; 0 is none, as published. On small data the features of all images
            grow alike while they train, k_i runs away from any fixed `tau`, and labels turn to noise; about as many
            as one identity has images keeps them clean.
    """

    tau: float = 0.6
    min_candidates: int = 10
    max_candidates: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.tau <= 1:
            raise ConfigError(f"miner.tau is a cosine and must lie in (0, 1], got {self.tau}")
        if self.min_candidates < 1:
            raise ConfigError(f"miner.min_candidates must be at least 1, got {self.min_candidates}")
        if self.max_candidates and self.max_candidates < self.min_candidates:
            raise ConfigError(
                f"miner.max_candidates must be 0 (no bound) or at least miner.min_candidates = {self.min_candidates}, "
                f"got {self.max_candidates}"
            )

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mine the images at `index`; the own index is always positive."""
        similarity = memory.similarity(index)
        # Candidates: the K_i most similar images.
        positives, k, width = most_similar(similarity, index, self.tau, self.min_candidates, self.max_candidates)
        # Of those, keep the ones whose row of the similarity matrix is among the K_i + 1 nearest to the image's own.
        distance = memory.adjacency_distance(index, similarity)
        positives &= closest(distance, width + 1)
        # An image that nothing resembles (or whose row is not written yet) keeps itself only.
        positives &= (k > 1).unsqueeze(1)
        return positives.scatter_(1, index.unsqueeze(1), True)
