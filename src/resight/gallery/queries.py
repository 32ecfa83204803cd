"""What a gallery is asked: an image, the images of a folder or data set, or embeddings in a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resight.backbones import ReidModel
from resight.data.decode import is_image
from resight.data.digests import content_digests
from resight.data.formats import read_dataset
from resight.errors import DataError
from resight.gallery.header import check_model
from resight.gallery.index import broken_sentence, decoded, torch_rows
from resight.gallery.parquet import KEY, parquet_header
from resight.run_images import Bar, each_once
from resight.types import Picture, Sample

EMBEDDING = "embedding"
"""The column of a Parquet file that holds embeddings, as `resight embed` and `resight gallery export` write it."""


@dataclass(frozen=True)
class Queries:
    """Embeddings to search with, and of each what is known: its name, picture, content digest and camera.

    `left_out`: how many images could not be decoded.
    """

    names: tuple[str, ...]
    vectors: Float[Tensor, "q d"]
    pictures: tuple[Picture | None, ...]
    ids: tuple[str | None, ...]
    camids: tuple[int | None, ...]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.names)


def read_vectors(path: Path, fingerprint: str) -> Queries | None:
    """Read embeddings from a .npy file, or from the column `embedding` of a .parquet file; None where it has none.

    Raises:
        DataError: the file cannot be read, or does not hold rows of numbers.
        GalleryError: it is an export of a gallery of another model.
    """
    if path.suffix.lower() == ".npy":
        rows = _from_npy(path)
        names = tuple(f"{path.name} row {row}" for row in range(len(rows)))
        return _of_rows(path, rows, names, (None,) * len(rows))
    if path.suffix.lower() == ".parquet":
        return _from_parquet(path, fingerprint)
    return None


def read_images(path: Path, format: str | None, split: str) -> tuple[Sample, ...]:
    """Give the images to search with: one file, or those of a folder or data set.

    Raises:
        DataError: there are none.
    """
    if path.is_file() and is_image(path) and format is None:
        return (Sample(path),)
    if not path.exists():
        raise DataError(
            f"{path} is not there; give an image, a folder, a manifest, or a .npy or .parquet of embeddings"
        )
    return each_once(read_dataset(path, format), split).samples


def embed_images(
    samples: tuple[Sample, ...],
    model: ReidModel,
    size: tuple[int, int],
    cache_dir: Path,
    *,
    batch: int,
    skip_broken: bool,
    bar: Bar,
) -> Queries:
    """Decode and embed images to search with; broken ones are counted in `left_out`.

    Raises:
        DataError: some are broken and not to be skipped, or all are.
    """
    pictures = [sample.picture for sample in samples]
    progress, rows, good, broken = bar("embedding"), [], [], []
    to_rows = torch_rows(model)
    for places, images, bad in decoded(pictures, size, batch):
        rows.append(to_rows(images) if places else torch.empty(0, model.dim))
        good += places
        broken += bad
        progress(len(good) + len(broken), len(samples))
    if broken and not (skip_broken and good):
        raise DataError(broken_sentence(samples, broken, "nothing was searched for"))
    kept = [samples[place] for place in good]
    ids = content_digests([sample.picture for sample in kept], cache_dir)
    return Queries(
        tuple(str(sample.picture) for sample in kept),
        torch.cat(rows),
        tuple(sample.picture for sample in kept),
        tuple(ids),
        tuple(sample.camid for sample in kept),
        len(broken),
    )


def _from_npy(path: Path) -> Float[Tensor, "q d"]:
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as a NumPy array ({error})") from error
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != "f" or rows.ndim not in (1, 2):
        raise DataError(f"{path} must hold embeddings, one a row, as floating-point numbers")
    return torch.from_numpy(np.atleast_2d(rows).astype(np.float32))


def _from_parquet(path: Path, fingerprint: str) -> Queries | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet ({error})") from error
    if EMBEDDING not in schema.names:
        return None
    if KEY in (schema.metadata or {}):
        check_model(parquet_header(path), fingerprint, str(path))
    try:
        table = pq.read_table(path, columns=[name for name in ("path", "camid", EMBEDDING) if name in schema.names])
        rows = np.stack(table[EMBEDDING].to_numpy()).astype(np.float32) if len(table) else np.empty((0, 0))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as embeddings ({error})") from error
    names = table["path"].to_pylist() if "path" in table.column_names else [f"row {row}" for row in range(len(rows))]
    camids = table["camid"].to_pylist() if "camid" in table.column_names else [None] * len(rows)
    return _of_rows(path, torch.from_numpy(rows), tuple(names), tuple(camids))


def _of_rows(path: Path, rows: Tensor, names: tuple[str, ...], camids: tuple[int | None, ...]) -> Queries:
    if not len(rows):
        raise DataError(f"{path} holds no embeddings")
    length = rows.norm(dim=1, keepdim=True)
    if not bool((length > 0).all() and length.isfinite().all()):
        raise DataError(f"{path} must hold embeddings of finite length above 0")
    nothing = (None,) * len(rows)
    return Queries(names, rows / length, nothing, nothing, camids)
