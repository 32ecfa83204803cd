"""Features standardised per camera: what all images of one camera share is taken out before they are compared."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from resight.storage import BLOCK_BYTES, Rows


def standardise_by_camera(rows: Rows, camids: Int[Tensor, " n"], out: Rows) -> None:
    """Take each camera's mean and spread out of its rows, and write unit rows again to `out`.

    What all images of one camera share (colour cast, background) is what makes its strangers look alike; without it the
    same identity in two cameras can be found. Cameras are compared with themselves only: a camera with a single image
    keeps its row. Images of unknown camera count as one camera more. Rows not yet written (zero) stay zero and do not
    count.
    """
    for camid in camids.unique():
        index = (camids == camid).nonzero().squeeze(1)
        standardise(rows, index, statistics_of(rows, index), out)


def standardise_like(
    rows: Float[Tensor, "n d"],
    camids: Int[Tensor, " n"],
    model: tuple[Float[Tensor, "m d"], Int[Tensor, " m"]],
) -> Float[Tensor, "n d"]:
    """Give unit rows from which is taken what `model`, other rows and their cameras, show of each camera.

    A camera of which the model holds fewer than two images keeps its rows.
    """
    out = Rows(rows.clone())
    for camid in camids.unique():
        index = (camids == camid).nonzero().squeeze(1)
        others = (model[1] == camid).nonzero().squeeze(1)
        standardise(Rows(rows), index, statistics_of(Rows(model[0]), others), out)
    return out.data


Statistics = tuple[Float[Tensor, " d"], Float[Tensor, " d"], int]
"""Mean and spread of some rows, float64, and how many there are."""


def statistics_of(rows: Rows, index: Int[Tensor, " b"]) -> Statistics:
    """Measure the rows at `index`, but for those not yet written."""
    count = 0
    total, squares = torch.zeros(2, rows.dim, dtype=torch.float64, device=rows.device)
    for part in index.split(step_of(rows)):
        piece = rows.read(part).double()
        count += int((piece.abs().sum(dim=1) > 0).sum())
        total += piece.sum(dim=0)
        squares += piece.square().sum(dim=0)
    mean = total / max(count, 1)
    spread = ((squares - count * mean.square()) / max(count - 1, 1)).clamp_min(0).sqrt().clamp_min(1e-6)
    return mean, spread, count


def standardise(rows: Rows, index: Int[Tensor, " b"], statistics: Statistics, out: Rows) -> None:
    """Write the rows at `index` to `out` without what `statistics` says they share."""
    mean, spread, count = statistics
    for part in index.split(step_of(rows)):
        piece = rows.read(part)
        if count > 1:
            standard = normalize((piece - mean.to(piece)) / spread.to(piece), dim=1)
            piece = torch.where((piece.abs().sum(dim=1) > 0).unsqueeze(1), standard, piece)
        out.write(part, piece)


def step_of(rows: Rows) -> int:
    """How many rows to work on at a time."""
    return max(1, BLOCK_BYTES // (rows.dim * 8))
