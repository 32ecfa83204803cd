"""Embeddings as a Parquet table."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resight.artifacts import load_model
from resight.data.digests import default_cache_dir
from resight.data.formats import read_dataset
from resight.data.manifest_table import BOX_COLUMNS
from resight.embed import embed
from resight.errors import ConfigError, DataError
from resight.prepare import choose_device, open_split
from resight.types import Dataset, Split

SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True)
class EmbedRequest:
    """What `resight embed` was asked for."""

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


def embed_to_parquet(request: EmbedRequest) -> tuple[int, int]:
    """Embed the chosen splits and write the table; gives the numbers of rows and dimensions.

    Raises:
        ConfigError: `out` exists and may not be replaced, or no such split.
        DataError: there is nothing to embed.
    """
    if request.out.exists() and not request.overwrite:
        raise ConfigError(f"{request.out} exists already; replace it with --overwrite or give another --out")
    device = choose_device(request.device)
    model, recipe = load_model(request.run, device)
    splits = chosen_splits(read_dataset(request.data, request.format), request.split)
    cache_dir = request.cache_dir or default_cache_dir()
    boxes = any(sample.box is not None for found in splits for sample in found)
    pieces = []
    for found in splits:
        split, pixels = open_split(found, recipe.input.height_width, cache_dir, skip_broken=request.skip_broken)
        rows = embed(model, pixels, batch_size=request.batch_size, device=device)
        pieces.append(as_table(split, rows.numpy(), boxes=boxes))
    table = pa.concat_tables(pieces)
    temporary = request.out.with_name(request.out.name + ".tmp")
    try:
        pq.write_table(table, temporary)
        temporary.replace(request.out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{request.out} could not be written ({error}); give another --out") from error
    return table.num_rows, model.dim


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
