"""MPLP: walk down the most similar images for as long as each of them ranks the image highly in turn.

Paper: Wang & Zhang, CVPR 2020, "Unsupervised Person Re-identification via Multi-label Classification".
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from resight.miners.candidates import CandidateSettings
from resight.types import Candidates, Memory


@dataclass(frozen=True, slots=True)
class MPLP(CandidateSettings):
    """P(i): the walk through Top(i, K_i), ended by the first j with rank_j(i) > K_i, cut to k_i items."""

    reads_ranks: ClassVar[bool] = True

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mine the images at `index`; the own index is always positive."""
        top = memory.top(index, self.tau, self.min_candidates, self.max_candidates)
        return top.positives(consistent_prefix(memory, index, top, top.width), len(memory))


def consistent_prefix(
    memory: Memory, index: Int[Tensor, " b"], top: Candidates, width: Int[Tensor, " b"]
) -> Bool[Tensor, "b k"]:
    """Mark the candidates before the first one with rank_j(i) > `width[i]`, no more than min(k_i, `width[i]`).

    Only as far as each walk goes are ranks counted: one step, then two, four and so on for those still walking. What
    lies beyond k_i could not be kept, so it is not asked for.
    """
    end = torch.minimum(top.k, width)
    passed = torch.ones_like(end)  # the image itself, which no other can outrank
    walking = (end > 1).nonzero().squeeze(1)
    place, step = 1, 1
    while len(walking):
        steps = torch.arange(place, min(place + step, top.index.shape[1]), device=index.device)
        row, column = (steps < end[walking].unsqueeze(1)).nonzero(as_tuple=True)
        image = walking[row]
        outranked = memory.outranked(top.index[image, steps[column]], index[image], width[image])
        fine = torch.zeros(len(walking), len(steps), dtype=torch.bool, device=index.device)
        fine[row, column] = ~outranked
        taken = fine.long().cumprod(dim=1).sum(dim=1)
        passed[walking] += taken
        place, step = place + len(steps), 2 * step
        walking = walking[(taken == len(steps)) & (end[walking] > place)]
    return top.place < passed.unsqueeze(1)
