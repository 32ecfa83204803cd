"""Precision and recall of mined positives: the one place where positives meet identities, out of training's sight."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class PositivesAudit:
    """Counts mined pairs that share an identity. An image's own index is right by construction and left out.

    precision = right pairs mined / pairs mined (None where none was mined); recall = right pairs mined / right pairs.
    """

    def __init__(self, pids: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.pids = torch.tensor(list(pids), device=device)
        self.reset()

    def reset(self) -> None:
        """Start counting anew."""
        self.right = torch.zeros((), dtype=torch.long, device=self.pids.device)
        self.mined = torch.zeros((), dtype=torch.long, device=self.pids.device)
        self.true = torch.zeros((), dtype=torch.long, device=self.pids.device)

    def watch(self, index: Int[Tensor, " b"], positives: Bool[Tensor, "b n"]) -> None:
        """Count one batch."""
        same = self.pids[index].unsqueeze(1) == self.pids
        self.right += (same & positives).sum() - len(index)
        self.mined += positives.sum() - len(index)
        self.true += same.sum() - len(index)

    def observed(self) -> dict[str, Any]:
        """Give precision and recall since the last call."""
        right, mined, true = float(self.right), float(self.mined), float(self.true)
        self.reset()
        return {
            "precision": round(right / mined, 5) if mined else None,
            "recall": round(right / true, 5) if true else None,
        }
