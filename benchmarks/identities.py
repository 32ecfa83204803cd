"""Unit rows for the benchmarks: images of one identity side by side, cosine about 0.7 within one."""

from collections.abc import Iterator

import torch

IMAGES = 17
"""Images an identity, about as on Market-1501."""


def identity_rows(images: int, dim: int, *, identities: int, common: float = 0.0) -> Iterator[torch.Tensor]:
    """Give the rows in pieces of so many `identities`; `common`: how much all images resemble each other."""
    generator = torch.Generator().manual_seed(1)
    shared = common * torch.randn(1, dim, generator=generator) if common else torch.zeros(1, dim)
    for first in range(0, images, identities * IMAGES):
        count = min(identities * IMAGES, images - first)
        centres = torch.randn(-(-count // IMAGES), dim, generator=generator)
        rows = centres.repeat_interleave(IMAGES, dim=0)[:count] + shared
        rows += 0.65 * torch.randn(count, dim, generator=generator)
        yield torch.nn.functional.normalize(rows, dim=1)
