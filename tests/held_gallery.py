"""A gallery of vectors made by hand, without Milvus, for the tests of review and app."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from resight.gallery import Entry, Gallery

ROOT = Path("/crops")
MODEL = "f" * 32


class Holding(Gallery):
    """Entries and embeddings in memory."""

    where = "held"  # type: ignore[assignment]

    def __init__(self, entries: Sequence[Entry], rows: torch.Tensor) -> None:
        self.entries, self.rows = list(entries), rows

    def __len__(self) -> int:
        return len(self.entries)

    def blocks(self) -> Iterator[tuple[list[Entry], torch.Tensor]]:
        if self.entries:
            yield self.entries, self.rows

    def close(self) -> None:
        pass


def of_four(count: int = 12, **known: object) -> Holding:
    """Four identities of `count` crops each, far from each other."""
    centres = torch.eye(4, 16).repeat_interleave(count, 0)
    rows = torch.nn.functional.normalize(centres + 0.05 * torch.randn(4 * count, 16), dim=1)
    return Holding([Entry(f"{n:032x}", ROOT / f"{n:02}.jpg", **known) for n in range(4 * count)], rows)
