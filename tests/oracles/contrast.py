"""InfoNCE, the camera contrast and the updates of proxies by loops over their definitions."""

import math

import torch
from torch import Tensor

from oracles.multilabel import mean


def weighed(losses: list[float | None], weights: list[float]) -> float:
    """Σ w l / Σ w over the rows that have a loss; 0 where there is nothing to sum."""
    rows = [(w, loss) for w, loss in zip(weights, losses, strict=True) if loss is not None]
    total = sum(w for w, _ in rows)
    return sum(w * loss for w, loss in rows) / total if total else 0.0


def surprise(chosen: float, others: list[float], temperature: float) -> float:
    """−log of the share that `chosen` has of all exp(z/T)."""
    highest = max([chosen, *others])
    rest = math.fsum(math.exp((z - highest) / temperature) for z in [chosen, *others])
    return -(chosen - highest) / temperature + math.log(rest)


def infonce(scores: Tensor, positives: Tensor, temperature: float, weights: list[float]) -> float:
    """Each positive against the negatives alone."""
    losses: list[float | None] = []
    for row, marks in zip(scores.tolist(), positives.tolist(), strict=True):
        near = [z for z, positive in zip(row, marks, strict=True) if positive and z != -math.inf]
        far = [z for z, positive in zip(row, marks, strict=True) if not positive and z != -math.inf]
        losses.append(mean([surprise(z, far, temperature) for z in near]) if near else None)
    return weighed(losses, weights)


def camera(
    scores: Tensor, positives: Tensor, same: Tensor, weights: list[float], settings: tuple[float, float, int, int]
) -> float:
    """Within one's camera, all rows compete; across cameras, the (hardest) positives and the hardest negatives."""
    temperature, across, hard, hardest_positives = settings
    within: list[float | None] = []
    between: list[float | None] = []
    for row, marks, own in zip(scores.tolist(), positives.tolist(), same.tolist(), strict=True):
        columns = [j for j in range(len(row)) if row[j] != -math.inf]
        near = [j for j in columns if marks[j]]
        here, near_here = [j for j in columns if own[j]], [j for j in near if own[j]]
        against = sorted((row[j] for j in columns if not marks[j]), reverse=True)[:hard]
        if hardest_positives:
            away = [j for j in near if not own[j]]
            near = sorted(away or near, key=lambda j: row[j])[:hardest_positives]
        within.append(
            mean([surprise(row[j], [row[k] for k in here if k != j], temperature) for j in near_here])
            if near_here
            else None
        )
        between.append(
            mean([surprise(row[j], [row[k] for k in near if k != j] + against, temperature) for j in near])
            if near
            else None
        )
    return (1 - across) * weighed(within, weights) + across * weighed(between, weights)


def unit(row: Tensor) -> Tensor:
    """The row at unit length."""
    return row / row.norm()


def updated(rows: Tensor, own: list[int], embeddings: Tensor, momentum: float, how: str) -> Tensor:
    """Rows after a batch, image by image or row by row; `own` is −1 for an image without a row."""
    rows = rows.clone()
    if how == "each":
        for row, embedding in zip(own, embeddings, strict=True):
            if row >= 0:
                rows[row] = unit(momentum * rows[row] + (1 - momentum) * embedding)
        return rows
    for row in sorted(set(own) - {-1}):
        members = embeddings[torch.tensor([i for i, other in enumerate(own) if other == row])]
        chosen = members.mean(dim=0) if how == "mean" else members[int((members @ rows[row]).argmin())]
        rows[row] = unit(momentum * rows[row] + (1 - momentum) * chosen)
    return rows
