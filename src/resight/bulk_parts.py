"""The parts of a table that is not finished yet: one file a block, in the folder OUT.parts, until they are joined."""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float, Int
from torch import Tensor

from resight.errors import ConfigError, DataError, reason_of
from resight.tables import TableHeader, as_table, as_vectors
from resight.types import Split
from resight.whole_files import replacing

BROKEN = b"broken"
"""Where a part's metadata hold the images that could not be decoded."""

LOCK = ".lock"

KEPT = "what was embedded so far is kept: make room and call again, or give another --out"

TOGETHER = 16
"""Blocks to a row group of the table: many small ones would swell its footer."""


@dataclass(frozen=True)
class Block:
    """Images of one split that follow each other, and the name of their part's file."""

    split: Split
    name: str


@dataclass(frozen=True)
class Part:
    """What became of a block's images: row i is the embedding of image `kept[i]`, unit length.

    `ids`: digest of the content of each. `broken`: place in the block and reason of each image that could not be
    decoded.
    """

    kept: Int[Tensor, " n"]
    ids: tuple[str, ...]
    rows: Float[Tensor, "n d"]
    broken: tuple[tuple[int, str], ...] = ()

    def as_bytes(self) -> bytes:
        """Lay the part out as a Parquet file: columns place, id and embedding."""
        columns = {
            "place": pa.array(self.kept.numpy()),
            "id": pa.array(self.ids, pa.string()),
            "embedding": as_vectors(self.rows.numpy()),
        }
        table = pa.table(columns).replace_schema_metadata({BROKEN: json.dumps(self.broken)})
        file = io.BytesIO()
        pq.write_table(table, file, compression="none")  # embeddings do not shrink
        return file.getvalue()


@contextlib.contextmanager
def claimed_parts(out: Path) -> Iterator[Path]:
    """Hold the folder of the parts of `out`, for this process alone; it goes when no part is left in it.

    Raises:
        ConfigError: another process holds it, or it cannot be made.
    """
    folder = parts_folder(out)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ConfigError(f"another process is writing {out}; wait for it or give another --out") from error
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror or error}); give another --out") from error
    try:
        for left in folder.glob("*.tmp"):
            left.unlink()
        yield folder
    finally:
        # The lock's file goes before the lock does: nobody may hold a file that another is about to remove.
        if not finished(folder):
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def parts_folder(out: Path) -> Path:
    """Name the folder beside the table."""
    return out.with_name(out.name + ".parts")


def finished(folder: Path) -> set[str]:
    """Name the parts that are whole."""
    return {path.name for path in folder.glob("*.parquet")}


def leave_out_others(folder: Path, job: str, *, overwrite: bool) -> None:
    """Remove the parts of other jobs where `overwrite` is given.

    Raises:
        ConfigError: there are some, and it is not.
    """
    others = sorted(name for name in finished(folder) if not name.startswith(job))
    if others and not overwrite:
        raise ConfigError(
            f"{folder} holds {len(others)} parts that another model, backend or input size made; go on with those, "
            "drop them with --overwrite, or give another --out"
        )
    for name in others:
        (folder / name).unlink()


def write_part(path: Path, content: bytes) -> None:
    """Write a part that a power cut leaves whole or not there.

    Raises:
        ConfigError: it cannot be written, as when the disk is full.
    """
    with replacing(path, ConfigError, advice=KEPT) as temporary:
        temporary.write_bytes(content)


def read_broken(path: Path) -> tuple[tuple[int, str], ...]:
    """Read a part's `broken` alone.

    Raises:
        DataError: the file is damaged.
    """
    with damage_told(path):
        return tuple((int(place), str(reason)) for place, reason in json.loads(pq.read_schema(path).metadata[BROKEN]))


def read_part(path: Path) -> Part:
    """Read what `Part.as_bytes` laid out.

    Raises:
        DataError: the file is damaged.
    """
    broken = read_broken(path)
    with damage_told(path):
        table = pq.read_table(path)
        dim = table.schema.field("embedding").type.list_size
        rows = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        kept = table.column("place").to_numpy()
        ids = tuple(table.column("id").to_pylist())
        return Part(torch.from_numpy(kept.copy()), ids, torch.from_numpy(rows.copy()).reshape(-1, dim), broken)


@contextlib.contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn what reading a damaged part raises into a sentence."""
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({reason_of(error)}); delete it and call again") from error


def join(blocks: Sequence[Block], folder: Path, out: Path, header: TableHeader, *, boxes: bool) -> int:
    """Write the table from the parts of `blocks`, in that order, whole or not at all; gives its rows.

    Raises:
        ConfigError: it cannot be written; the parts are all still there.
        DataError: a part is damaged.
    """
    with replacing(out, ConfigError, advice=KEPT, folder=folder) as temporary:
        rows = _write(temporary, blocks, folder, header, boxes=boxes)
    for name in finished(folder):
        (folder / name).unlink()
    return rows


def _write(file: Path, blocks: Sequence[Block], folder: Path, header: TableHeader, *, boxes: bool) -> int:
    def table(block: Block) -> pa.Table:
        part = read_part(folder / block.name)
        return as_table(block.split.at(tuple(part.kept.tolist())), part.ids, part.rows.numpy(), boxes=boxes)

    rows = 0
    with pq.ParquetWriter(file, table(blocks[0]).schema.with_metadata(header.metadata())) as writer:
        for start in range(0, len(blocks), TOGETHER):
            piece = pa.concat_tables([table(block) for block in blocks[start : start + TOGETHER]])
            writer.write_table(piece)
            rows += piece.num_rows
    return rows
