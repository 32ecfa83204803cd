"""A gallery as one Parquet file, from which it can be built again: on another machine, server or engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from resight.checkpoint import sync
from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import GalleryError
from resight.gallery.entries import SCALARS, Added, Entry
from resight.gallery.header import Header, check_model, read_header
from resight.gallery.store import Gallery

KEY = b"resight"
"""Where the file's metadata hold the gallery's header."""

ROWS = 2048
"""Entries read at a time."""


def export_parquet(gallery: Gallery, path: Path) -> int:
    """Write all entries and embeddings, by id; gives how many. What was at `path` is replaced, or left as it was.

    Columns: id, path, left, top, width, height, camid, timestamp, tracklet, type, source, embedding.

    Raises:
        GalleryError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    schema = _schema(gallery.header)
    temporary, total = path.with_name(path.name + ".tmp"), 0
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for entries, vectors in gallery.blocks():
                writer.write_table(_table(entries, vectors, schema))
                total += len(entries)
        sync(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, GalleryError):
            raise
        raise GalleryError(f"{path} could not be written ({error}); give another file") from error
    return total


def import_parquet(gallery: Gallery, path: Path) -> Added:
    """Add the entries of a file that `export_parquet` wrote; those that are there already stay as they are.

    Raises:
        GalleryError: it is no such file, of another model, or damaged.
    """
    header = parquet_header(path)
    check_model(header, gallery.fingerprint, str(path))
    new = known = 0
    for entries, vectors in read_blocks(path):
        added = gallery.add(entries, vectors)
        new, known = new + added.new, known + added.known
    return Added(new, known)


def parquet_header(path: Path) -> Header:
    """Read what the exported gallery said of itself.

    Raises:
        GalleryError: the file cannot be read, or is no export of a gallery.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise GalleryError(
            f"{path} cannot be read as Parquet ({error}); give a file of resight gallery export"
        ) from error
    if KEY not in metadata:
        raise GalleryError(f"{path} is no export of a gallery; give a file of resight gallery export")
    return read_header(metadata[KEY].decode(), str(path))


def read_blocks(path: Path) -> Iterator[tuple[list[Entry], Float[Tensor, "n d"]]]:
    """Walk over the entries and embeddings of an export.

    Raises:
        GalleryError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    dim = parquet_header(path).dim
    try:
        with pq.ParquetFile(path) as file:
            for part in file.iter_batches(ROWS):
                flat = part.column("embedding").flatten().to_numpy(zero_copy_only=False)
                rows = part.select(["id", *SCALARS]).to_pylist()
                yield [Entry.from_row(row) for row in rows], torch.tensor(flat).reshape(-1, dim)
    except (OSError, KeyError, RuntimeError, pa.ArrowException) as error:
        if isinstance(error, GalleryError):
            raise
        raise GalleryError(f"{path} is damaged ({error}); export the gallery again") from error


def _schema(header: Header):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    numbers = {name: pa.int64() for name in (*BOX_COLUMNS, "camid", "tracklet")}
    kinds = {**numbers, "timestamp": pa.float64()}
    fields = [pa.field("id", pa.string()), *(pa.field(name, kinds.get(name, pa.string())) for name in SCALARS)]
    fields.append(pa.field("embedding", pa.list_(pa.float32(), header.dim)))
    return pa.schema(fields, metadata={KEY: json.dumps(json.loads(header.text())).encode()})


def _table(entries: list[Entry], vectors: Tensor, schema):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    rows = [entry.row() for entry in entries]
    columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in ("id", *SCALARS)]
    flat = pa.array(vectors.numpy().reshape(-1), pa.float32())
    return pa.table([*columns, pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])], schema=schema)
