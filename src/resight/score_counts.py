"""Scores of all pairs of images, counted by kind of pair into narrow cells, without the N×N matrix."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from resight.errors import ConfigError, DataError
from resight.types import UNKNOWN_CAMID

CELLS = 20_000
"""Cells of equal width from cosine −1 to 1."""

WIDTH = 2 / CELLS

BLOCK = 2**22
"""Most scores held at once."""

GROUP = 64
"""Look-alikes that a simulated stranger is drawn among; see `simulated_strangers`.

Chosen among 16 to 128 by how well strangers' scores met those of different pairs on labelled people and vehicles.
"""

STRANGERS = 2048
"""How many strangers are simulated at most."""

Progress = Callable[[int, int], None]
Kinds = Callable[[Int[Tensor, " b"]], Int[Tensor, "b n"]]
"""Images → the kind of each of their pairs with all images, 0 up."""


def middles() -> Float[Tensor, " cells"]:
    """Give the score in the middle of each cell."""
    return (torch.arange(CELLS, dtype=torch.float64) + 0.5) * WIDTH - 1


def count_pairs(
    embeddings: Float[Tensor, "n d"], kinds: int, kind_of: Kinds, *, progress: Progress | None = None
) -> Float[Tensor, "kinds cells"]:
    """Count the scores of all pairs i < j of unit rows into cells, for each kind of pair.

    Holds no more than a few blocks of `BLOCK` scores. `progress` is told rows done and rows in all.
    """
    total = torch.zeros(kinds, CELLS, dtype=torch.float64)
    n = len(embeddings)
    columns = torch.arange(n, device=embeddings.device)
    for rows in columns.split(max(1, min(1024, BLOCK // max(1, n)))):
        first, last = int(rows[0]), int(rows[-1]) + 1
        scores, kind = embeddings[rows] @ embeddings[first:].T, kind_of(rows)[:, first:]
        inner = last - first
        once = torch.ones(inner, inner, dtype=torch.bool, device=columns.device).triu(1)
        total += cell_counts(scores[:, :inner][once], kind[:, :inner][once], kinds)
        total += cell_counts(scores[:, inner:].flatten(), kind[:, inner:].flatten(), kinds)
        if progress is not None:
            progress(int(rows[-1]) + 1, n)
    return total


def cell_counts(scores: Float[Tensor, " p"], kind: Int[Tensor, " p"], kinds: int) -> Float[Tensor, "kinds cells"]:
    """Count scores into cells; rounding beyond −1 and 1 is taken back."""
    cell = ((scores + 1) / WIDTH).to(torch.int32).clamp_(0, CELLS - 1)
    cell += kind.to(torch.int32) * CELLS
    return cell.bincount(minlength=kinds * CELLS).view(kinds, CELLS).double().cpu()


def share_from(counts: Float[Tensor, " cells"], score: float) -> float:
    """Give the share of pairs that score at least `score`; those of one cell are taken to lie evenly in it."""
    place = (min(max(score, -1.0), 1.0) + 1) / WIDTH
    cell = min(int(place), CELLS - 1)
    above = counts[cell + 1 :].sum() + counts[cell] * (cell + 1 - place)
    return float(above / counts.sum())


def threshold_at(counts: Float[Tensor, " cells"], rate: float, *, pairs: float | None = None) -> float:
    """Give the lowest score that no more than `rate` of the different pairs reach, between −1 and 1.

    `pairs`: how many different pairs the rate is of; all that are counted when None. A higher rate never gives a higher
    threshold. Inside a cell it is interpolated, inverse to `share_from`.

    Raises:
        ConfigError: the rate is below one pair in all of them.
    """
    pairs = float(counts.sum()) if pairs is None else pairs
    allowed = rate * pairs
    if allowed < 1 - 1e-9:
        raise ConfigError(
            f"--false-match-rate {rate:g} is below what {pairs:,.0f} different pairs can tell: the smallest is "
            f"{smallest_rate(pairs)}; ask for that or more, or give more images"
        )
    tail = counts.flip(0).cumsum(0).flip(0)
    over = (tail > allowed).nonzero()
    if not len(over):
        return -1.0
    cell = int(over[-1])
    above = float(tail[cell + 1]) if cell + 1 < CELLS else 0.0
    return (cell + 1 - (allowed - above) / float(counts[cell])) * WIDTH - 1


def smallest_rate(pairs: float) -> str:
    """Give one in so many pairs as a number of three digits, rounded up, so that it may be asked for."""
    if pairs < 1:
        return "none"
    unit = 10.0 ** (math.floor(-math.log10(pairs)) - 2)
    return f"{math.ceil(1 / pairs / unit - 1e-9) * unit:.3g}"


def cameras_known(camids: Int[Tensor, " n"]) -> bool:
    """Say whether every image has a camera and there are at least two."""
    return bool((camids != UNKNOWN_CAMID).all()) and len(camids.unique()) > 1


def within_camera(camids: Int[Tensor, " n"], rows: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
    """Mark the images of the same camera; all where cameras are not known."""
    if not cameras_known(camids):
        return torch.ones(len(rows), len(camids), dtype=torch.bool, device=camids.device)
    return camids[rows].unsqueeze(1) == camids


def simulated_strangers(
    embeddings: Float[Tensor, "n d"], camids: Int[Tensor, " n"], *, seed: int = 0
) -> tuple[Float[Tensor, "m d"], Int[Tensor, " m"]]:
    """Draw embeddings of people, vehicles or animals that are not there: unit rows, and the camera of each.

    Each is drawn from the normal distribution with the mean and covariance of an image's `GROUP` nearest in its own
    camera (in all, where that camera has fewer than twice as many): it looks like that kind, and is nobody of them as
    long as a group holds several identities. Scores against it are a guess at those of different pairs.

    Paper: Silverman and Young 1987 (smoothed bootstrap), here with a local covariance.

    Raises:
        DataError: there are fewer than 2 · `GROUP` images.
    """
    n = len(embeddings)
    if n < 2 * GROUP:
        raise DataError(
            f"a calibration without answers needs at least {2 * GROUP} images to guess what strangers score, got {n}; "
            "give more images, or answers to some pairs by --answers"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(n, generator=generator)[:STRANGERS].to(embeddings.device)
    parts = []
    for rows in chosen.split(max(1, min(256, BLOCK // n))):
        scores = embeddings[rows] @ embeddings.T
        own = within_camera(camids, rows)
        own |= own.sum(dim=1, keepdim=True) < 2 * GROUP
        near = scores.masked_fill(~own, -torch.inf).topk(GROUP, dim=1).indices
        draw = torch.randn(len(rows), 1, GROUP, generator=generator).to(embeddings)
        group = embeddings[near]
        mean = group.mean(dim=1, keepdim=True)
        parts.append((mean + draw @ (group - mean) / (GROUP - 1) ** 0.5).squeeze(1))
    return functional.normalize(torch.cat(parts), dim=1), camids[chosen]


def count_strangers(
    embeddings: Float[Tensor, "n d"], camids: Int[Tensor, " n"], *, seed: int = 0
) -> Float[Tensor, "2 cells"]:
    """Count the scores of simulated strangers against all images: across cameras, and within one.

    Raises:
        DataError: too few images.
    """
    strangers, cameras = simulated_strangers(embeddings, camids, seed=seed)
    known = cameras_known(camids)
    total = torch.zeros(2, CELLS, dtype=torch.float64)
    for rows in torch.arange(len(strangers), device=embeddings.device).split(max(1, BLOCK // len(embeddings))):
        within = (cameras[rows].unsqueeze(1) == camids) if known else torch.ones(len(rows), len(camids)).bool()
        scores = strangers[rows] @ embeddings.T
        total += cell_counts(scores.flatten(), within.to(scores.device).flatten().long(), 2)
    return total
