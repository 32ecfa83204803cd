"""The gallery: embeddings of one model and what is known of their images, in Milvus."""

import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from resight.errors import GalleryError
from resight.gallery.collection import create_collection, create_folder, stored_header
from resight.gallery.engine import Engine, beside, is_address, open_engine, swap
from resight.gallery.entries import Added, Entry, Where, first_of_each
from resight.gallery.header import Header, check_model
from resight.gallery.reading import BLOCK, UNFLUSHED, Reader
from resight.gallery.rows import checked

Progress = Callable[[int, int], None]
"""Told how many are done, and how many there are."""

BATCH_BYTES = 16 * 1024 * 1024
"""Vectors sent in one message: Milvus takes up to 64 MB by default."""


class Gallery(Reader):
    """Entries and their embeddings, open for search and change; made by `create` or `open`, closed by `close` or with.

    Safe to use from several threads. A folder is open in one process at a time; a server takes many.
    """

    def __init__(self, engine: Engine, header: Header) -> None:
        super().__init__(engine, header)
        self._use(engine)

    def _use(self, engine: Engine) -> None:
        self._engine, self._unflushed = engine, UNFLUSHED  # what was cut short may have left some
        self._finalizer = weakref.finalize(self, engine.close)

    @classmethod
    def create(
        cls,
        uri: str | Path,
        *,
        fingerprint: str,
        dim: int,
        about: Mapping[str, Any] | None = None,
        token: str | None = None,
    ) -> "Gallery":
        """Make an empty gallery at a folder, or at http(s)://host:port[/database][#collection], and open it.

        `fingerprint`, `dim`: of the model (`calibrate.fingerprint`), and the length of its embeddings. `about`: facts
        in JSON's types. `token`: of a server; None is that in RESIGHT_GALLERY_TOKEN.

        Raises:
            GalleryError: something is there already, or it cannot be made.
        """
        header = Header(fingerprint, dim, dict(about or {}))
        if is_address(uri):
            engine = open_engine(uri, token)
            try:
                create_collection(engine, header)
            except BaseException:
                engine.close()
                raise
            return cls(engine, header)
        create_folder(Path(uri), header)
        return cls.open(uri)

    @classmethod
    def open(cls, uri: str | Path, fingerprint: str | None = None, *, token: str | None = None) -> "Gallery":
        """Open a gallery that is there; `fingerprint`: the model that it must be of, None for whatever model.

        Raises:
            GalleryError: it is not there, no gallery, of another model, open elsewhere, or its server does not answer.
        """
        engine = open_engine(uri, token)
        try:
            header = stored_header(engine)
            if fingerprint is not None:
                check_model(header, fingerprint, engine.where)
            with engine.said_plainly():
                engine.client.load_collection(engine.collection)
        except BaseException:
            engine.close()
            raise
        return cls(engine, header)

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give it back to other processes."""
        with self._change:
            self._engine.close()

    def add(self, entries: Sequence[Entry], vectors: Float[Tensor, "n d"]) -> Added:
        """Add entries that are not there yet, told by their ids; all of them are on the disk when this returns.

        An entry that is there stays as it is. `vectors`: unit rows, one an entry.

        Raises:
            ShapeError: the rows are not one an entry, of another length than the gallery's, or not of unit length.
            GalleryError: they cannot be written; what was added before stays.
        """
        rows = checked(entries, vectors, self.dim)
        with self._change:
            known = self.known([entry.id for entry in entries])
            fresh = [at for at in first_of_each(entry.id for entry in entries) if entries[at].id not in known]
            size = 4 * self.dim + 512
            for start in range(0, len(fresh), step := max(1, min(4096, BATCH_BYTES // size))):
                places = fresh[start : start + step]
                batch = [{**entries[at].row(), "vector": rows[at].numpy()} for at in places]
                with self._engine.writing(size * len(places)):
                    self._engine.client.upsert(self._engine.collection, batch)
                self._unflushed += len(places)
        return Added(len(fresh), len(entries) - len(fresh))

    def delete(self, which: Where | Sequence[str]) -> int:
        """Take out the entries that are meant, or have these ids; gives how many were there.

        Raises:
            GalleryError: `which` has no condition, which would mean all.
        """
        if isinstance(which, Where) and not which:
            raise GalleryError("a delete must say which entries go, by a camera, time, type, source or path")
        with self._change:
            ids = self.ids(which) if isinstance(which, Where) else sorted(self.known(which))
            for start in range(0, len(ids), BLOCK):
                with self._engine.writing():
                    self._engine.client.delete(self._engine.collection, ids=ids[start : start + BLOCK])
            self._unflushed += len(ids)
        return len(ids)

    def compact(self) -> None:
        """Give the room of deleted entries back: a folder is written anew, a server is told to.

        Raises:
            GalleryError: it cannot be written, as when the disk is full; then it is as it was.
        """
        with self._change:
            folder = self._engine.folder
            if folder is None:
                with self._engine.writing():
                    self._engine.client.flush(self._engine.collection)
                    self._engine.client.compact(self._engine.collection)
                return
            rewrite(self, folder)
            self._engine.abandon()
            shutil.rmtree(beside(folder, "old"), ignore_errors=True)
            self._finalizer.detach()
            self._use(open_engine(folder))

    def stats(self) -> dict[str, Any]:
        """Say what it holds, in JSON's types: see `statistics.statistics`."""
        from resight.gallery.statistics import statistics

        return statistics(self)

    def export_parquet(self, path: Path, *, progress: Progress | None = None) -> int:
        """Write all entries and embeddings to one file, whole or not at all; gives how many. See `parquet`."""
        from resight.gallery.parquet import export_parquet

        return export_parquet(self, path, progress=progress)

    def import_parquet(
        self, path: Path, *, type: str | None = None, source: str | None = None, progress: Progress | None = None
    ) -> Added:
        """Add the entries of a file that `export_parquet` or `resight embed` wrote. See `parquet`."""
        from resight.gallery.parquet import import_parquet

        return import_parquet(self, path, type=type, source=source, progress=progress)


def rewrite(gallery: Gallery, folder: Path) -> None:
    """Put a fresh copy of a gallery in the place of its folder; the old one is moved beside it.

    Raises:
        GalleryError: it cannot be written; then the folder is as it was.
    """
    new = beside(folder, "compacting")
    shutil.rmtree(new, ignore_errors=True)
    try:
        with Gallery.create(new, fingerprint=gallery.fingerprint, dim=gallery.dim, about=gallery.about) as copy:
            for entries, vectors in gallery.blocks():
                copy.add(entries, vectors)
        swap(folder, new)  # while the old one is still held, so that no other process adds to it
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if isinstance(error, GalleryError):
            raise
        raise GalleryError(f"{folder} cannot be compacted ({error}); it is as it was") from error
