"""GSMLP: positives that are similar to the image *and* stand alike to all other images.

Paper: Yu & Oh 2021, "Unsupervised Person Re-identification via Multi-Label Prediction and Classification based on
Graph-Structural Insight".
"""

from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from resight.miners.candidates import CandidateSettings
from resight.neighbours import among_closest
from resight.types import Memory


@dataclass(frozen=True, slots=True)
class GSMLP(CandidateSettings):
    """P(i) = (Top(i, K_i) ∩ Adj(i, K_i + 1)) ∪ {i}, and {i} alone where no other image reaches `tau`."""

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mine the images at `index`; the own index is always positive."""
        # Candidates: the K_i most similar images.
        top = memory.top(index, self.tau, self.min_candidates, self.max_candidates)
        # Of those, keep the ones whose row of the similarity matrix is among the K_i + 1 nearest to the image's own.
        kept = among_closest(memory.adjacency_distance(index), top.index, top.width + 1)
        # An image that nothing resembles (or whose row is not written yet) keeps itself only.
        kept &= (top.k > 1).unsqueeze(1)
        return top.positives(kept, len(memory))
