"""Self-only labels: each image is its own only positive, P(i) = {i}. The warm-up of every method."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from resight.types import Memory


@dataclass(frozen=True, slots=True)
class SelfOnly:
    """Instance discrimination; needs nothing from the memory but its length."""

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mark the own index of each image."""
        positives = torch.zeros(len(index), len(memory), dtype=torch.bool, device=index.device)
        return positives.scatter_(1, index.unsqueeze(1), True)
