"""Embeddings as a Parquet table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import ConfigError, DataError
from resight.types import Dataset, Split

SPLITS = ("train", "query", "gallery")

Say = Callable[[str], None]

Bar = Callable[[str], Callable[[int, int], None]]
"""Makes a progress bar with a title."""


@dataclass(frozen=True)
class EmbedRequest:
    """What `resight embed` was asked for.

    `cache_dir`: keep decoded images there; None: they are decoded, embedded and dropped. `engine`: "local" or "ray";
    `workers` (None: as many as fit) and `ray_address` (None: a Ray of its own on this machine) are for "ray".
    """

    run: Path
    data: Path
    out: Path
    split: str = "all"
    format: str | None = None
    device: str = "auto"
    cache_dir: Path | None = None
    batch_size: int = 256
    skip_broken: bool = False
    overwrite: bool = False
    backend: str = "torch"
    engine: str = "local"
    workers: int | None = None
    ray_address: str | None = None


def embed_to_parquet(
    request: EmbedRequest, say: Say = lambda text: None, bar: Bar = lambda title: lambda done, total: None
) -> tuple[int, int]:
    """Embed the chosen splits and write the table; gives the numbers of rows and dimensions.

    Blocks of images are embedded one by one into part files beside `out`, which become the table at the end; a call
    that was interrupted is taken up by the next one, see `bulk`.

    Raises:
        ConfigError: `out` exists and may not be replaced, another process writes it, it cannot be written, a flag that
            cannot be used, or an engine that cannot be started.
        DataError: there is nothing to embed, or there are broken images.
    """
    from resight.bulk import embed_in_blocks

    return embed_in_blocks(request, say, bar)


def refuse_existing(out: Path, *, overwrite: bool) -> None:
    """Stop where a table is there already.

    Raises:
        ConfigError: it is, and may not be replaced.
    """
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists already; replace it with --overwrite or give another --out")


def chosen_splits(dataset: Dataset, name: str) -> list[Split]:
    """Give the splits that --split names and that hold images."""
    if name not in (*SPLITS, "all"):
        raise ConfigError(f"--split must be one of {', '.join(SPLITS)} or all, got '{name}'")
    splits = [split for split in dataset.splits if name in ("all", split.name) and len(split)]
    if not splits:
        raise DataError(f"{dataset.root} has no images in the {name} split; see `resight data`")
    return splits


def as_table(split: Split, rows, *, boxes: bool) -> pa.Table:  # type: ignore[no-untyped-def]
    """Lay samples and their embeddings (n, d) side by side; `boxes`: with the columns of a box, empty for a whole file.

    What is not known is null.
    """
    samples = split.samples
    columns = {
        "path": pa.array([str(s.path) for s in samples], pa.string()),
        "split": pa.array([split.name] * len(samples), pa.string()),
        "pid": pa.array([s.pid for s in samples], pa.int64()),
        "camid": pa.array([s.camid for s in samples], pa.int64()),
        "timestamp": pa.array([s.timestamp for s in samples], pa.float64()),
        "tracklet": pa.array([s.tracklet for s in samples], pa.int64()),
    }
    if boxes:
        for place, name in enumerate(BOX_COLUMNS):
            columns[name] = pa.array([None if s.box is None else s.box[place] for s in samples], pa.int64())
    flat = pa.array(rows.reshape(-1), pa.float32())
    return pa.table({**columns, "embedding": pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])})
