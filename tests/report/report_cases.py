"""Drawn images and made-up embeddings for the tests of the report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from resight.recipes import load_recipe
from resight.report.material import Material
from resight.report.tested import Tested
from resight.types import Sample, Split

Facts = Sequence[tuple[int | None, int | None]]
"""Identity and camera of each image."""


def samples(facts: Facts, folder: str = "images") -> tuple[Sample, ...]:
    return tuple(Sample(Path(f"{folder}/{row}.jpg"), pid, camid) for row, (pid, camid) in enumerate(facts))


def unit(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def material(
    facts: Facts,
    embeddings: torch.Tensor,
    *,
    test: Tested | None = None,
    recipe: str = "gsmlp",
    settings: tuple[str, ...] = (),
) -> Material:
    images = Split("train", samples(facts))
    settled = load_recipe(recipe, overrides=["input.size=[128, 64]", *settings])
    return Material(settled, Path("images"), images, embeddings, test, len(images), ())


def scored(query: Facts, gallery: Facts, embeddings: tuple[torch.Tensor, torch.Tensor], **more: bool) -> Tested:
    splits = Split("query", samples(query, "query")), Split("gallery", samples(gallery, "gallery"))
    return Tested.of(embeddings, *splits, **more)


def noise(folder: Path, count: int, size: tuple[int, int] = (64, 128)) -> list[Path]:
    """Write pictures that do not compress, so that they take the most room."""
    random = np.random.default_rng(0)
    paths = []
    for row in range(count):
        pixels = random.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        paths.append(folder / f"noise{row}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths
