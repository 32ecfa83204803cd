"""What a gallery is asked: an image, the images of a folder or data set, or embeddings in a file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resight.backends import Embedder
from resight.data.decode import is_image
from resight.data.decoded import DecodedOnce
from resight.data.digests import DIGEST_BYTES, content_digests
from resight.data.formats import read_dataset
from resight.data.manifest_table import BOX_COLUMNS
from resight.data.pixels import broken_pictures
from resight.errors import DataError
from resight.gallery.header import check_model
from resight.gallery.index import each_embedded
from resight.gallery.vector_files import EMBEDDING, column_names, read_columns, table_header
from resight.progress import Bar
from resight.run_images import each_once
from resight.types import Crop, Picture, Sample
from resight.whole_files import refuse_unwritable

KNOWN = ("id", "path", *BOX_COLUMNS, "camid", "source")
"""Columns of a table of embeddings that are read beside these; never one that says who is on an image."""

DIGEST = re.compile(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}")
"""What the digest of a picture's content looks like."""


@dataclass(frozen=True)
class Queries:
    """Embeddings to search with, and of each what is known: its name, picture, content digest and camera.

    `notes`: what should be said of them, one sentence each. `sources`: of the cameras; none: not known.
    """

    names: tuple[str, ...]
    vectors: Float[Tensor, "q d"]
    pictures: tuple[Picture | None, ...]
    ids: tuple[str | None, ...]
    camids: tuple[int | None, ...]
    notes: tuple[str, ...] = ()
    sources: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def source(self, place: int) -> str | None:
        """Give where the cameras of a query are numbered; None where that is not known."""
        return self.sources[place] if self.sources else None


def read_vectors(path: Path, fingerprint: str) -> Queries | None:
    """Read embeddings from a .npy file, or from the column `embedding` of a .parquet file; None where it has none.

    Raises:
        DataError: the file cannot be read, or does not hold rows of numbers.
        GalleryError: its header says that they are of another model.
    """
    if path.suffix.lower() == ".npy":
        rows = _from_npy(path)
        names = tuple(f"{path.name} row {row}" for row in range(len(rows)))
        nothing = (None,) * len(rows)
        return Queries(names, unit_rows(path, rows), nothing, nothing, nothing, (unchecked(path),))
    if path.suffix.lower() == ".parquet":
        return _from_parquet(path, fingerprint)
    return None


def unchecked(path: Path) -> str:
    """Say that a file may hold anything."""
    return (
        f"{path} does not say which model its embeddings are of, so that was not checked; those of another model would "
        "give hits that mean nothing"
    )


def read_images(path: Path, format: str | None, split: str) -> tuple[Sample, ...]:
    """Give the images to search with: one file, or those of a folder or data set.

    Raises:
        DataError: there are none, or the name of one is no text.
    """
    refuse_unwritable([path])
    if path.is_file() and is_image(path) and format is None:
        return (Sample(path),)
    if not path.exists():
        raise DataError(
            f"{path} is not there; give an image, a folder, a manifest, or a .npy or .parquet of embeddings"
        )
    samples = each_once(read_dataset(path, format), split).samples
    refuse_unwritable(sample.path for sample in samples)
    return samples


def embed_images(
    samples: tuple[Sample, ...],
    pixels: DecodedOnce,
    embedder: Embedder,
    cache_dir: Path,
    *,
    batch: int,
    skip_broken: bool,
    bar: Bar,
) -> Queries:
    """Decode and embed images to search with; `pixels` are those of `samples`.

    Raises:
        DataError: some are broken and not to be skipped, or all are; or a file cannot be read.
    """
    progress, rows, good = bar("embedding"), [torch.empty(0, embedder.dim)], []
    for places, part in each_embedded(pixels, embedder, batch, lambda done: progress(done, len(samples))):
        rows.append(part)
        good += places
    broken = pixels.broken
    if broken and not (skip_broken and good):
        raise DataError(broken_pictures(broken, pixels.pictures, others="nothing was searched for"))
    kept = [samples[place] for place in good]
    ids = content_digests([sample.picture for sample in kept], cache_dir)
    return Queries(
        tuple(str(sample.picture) for sample in kept),
        torch.cat(rows),
        tuple(sample.picture for sample in kept),
        tuple(ids),
        tuple(sample.camid for sample in kept),
        (f"{len(broken)} broken images were left out",) if broken else (),
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
    names = column_names(path)
    if EMBEDDING not in names:
        return None
    header = table_header(path)
    if header is not None:
        check_model(header, fingerprint, str(path))
    columns, rows = read_columns(path, [name for name in KNOWN if name in names])
    pictures = pictures_of(columns, len(rows))
    shown = tuple(f"{path.name} row {row}" if picture is None else str(picture) for row, picture in enumerate(pictures))
    nothing = [None] * len(rows)
    notes = () if header is not None else (unchecked(path),)
    ids, camids, sources = (tuple(columns.get(name, nothing)) for name in ("id", "camid", "source"))
    if header is None:  # another program's own ids would match no entry, and --others leave nothing out
        ids = tuple(id if id is not None and DIGEST.fullmatch(id) else None for id in ids)
    return Queries(shown, unit_rows(path, rows), pictures, ids, camids, notes, sources)


def pictures_of(columns: Mapping[str, Sequence[Any]], rows: int) -> tuple[Picture | None, ...]:
    """Give the pictures that a table's columns name; None where they name none."""
    nothing: list[Any] = [None] * rows
    boxes = zip(*(columns.get(name, nothing) for name in BOX_COLUMNS), strict=True)
    return tuple(
        None if path is None else Path(path) if None in box else Crop(Path(path), box)
        for path, box in zip(columns.get("path", nothing), boxes, strict=True)
    )


def unit_rows(path: Path, rows: Float[Tensor, "q d"]) -> Float[Tensor, "q d"]:
    """Give rows that were read from a file at unit length.

    Raises:
        DataError: there are none, or one is 0 or not finite.
    """
    if not len(rows):
        raise DataError(f"{path} holds no embeddings")
    length = rows.norm(dim=1, keepdim=True)
    if not bool((length > 0).all() and length.isfinite().all()):
        raise DataError(f"{path} must hold embeddings of finite length above 0")
    return rows / length
