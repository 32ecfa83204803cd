"""DPLM: positives that are similar, rank the image highly in turn, and stand alike to their common neighbours.

Paper: Yu & Oh, IROS 2021, "Unsupervised Vehicle Re-Identification via Self-supervised Metric Learning using Feature
Dictionary" (SSML-FD).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from resight.errors import ConfigError
from resight.miners.candidates import CandidateSettings
from resight.miners.mplp import consistent_prefix
from resight.neighbours import cut
from resight.types import Memory


@dataclass(frozen=True, slots=True)
class DPLM(CandidateSettings):
    """P(i) = ((a) ∩ (c) ∪ {i}) ∩ (b), plus i.

    (a) similarity: Top(i, K_i). (b) relative-rank consistency: the walk of MPLP. (c) adjacent feature distribution: of
    the most similar images those whose similarities to one another are distributed most like the image's own.

    Attributes:
        neighbourhood: how many most similar images test (c) looks at, the image itself included; the paper's 100.
    """

    neighbourhood: int = 100

    reads_ranks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        CandidateSettings.__post_init__(self)
        if self.neighbourhood < 1:
            raise ConfigError(f"miner.neighbourhood must be at least 1, got {self.neighbourhood}")

    @property
    def list_length(self) -> int:
        """How many neighbours of each image to list where labels of all images are mined at once."""
        return max(self.neighbourhood, self.min_candidates, self.max_candidates) + 2

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mine the images at `index`; the own index is always positive."""
        most = max(self.max_candidates, self.neighbourhood) if self.max_candidates else 0
        top = memory.top(index, self.tau, max(self.min_candidates, self.neighbourhood), most)
        width = cut(top.k, len(memory), self.min_candidates, self.max_candidates)
        kept = (top.place < width.unsqueeze(1)) & consistent_prefix(memory, index, top, width)  # (a) and (b)
        several = (kept.sum(dim=1) > 1).nonzero().squeeze(1)
        for rows in several.split(32):  # (c), where there is anything left to test
            near = top.index[rows, : self.neighbourhood]
            alike = alike_among_neighbours(memory, near, width[rows])
            kept[rows, : near.shape[1]] &= alike
            kept[rows, near.shape[1] :] = False
        return top.positives(kept, len(memory))


def alike_among_neighbours(memory: Memory, near: Int[Tensor, "b m"], width: Int[Tensor, " b"]) -> Bool[Tensor, "b m"]:
    """Mark the `width[i]` of the m neighbours whose rows of their own m×m similarities are nearest to the first one's.

    The diagonal of those similarities is 0; equal distances keep the order of the neighbours.
    """
    features = memory.read(near)
    s = features @ features.transpose(1, 2)
    s.diagonal(dim1=1, dim2=2).zero_()
    distance = (s - s[:, :1]).square_().sum(dim=2)
    order = distance.sort(dim=1, stable=True).indices
    place = torch.arange(near.shape[1], device=near.device)
    return torch.zeros_like(near, dtype=torch.bool).scatter_(1, order, place < width.unsqueeze(1))
