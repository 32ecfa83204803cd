"""Asking a gallery: by embedding, by condition and by id."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resight.errors import GalleryError
from resight.gallery.engine import Engine
from resight.gallery.entries import SCALARS, Entry, Hit, Where
from resight.gallery.header import Header
from resight.gallery.rows import as_hit, checked_rows

MOST_HITS = 16384
"""Most rows that Milvus gives for one question."""

BLOCK = 1000
"""Entries asked for by their ids at a time."""

QUERIES = 64
"""Queries sent at a time."""

UNFLUSHED = 256
"""Entries in the embedded engine's memory from which on they are written out first: searching them there is slow."""

TIE = 6
"""Digits of a score that tell two hits apart; below that, float32 depends on the order of a sum."""


class Reader:
    """What may be asked of an open gallery."""

    def __init__(self, engine: Engine, header: Header) -> None:
        self._engine, self.header = engine, header
        self._change = threading.RLock()
        self._unflushed = UNFLUSHED

    @property
    def where(self) -> str:
        """Its folder or address, without a password."""
        return self._engine.where

    @property
    def fingerprint(self) -> str:
        """Of the model whose embeddings it holds."""
        return self.header.fingerprint

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.header.dim

    @property
    def about(self) -> dict[str, Any]:
        """What was said of it when it was made."""
        return dict(self.header.about)

    def __len__(self) -> int:
        return int(self._ask("query", filter="", output_fields=["count(*)"])[0]["count(*)"])

    def known(self, ids: Sequence[str]) -> set[str]:
        """Give those of the ids that are there."""
        return {str(row["id"]) for row in self._rows(ids, ["id"])}

    def get(self, ids: Sequence[str]) -> list[Entry]:
        """Give the entries with these ids, in that order.

        Raises:
            GalleryError: one is not there.
        """
        found = {str(row["id"]): Entry.from_row(row) for row in self._rows(ids, ["id", *SCALARS])}
        return [_of(found, id, self.where) for id in ids]

    def vectors(self, ids: Sequence[str]) -> Float[Tensor, "n d"]:
        """Give the embeddings of these ids, unit rows, in that order.

        Raises:
            GalleryError: one is not there.
        """
        rows = torch.empty(len(ids), self.dim)
        found = {str(row["id"]): torch.tensor(row["vector"]) for row in self._rows(ids, ["id", "vector"])}
        for place, id in enumerate(ids):
            rows[place] = _of(found, id, self.where)
        return rows

    def ids(self, where: Where = Where()) -> list[str]:  # noqa: B008 - it cannot be changed
        """Give the ids of all entries that are meant, in alphabetical order."""
        return [str(row["id"]) for row in self.scan(where, ["id"])]

    def blocks(
        self,
        where: Where = Where(),  # noqa: B008
        *,
        size: int = BLOCK,
    ) -> Iterator[tuple[list[Entry], Float[Tensor, "n d"]]]:
        """Walk over all entries that are meant and their embeddings, in the order of `ids`."""
        ids = self.ids(where)
        for start in range(0, len(ids), size):
            yield self._block(ids[start : start + size])

    def sample(self, most: int) -> tuple[list[Entry], Float[Tensor, "n d"]]:
        """Give up to `most` entries and their embeddings, as if drawn by chance: ids are digests of contents."""
        ids = self.ids()
        ids = ids[:: max(1, -(-len(ids) // most))]
        parts = [self._block(ids[start : start + BLOCK]) for start in range(0, len(ids), BLOCK)]
        rows = [vectors for _, vectors in parts] or [torch.empty(0, self.dim)]
        return [entry for entries, _ in parts for entry in entries], torch.cat(rows)

    def _block(self, ids: Sequence[str]) -> tuple[list[Entry], Float[Tensor, "n d"]]:
        found = {str(row["id"]): row for row in self._rows(ids, ["id", *SCALARS, "vector"])}
        rows = [_of(found, id, self.where) for id in ids]
        vectors = np.array([row["vector"] for row in rows], dtype=np.float32).reshape(len(rows), self.dim)
        return [Entry.from_row(row) for row in rows], torch.from_numpy(vectors)

    def search(
        self,
        vectors: Float[Tensor, "q d"],
        k: int = 10,
        where: Where = Where(),  # noqa: B008
    ) -> list[list[Hit]]:
        """Find the `k` entries with the highest cosine to each row, best first; fewer where there are fewer.

        Exact in a folder, and on a server with the index that `create` makes there. Ties stand by id.

        Raises:
            ShapeError: the rows are of another length than the gallery's, or not of unit length.
            GalleryError: `k` is below 1 or above `MOST_HITS`.
        """
        if not 1 <= k <= MOST_HITS:
            raise GalleryError(f"a search must ask for 1 to {MOST_HITS:,} hits, got {k}")
        rows = checked_rows(vectors, self.dim)
        if where.nothing or not len(rows):
            return [[] for _ in rows]
        how = {
            "filter": where.expression(),
            "limit": k,
            "anns_field": "vector",
            "output_fields": list(SCALARS),
            "search_params": {"metric_type": "IP"},
        }
        found = [hits for part in rows.split(QUERIES) for hits in self._ask("search", data=list(part.numpy()), **how)]
        return [sorted(map(as_hit, hits), key=lambda hit: (-round(hit.score, TIE), hit.entry.id)) for hits in found]

    @property
    def folder(self) -> Path | None:
        """Where it lies on this machine; None for a server."""
        return self._engine.folder

    def scan(self, where: Where, fields: Sequence[str]) -> list[dict[str, Any]]:
        """Give some fields of all entries that are meant, by id."""
        if where.nothing:
            return []
        with self._engine.said_plainly():
            self._settle()
            walk = self._engine.client.query_iterator(
                self._engine.collection, batch_size=MOST_HITS, filter=where.expression(), output_fields=list(fields)
            )
            rows: list[dict[str, Any]] = []
            while part := walk.next():
                rows += part
            walk.close()
        return sorted(rows, key=lambda row: str(row["id"]))

    def _rows(self, ids: Sequence[str], fields: list[str]) -> Iterator[Mapping[str, Any]]:
        for start in range(0, len(ids), BLOCK):
            with self._engine.said_plainly():  # quick in the engine's memory, too
                part = list(ids[start : start + BLOCK])
                found = self._engine.client.get(self._engine.collection, ids=part, output_fields=fields)
            yield from found

    def _ask(self, what: str, **how: Any) -> Any:
        with self._engine.said_plainly():
            self._settle()
            return getattr(self._engine.client, what)(self._engine.collection, **how)

    def _settle(self) -> None:
        """Have the embedded engine write out what it holds in memory, where that is much."""
        if self._engine.folder is None or self._unflushed < UNFLUSHED or self._engine.failed:
            return
        with self._change:
            with self._engine.writing():
                self._engine.client.flush(self._engine.collection)
            self._unflushed = 0


def _of(found: Mapping[str, Any], id: str, where: str) -> Any:
    if id not in found:
        raise GalleryError(f"{where} has no entry with id {id}")
    return found[id]
