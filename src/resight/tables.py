"""Embeddings as a Parquet table, and what it says of itself."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from numpy import ndarray

from resight import __version__
from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import ConfigError, DataError
from resight.progress import Bar, Say, no_bar, silent
from resight.types import Dataset, Split

SPLITS = ("train", "query", "gallery")

FORMAT = 1

KEY = b"resight"
"""Where a table's metadata hold its header."""

KIND = "resight embeddings"
"""By which such a header is known to be a table's, not a gallery's."""


@dataclass(frozen=True)
class TableHeader:
    """`fingerprint`: of the model (`calibrate.fingerprint`). `dim`: of its embeddings. `backend`: what computed them,
    with its precision. `version`: of resight. `format`: raised when an older version could not read the table.
    """

    fingerprint: str
    dim: int
    backend: str
    version: str = __version__
    format: int = FORMAT

    def metadata(self) -> dict[bytes, bytes]:
        """Write it as a schema's metadata."""
        return {KEY: json.dumps({"kind": KIND, **asdict(self)}).encode()}


def read_header(path: Path) -> TableHeader | None:
    """Read a table's header; None where a Parquet file has none, or one of another kind.

    Raises:
        DataError: the file cannot be read as Parquet, or its header is damaged or of a newer format.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet ({error}); give a file of resight embed") from error
    if KEY not in metadata:
        return None
    try:
        facts = json.loads(metadata[KEY])
        if facts.pop("kind", None) != KIND:
            return None
        if facts["format"] > FORMAT:
            raise DataError(f"{path} has format {facts['format']}, of a newer version of resight; update resight")
        return TableHeader(**facts)
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"the header of {path} is damaged; embed the images again") from error


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
    backend: str = "auto"
    engine: str = "local"
    workers: int | None = None
    ray_address: str | None = None


def embed_to_parquet(request: EmbedRequest, say: Say = silent, bar: Bar = no_bar) -> tuple[int, int]:
    """Embed the chosen splits and write the table; gives the numbers of rows and dimensions.

    Blocks of images are embedded one by one into part files beside `out`, which become the table at the end; a call
    that was interrupted is taken up by the next one, see `bulk`.

    Raises:
        ConfigError: `out` is a folder or may not be replaced, another process writes it, it cannot be written, a flag
            that cannot be used, or an engine that cannot be started.
        DataError: there is nothing to embed, or there are broken images.
    """
    from resight.bulk import embed_in_blocks

    return embed_in_blocks(request, say, bar)


def chosen_splits(dataset: Dataset, name: str) -> list[Split]:
    """Give the splits that --split names and that hold images."""
    if name not in (*SPLITS, "all"):
        raise ConfigError(f"--split must be one of {', '.join(SPLITS)} or all, got '{name}'")
    splits = [split for split in dataset.splits if name in ("all", split.name) and len(split)]
    if not splits:
        raise DataError(f"{dataset.root} has no images in the {name} split; see `resight data`")
    return splits


def as_table(split: Split, ids: Sequence[str], rows: Float[ndarray, "n d"], *, boxes: bool) -> pa.Table:
    """Lay samples, the digests of their content and their embeddings side by side; what is not known is null.

    `boxes`: with the columns of a box, empty for a whole file.
    """
    samples = split.samples
    columns = {
        "id": pa.array(ids, pa.string()),
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
    return pa.table({**columns, "embedding": as_vectors(rows)})


def as_vectors(rows: Float[ndarray, "n d"]) -> pa.FixedSizeListArray:
    """Make a column of vectors."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float32()), rows.shape[1])
