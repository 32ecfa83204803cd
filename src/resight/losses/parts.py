"""What all losses need: the scores of a row's positives, and those of its hardest negatives.

Both come as narrow tables in place of (b, n) masks, so that a loss computes on the chosen scores only.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.errors import ConfigError, ShapeError


class Chosen(NamedTuple):
    """Some scores of each row, packed to the left; `valid` is False at the places that a shorter row leaves over."""

    scores: Float[Tensor, "b w"]
    valid: Bool[Tensor, "b w"]


def positives_and_hardest(
    scores: Float[Tensor, "b n"], positives: Bool[Tensor, "b n"], *, share: float
) -> tuple[Chosen, Chosen]:
    """Give the scores of P and of H: of each row's positives, and of its hardest negatives, hardest first.

    Raises:
        ShapeError: the two differ in shape.
    """
    if scores.shape != positives.shape:
        raise ShapeError(
            f"scores and positives must have one shape, got {tuple(scores.shape)} and {tuple(positives.shape)}"
        )
    near, near_valid = positive_columns(positives)
    hard, hard_valid = hardest_negatives(scores, positives, near_valid.sum(dim=1), share=share)
    # One gather for both: its backward pass then fills one (b, n) gradient, not two.
    near_scores, hard_scores = scores.gather(1, torch.cat([near, hard], dim=1)).split([near.shape[1], hard.shape[1]], 1)
    return Chosen(near_scores, near_valid), Chosen(hard_scores, hard_valid)


def positive_columns(positives: Bool[Tensor, "b n"]) -> tuple[Int[Tensor, "b p"], Bool[Tensor, "b p"]]:
    """List the columns that are marked in each row, ascending, and which places of the list are in use."""
    row, column = positives.nonzero(as_tuple=True)
    count = torch.bincount(row, minlength=len(positives))
    place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    valid = torch.arange(max(1, int(count.max())), device=row.device) < count.unsqueeze(1)
    columns = torch.zeros_like(valid, dtype=torch.long)
    columns[row, place] = column
    return columns, valid


def hardest_negatives(
    scores: Float[Tensor, "b n"], positives: Bool[Tensor, "b n"], positive_count: Int[Tensor, " b"], *, share: float
) -> tuple[Int[Tensor, "b h"], Bool[Tensor, "b h"]]:
    """List, for each row, the columns of the ⌊`share` · negatives⌋ negatives that score highest, hardest first.

    At least one where there is any. Equal scores come in no particular order.
    """
    # A handful of numbers: on the CPU they can be float64 whatever the device, and ⌊0.01 · 100⌋ is 1.
    available = scores.shape[1] - positive_count.cpu()
    count = (available.double() * share + 1e-6).floor().long().clamp(min=1).minimum(available)
    most = max(1, int(count.max()))
    columns = scores.detach().masked_fill(positives, -torch.inf).topk(most, dim=1).indices
    return columns, (torch.arange(most) < count.unsqueeze(1)).to(scores.device)


def pull_and_push(
    scores: Float[Tensor, "b n"], positives: Bool[Tensor, "b n"], *, share: float
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """mean_{j∈P(i)} (z_ij − 1)² and mean_{j∈H(i)} (z_ij + 1)² of each row: the halves that MMCL, SMLC and DTL weigh.

    Raises:
        ShapeError: the two differ in shape.
    """
    near, hard = positives_and_hardest(scores, positives, share=share)
    return row_mean((near.scores - 1).square(), near.valid), row_mean((hard.scores + 1).square(), hard.valid)


def row_mean(values: Float[Tensor, "b w"], valid: Bool[Tensor, "b w"]) -> Float[Tensor, " b"]:
    """Mean of the valid values of each row; 0 where there is none."""
    return (values * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)


def weighed_mean(
    losses: Float[Tensor, " b"], counts: Bool[Tensor, " b"], weights: Float[Tensor, " b"] | None
) -> Float[Tensor, ""]:
    """Mean of the rows that count, weighed where there are weights; 0, not NaN, where there is nothing to count."""
    share = counts.to(losses.dtype) if weights is None else counts * weights.to(losses)
    total = share.sum()
    return (losses * share).sum() / torch.where(total > 0, total, 1.0)


def check_shapes(
    scores: Float[Tensor, "b m"], positives: Tensor, same_camera: Tensor | None, weights: Tensor | None
) -> None:
    """Raise ShapeError unless all fit the scores."""
    for name, marks in (("positives", positives), ("same_camera", same_camera)):
        if marks is not None and marks.shape != scores.shape:
            raise ShapeError(
                f"scores and {name} must have one shape, got {tuple(scores.shape)} and {tuple(marks.shape)}"
            )
    if weights is not None and weights.shape != scores.shape[:1]:
        raise ShapeError(f"weights must be ({len(scores)},), one per row of scores, got {tuple(weights.shape)}")


def check_temperature(temperature: float) -> None:
    """Raise ConfigError unless scores can be divided by the temperature."""
    if not temperature > 0:
        raise ConfigError(f"loss.temperature must be above 0, got {temperature}")


def check_delta(delta: float) -> None:
    """Raise ConfigError unless the weight of one half of a loss is above 0."""
    if not delta > 0:
        raise ConfigError(f"loss.delta must be above 0, got {delta}")


def check_share(share: float) -> None:
    """Raise ConfigError unless the share of negatives that count as hard lies in (0, 1]."""
    if not 0 < share <= 1:
        raise ConfigError(f"loss.hard_negative_share must lie in (0, 1], got {share}")
