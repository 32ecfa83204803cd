"""Where some images stand among all, for the indicators of `trust`: nearest images, and nearest of other cameras."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.neighbours import largest
from resight.storage import Rows, product
from resight.types import UNKNOWN_CAMID

NEAR = 10
"""Neighbours of an image that are compared."""

NONE = -1
"""In place of a neighbour where an image has fewer than were asked for."""

PRODUCT_ELEMENTS = 2**25
"""Scores of images asked that are held at a time."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where M images stand among all N, each image left out of its own lists.

    Attributes:
        index: the images that were asked.
        near: their nearest images, best first.
        own_rank: 1 + the images that score more than the own row does; 1 for a row asked among its like.
        across: their nearest images of other cameras; `NONE` throughout where the image's camera is not known.
        ahead: images of any camera that score more than the best of another camera; 0 where there is none.
    """

    index: Int[Tensor, " m"]
    near: Int[Tensor, "m k"]
    own_rank: Int[Tensor, " m"]
    across: Int[Tensor, "m k"]
    ahead: Int[Tensor, " m"]

    @property
    def crossing(self) -> Bool[Tensor, " m"]:
        """Which images have a neighbour in another camera."""
        return (self.across != NONE).any(dim=1)


def neighbours(
    rows: Rows,
    camids: Int[Tensor, " n"],
    index: Int[Tensor, " m"],
    *,
    near: int = NEAR,
    views: Float[Tensor, "m d"] | None = None,
) -> Neighbours:
    """List the nearest of the images at `index` among all, in blocks; `views` stand in for their rows."""
    camids, index = camids.to(rows.device), index.to(rows.device)
    near = max(0, min(near, len(rows) - 1))
    parts = []
    for block in torch.arange(len(index), device=rows.device).split(block_rows(rows)) if near else ():
        images = index[block]
        similarity = product(rows.read(images) if views is None else views[block.cpu()].to(rows.device), rows)
        own = similarity.gather(1, images.unsqueeze(1))
        rank = 1 + (similarity > own).sum(dim=1) if views is not None else torch.ones_like(images)
        similarity.scatter_(1, images.unsqueeze(1), -torch.inf)
        _, lists = largest(similarity, near)
        away = similarity.masked_fill(~other_camera(camids, images), -torch.inf)
        scores, across = largest(away, near)
        best = scores[:, :1]
        ahead = (similarity > best).sum(dim=1) * (best.squeeze(1) > -torch.inf)
        parts.append((images, lists, rank, across.masked_fill(scores == -torch.inf, NONE), ahead))
    if not parts:
        none = index.new_empty(len(index), 0)
        return Neighbours(index, none, torch.ones_like(index), none, torch.zeros_like(index))
    return Neighbours(*(torch.cat(column) for column in zip(*parts, strict=True)))


def other_camera(camids: Int[Tensor, " n"], images: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
    """Mark the images that are known to be of another camera."""
    known = (camids != UNKNOWN_CAMID) & (camids[images] != UNKNOWN_CAMID).unsqueeze(1)
    return known & (camids != camids[images].unsqueeze(1))


def block_rows(rows: Rows) -> int:
    """How many images to ask at a time."""
    return max(1, min(1024, PRODUCT_ELEMENTS // max(1, len(rows))))


def overlap(lists: Int[Tensor, "m k"], others: Int[Tensor, "m k"]) -> float:
    """Give the share of each list that stands in the other one too, averaged; `NONE` counts in neither."""
    same = (lists.unsqueeze(2) == others.to(lists.device).unsqueeze(1)).any(dim=2) & (lists != NONE)
    return mean(same.sum(dim=1) / (lists != NONE).sum(dim=1).clamp(min=1))


def mean(values: Tensor) -> float:
    """Average in double precision, so that the order of the images does not matter."""
    return float(values.double().mean())
