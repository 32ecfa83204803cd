"""The candidates that the graph miners start from: Top(i, K_i), K_i = max(k_i, L)."""

from dataclasses import dataclass
from typing import ClassVar

from resight.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """How many of the most similar images are looked at.

    Attributes:
        tau: cosine from which an image counts towards k_i, in (0, 1].
        min_candidates: the papers' L: K_i = max(k_i, L).
        max_candidates: upper bound of K_i, ours; 0 is none, as published. On small data the features of all images
            grow alike while they train, k_i runs away from any fixed `tau`, and labels turn to noise; about as many
            as one identity has images keeps them clean.
    """

    tau: float = 0.6
    min_candidates: int = 10
    max_candidates: int = 0

    reads_ranks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.tau <= 1:
            raise ConfigError(f"miner.tau is a cosine and must lie in (0, 1], got {self.tau}")
        if self.min_candidates < 1:
            raise ConfigError(f"miner.min_candidates must be at least 1, got {self.min_candidates}")
        if self.max_candidates and self.max_candidates < self.min_candidates:
            raise ConfigError(
                f"miner.max_candidates must be 0 (no bound) or at least miner.min_candidates = {self.min_candidates}, "
                f"got {self.max_candidates}"
            )

    @property
    def list_length(self) -> int:
        """How many neighbours of each image to list where labels of all images are mined at once."""
        return max(100, self.min_candidates, self.max_candidates) + 2
