"""Galleries that are small enough for tests."""

import resource
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor

from resight.errors import GalleryError
from resight.gallery import Entry, Gallery, Where

DIM = 16
MODEL = "a1" * 16


def unit_rows(count: int, seed: int = 0, dim: int = DIM) -> Tensor:
    """Rows of length 1, drawn."""
    rows = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1)


def entries(count: int, first: int = 0) -> list[Entry]:
    """Entries of which something is not known here and there."""
    return [
        Entry(
            f"{n:032x}",
            Path(f"/crops/{n} [1] \"a\\b'.jpg"),
            (n, -2, 30, 60) if n % 3 == 0 else None,
            n % 4 if n % 5 else None,
            1.5 * n - 20 if n % 7 else None,
            n // 10 if n % 2 else None,
            ("person", "vehicle", None)[n % 3],
            "yard, \"north\"" if n % 4 else None,
        )
        for n in range(first, first + count)
    ]  # fmt: skip


def meets(entry: Entry, where: Where) -> bool:
    """Whether an entry meets all conditions, straight from their description."""
    asked = [
        (where.camids, entry.camid),
        (where.types, entry.type),
        (where.sources, entry.source),
        (where.paths, str(entry.path)),
    ]
    if any(some is not None and value not in some for some, value in asked):
        return False
    time = entry.timestamp
    late = where.after is None or (time is not None and time >= where.after)
    return late and (where.before is None or (time is not None and time < where.before))


def oracle(known: Sequence[Entry], rows: Tensor, query: Tensor, k: int, where: Where) -> list[tuple[str, float]]:
    """Search by sorting all scores."""
    scored = [(e.id, float(row.double() @ query.double())) for e, row in zip(known, rows, strict=True)
              if meets(e, where)]  # fmt: skip
    return sorted(scored, key=lambda pair: (-round(pair[1], 6), pair[0]))[:k]


def make(path: Path, count: int = 0, *, model: str = MODEL) -> Gallery:
    """A gallery with so many entries."""
    gallery = Gallery.create(path, fingerprint=model, dim=DIM, about={"backbone": "tiny"})
    if count:
        gallery.add(entries(count), unit_rows(count))
    return gallery


def add_all(path: Path, total: int, batch: int, told: Connection, most_bytes: int | None = None) -> None:
    """Add `total` entries in batches, and tell of each how many are acknowledged by then, or the error.

    `most_bytes`: how large a file may become, as on a disk that is full at once.
    """
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    rows = unit_rows(total)
    try:
        with Gallery.open(path) as gallery:
            told.send(0)
            for first in range(0, total, batch):
                gallery.add(entries(batch, first), rows[first : first + batch])
                told.send(first + batch)
    except GalleryError as error:
        told.send(str(error))
