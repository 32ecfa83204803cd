"""Features standardised per camera: what all images of one camera share is taken out before labels are mined."""

import torch
from jaxtyping import Int
from torch import Tensor

from resight.storage import BLOCK_BYTES, Rows


def standardise_by_camera(rows: Rows, camids: Int[Tensor, " n"], out: Rows) -> None:
    """Take each camera's mean and spread out of its rows, and write unit rows again to `out`.

    What all images of one camera share (colour cast, background) is what makes its strangers look alike; without it the
    same identity in two cameras can be found. Cameras are compared with themselves only: a camera with a single image
    keeps its row. Images of unknown camera count as one camera more. Rows not yet written (zero) stay zero and do not
    count.
    """
    step = max(1, BLOCK_BYTES // (rows.dim * 8))
    for camid in camids.unique():
        parts = (camids == camid).nonzero().squeeze(1).split(step)
        count = 0
        total, squares = torch.zeros(2, rows.dim, dtype=torch.float64, device=rows.device)
        for part in parts:
            piece = rows.read(part).double()
            count += int((piece.abs().sum(dim=1) > 0).sum())
            total += piece.sum(dim=0)
            squares += piece.square().sum(dim=0)
        mean = total / max(count, 1)
        spread = ((squares - count * mean.square()) / max(count - 1, 1)).clamp_min(0).sqrt().clamp_min(1e-6)
        for part in parts:
            piece = rows.read(part)
            if count > 1:
                standard = torch.nn.functional.normalize((piece - mean.to(piece)) / spread.to(piece), dim=1)
                piece = torch.where((piece.abs().sum(dim=1) > 0).unsqueeze(1), standard, piece)
            out.write(part, piece)
