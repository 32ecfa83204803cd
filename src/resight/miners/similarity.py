"""SS, similarity selection: the images that are similar enough, and never fewer than L.

Paper: the baseline of Yu & Oh 2021 (GSMLP + SMLC), which calls it SS.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from resight.miners.candidates import CandidateSettings
from resight.types import Memory


@dataclass(frozen=True, slots=True)
class Similarity(CandidateSettings):
    """P(i) = Top(i, K_i)."""

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mine the images at `index`; the own index is always positive."""
        top = memory.top(index, self.tau, self.min_candidates, self.max_candidates)
        return top.positives(top.within, len(memory))
