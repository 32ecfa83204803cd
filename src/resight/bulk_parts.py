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

from resight.checkpoint import sync
from resight.errors import ConfigError, DataError
from resight.tables import as_table
from resight.types import Split

BROKEN = b"broken"
"""Where a part's metadata hold the images that could not be decoded."""

LOCK = ".lock"

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

    `broken`: place in the block and reason of each image that could not be decoded.
    """

    kept: Int[Tensor, " n"]
    rows: Float[Tensor, "n d"]
    broken: tuple[tuple[int, str], ...] = ()

    def as_bytes(self) -> bytes:
        """Lay the part out as a Parquet file: columns place and embedding."""
        flat = pa.array(self.rows.numpy().reshape(-1), pa.float32())
        columns = {
            "place": pa.array(self.kept.numpy()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, self.rows.shape[1]),
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
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


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
        return Part(torch.from_numpy(kept.copy()), torch.from_numpy(rows.copy()).reshape(-1, dim), broken)


@contextlib.contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn what reading a damaged part raises into a sentence."""
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise DataError(f"{path} is damaged ({reason}); delete it and call again") from error


def join(blocks: Sequence[Block], folder: Path, out: Path, *, boxes: bool) -> tuple[int, int]:
    """Write the table from the parts of `blocks`, in that order, whole or not at all; gives its rows and dimensions.

    Raises:
        ConfigError: it cannot be written; the parts are all still there.
        DataError: a part is damaged.
    """
    temporary = folder / "joined.tmp"
    try:
        rows, dim = _write(temporary, blocks, folder, boxes=boxes)
        sync(temporary)
        temporary.replace(out)
        sync(out.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _cannot_write(out, error) from error
    for name in finished(folder):
        (folder / name).unlink()
    return rows, dim


def _write(file: Path, blocks: Sequence[Block], folder: Path, *, boxes: bool) -> tuple[int, int]:
    def table(block: Block) -> pa.Table:
        part = read_part(folder / block.name)
        return as_table(block.split.at(tuple(part.kept.tolist())), part.rows.numpy(), boxes=boxes)

    first = table(blocks[0])
    with pq.ParquetWriter(file, first.schema) as writer:
        rows = 0
        for start in range(0, len(blocks), TOGETHER):
            piece = pa.concat_tables([table(block) for block in blocks[start : start + TOGETHER]])
            writer.write_table(piece)
            rows += piece.num_rows
    return rows, first.schema.field("embedding").type.list_size


def _cannot_write(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} could not be written ({error.strerror or error}); what was embedded so far is kept: make room and "
        "call again, or give another --out"
    )
