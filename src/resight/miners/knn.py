"""KNN: the k most similar images, whatever their similarity.

Paper: the baseline of Yu & Oh 2021 (GSMLP + SMLC).
"""

from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from resight.errors import ConfigError
from resight.types import Memory


@dataclass(frozen=True, slots=True)
class KNN:
    """P(i) = Top(i, k).

    Attributes:
        k: number of positives, the image itself included.
    """

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"miner.k must be at least 1, got {self.k}")

    @property
    def list_length(self) -> int:
        """How many neighbours of each image to list where labels of all images are mined at once."""
        return self.k

    def __call__(self, memory: Memory, index: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
        """Mine the images at `index`; the own index is always positive."""
        top = memory.top(index, 1.0, self.k, self.k)
        return top.positives(top.within, len(memory))
