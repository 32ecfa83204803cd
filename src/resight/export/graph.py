"""A model's test embedding as one function of one image tensor: what is written into a file."""

import copy
import json

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from resight import __version__
from resight.backbones import ReidModel
from resight.checkpoint import digest
from resight.data.transforms import IMAGENET, Normalisation, to_float

INPUT, OUTPUT = "images", "embeddings"
"""Names of a graph's one input and one output."""

RAW, NORMALISED, IMAGENET_NORMALISED = "raw", "normalised", "imagenet"
TAKES = (RAW, NORMALISED, IMAGENET_NORMALISED)


class EmbeddingGraph(nn.Module):
    """Images of one size, any number of them, to unit rows of float32.

    `takes`: "raw" is RGB as uint8, 0 to 255; "normalised" is float32 scaled as the model wants it; "imagenet" is
    float32 scaled by ImageNet's mean and standard deviation, whatever the model wants. The model is copied, to the CPU,
    in float32, in eval mode.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: ReidModel, size: tuple[int, int], takes: str) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float().eval()
        self.size, self.takes = size, takes
        scale, shift = rescaling(model.normalisation, takes)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.eval()  # as a whole: an exporter gives all parts the mode of the whole back

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Embed."""
        if self.takes != NORMALISED:
            images = (images.float() - self.shift) / self.scale
        return self.model(images).test

    def example(self) -> Shaped[Tensor, "2 3 h w"]:
        """Give two grey images of the kind that the graph takes."""
        return self.fed(torch.full((2, 3, *self.size), 128, dtype=torch.uint8))

    def fed(self, images: UInt8[Tensor, "b 3 h w"]) -> Shaped[Tensor, "b 3 h w"]:
        """Turn RGB images into what the graph takes."""
        if self.takes == RAW:
            return images.contiguous()
        return to_float(images, IMAGENET if self.takes == IMAGENET_NORMALISED else self.model.normalisation)

    @torch.no_grad()
    def expected(self, images: UInt8[Tensor, "b 3 h w"]) -> Float[np.ndarray, "b d"]:
        """Give the test embeddings as the model itself computes them from RGB images."""
        return self.model(to_float(images, self.model.normalisation)).test.numpy()

    def facts(self) -> dict[str, str]:
        """Say what the graph takes and gives, for whoever meets the file without its run."""
        scales = {RAW: None, NORMALISED: self.model.normalisation, IMAGENET_NORMALISED: IMAGENET}[self.takes]
        kind = "uint8" if scales is None else "float32"
        return {
            "written_by": f"resight {__version__}",
            "fingerprint": digest(self.model.state_dict()),
            "backbone": self.model.config.name,
            "input": f"{INPUT}: batch x 3 x {self.size[0]} x {self.size[1]}, {kind}",
            "colour_order": "RGB",
            "scale": "0 to 255; the graph normalises" if scales is None else "(x - mean) / std, x from 0 to 255",
            "mean": json.dumps(None if scales is None else scales.mean),
            "std": json.dumps(None if scales is None else scales.std),
            "resize": "before the graph, bilinear with antialiasing, proportions not kept",
            "output": f"{OUTPUT}: batch x {self.model.dim}, float32, unit rows; the dot product is the score",
            "output_dim": str(self.model.dim),
        }


def rescaling(wanted: Normalisation, takes: str) -> tuple[Tensor, Tensor]:
    """Give scale and shift, (1, 3, 1, 1) each: (x − shift) / scale is what the model wants.

    Of x = (p − m) / s with ImageNet's m and s, (p − mean) / std is (x − (mean − m) / s) / (std / s).
    """
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (wanted.mean, wanted.std))
    if takes == IMAGENET_NORMALISED:
        m, s = (torch.tensor(values, dtype=torch.float64) for values in (IMAGENET.mean, IMAGENET.std))
        mean, std = (mean - m) / s, std / s
    return std.float().view(1, 3, 1, 1), mean.float().view(1, 3, 1, 1)


def lowest_cosine(rows: Float[np.ndarray, "b d"], others: Float[np.ndarray, "b1 d1"]) -> float:
    """Give the lowest cosine of a row to its twin; −1 where anything is not finite, or the shapes differ."""
    if rows.shape != others.shape or not np.isfinite(rows).all():
        return -1.0
    one, two = rows.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(((one * two).sum(1) / np.maximum(lengths, 1e-12)).min())
