"""A gallery as one Parquet file, from which it can be built again elsewhere; and other tables with embeddings in."""

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import DataError, GalleryError
from resight.gallery.entries import SCALARS, Added, Entry, absolute
from resight.gallery.header import Header, check_model
from resight.gallery.store import Gallery, Progress
from resight.gallery.vector_files import EMBEDDING, column_names, read_blocks, row_count, table_header
from resight.tables import KEY, as_vectors
from resight.whole_files import replacing


def export_parquet(gallery: Gallery, path: Path, *, progress: Progress | None = None) -> int:
    """Write all entries and embeddings, by id; gives how many. What was at `path` is replaced, or left as it was.

    Columns: id, path, left, top, width, height, camid, timestamp, tracklet, type, source, embedding.

    Raises:
        GalleryError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    schema, total, size = _schema(gallery.header), 0, len(gallery)
    with replacing(path, GalleryError) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for entries, vectors in gallery.blocks():
            writer.write_table(_table(entries, vectors, schema))
            total += len(entries)
            if progress is not None:
                progress(total, max(total, size))
    return total


def import_parquet(
    gallery: Gallery,
    path: Path,
    *,
    type: str | None = None,
    source: str | None = None,
    progress: Progress | None = None,
) -> Added:
    """Add the entries of a file that `export_parquet`, `resight embed` or `resight group` wrote.

    Those that are there already stay as they are, and of several with one id the first is taken. `type`, `source`: of
    entries of which the file does not say them; where it has no column `source`, that is its name if None is given.

    Raises:
        DataError: it is no such file, or damaged.
        GalleryError: it is of another model, or the gallery cannot be written.
    """
    header = importable_header(path)
    check_model(header, gallery.fingerprint, str(path))
    new = known = 0
    names = [name for name in ("id", *SCALARS) if name in column_names(path)]
    source, size = source or (None if "source" in names else path.stem), row_count(path)
    for columns, vectors in read_blocks(path, names):
        if None in columns["id"] or None in columns["path"]:
            raise DataError(f"{path} must name the id and the path of each row, and one lacks them; write it again")
        rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        added = gallery.add([_entry(row, type, source) for row in rows], vectors)
        new, known = new + added.new, known + added.known
        if progress is not None:
            progress(new + known, size)
    return Added(new, known)


def importable_header(path: Path) -> Header:
    """Read of which model a file's embeddings are.

    Raises:
        DataError: it cannot be read, does not say it, or lacks the column `id` or `path`.
    """
    header, names = table_header(path), column_names(path)
    missing = [name for name in ("id", "path", EMBEDDING) if name not in names]
    if header is None or missing:
        lacks = f"the column {missing[0]}" if missing else "a header that says which model its embeddings are of"
        raise DataError(
            f"{path} lacks {lacks}; give a file that resight gallery export, resight embed or resight group wrote "
            "(older versions of embed left it out: embed again)"
        )
    return header


def _entry(row: dict[str, Any], type: str | None, source: str | None) -> Entry:
    """Make an entry of a table's row, in which a number may be missing as NaN and a path may be relative."""
    time = row.get("timestamp")
    more = {"path": absolute(row["path"]), "timestamp": None if time is None or math.isnan(time) else time}
    words = {"type": row.get("type") or type, "source": row.get("source") or source}
    return Entry.from_row({**row, **more, **words})


def _schema(header: Header):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    numbers = {name: pa.int64() for name in (*BOX_COLUMNS, "camid", "tracklet")}
    kinds = {**numbers, "timestamp": pa.float64()}
    fields = [pa.field("id", pa.string()), *(pa.field(name, kinds.get(name, pa.string())) for name in SCALARS)]
    fields.append(pa.field(EMBEDDING, pa.list_(pa.float32(), header.dim)))
    return pa.schema(fields, metadata={KEY: json.dumps(json.loads(header.text())).encode()})


def _table(entries: list[Entry], vectors: Tensor, schema):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    rows = [entry.row() for entry in entries]
    columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in ("id", *SCALARS)]
    return pa.table([*columns, as_vectors(vectors.numpy())], schema=schema)
