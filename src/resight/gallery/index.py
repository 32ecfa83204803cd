"""Images → gallery: decode and embed those that are not there yet, a batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from resight import __version__
from resight.artifacts import load_model
from resight.backbones import ReidModel
from resight.calibrate import fingerprint
from resight.data.crops import each_decoded
from resight.data.decode import BrokenImageError, resized
from resight.data.digests import content_digests, default_cache_dir
from resight.data.formats import read_dataset
from resight.data.pixels import listed_broken
from resight.embed import embed
from resight.errors import DataError, GalleryError
from resight.gallery.engine import is_address
from resight.gallery.entries import Entry, first_of_each
from resight.gallery.store import Gallery
from resight.prepare import choose_device
from resight.run_images import Bar, Say, each_once
from resight.types import Picture, Sample

ToRows = Callable[[UInt8[Tensor, "b 3 h w"]], Float[Tensor, "b d"]]
"""Embeds images of one size, as they were decoded → unit rows, float32, on the CPU."""


@dataclass(frozen=True)
class IndexRequest:
    """What `resight index` was asked for."""

    run: Path
    data: Path
    gallery: str
    type: str | None = None
    source: str | None = None
    split: str = "all"
    format: str | None = None
    device: str = "auto"
    cache_dir: Path | None = None
    batch_size: int = 256
    skip_broken: bool = False


@dataclass(frozen=True)
class Block:
    """Decoded images in memory, as a `data.pixels.PixelSource`."""

    images: UInt8[Tensor, "b 3 h w"]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Int[Tensor, " b"]) -> UInt8[Tensor, "b 3 h w"]:
        """Give the images at `index`."""
        return self.images[index]


@dataclass(frozen=True)
class Indexed:
    """What became of images: `new` were added, `known` were there (or stood twice in the data), others are `broken`."""

    new: int
    known: int
    broken: tuple[tuple[int, str], ...]


def run_index(request: IndexRequest, say: Say, bar: Bar) -> dict[str, Any]:
    """Add the images of a data set to a gallery, which is made where there is none; gives figures in JSON's types.

    Images that are there are not decoded; each batch is on the disk before the next begins, so what is cut short goes
    on where it stopped. Broken images do not keep the others from being added.

    Raises:
        GalleryError: the gallery is of another model, in use, or cannot be written.
        DataError: there are no images, or some are broken and not to be skipped; the others were added then.
    """
    device = choose_device(request.device)
    model, recipe = load_model(request.run, device)
    height, width = recipe.input.height_width
    samples = each_once(read_dataset(request.data, request.format), request.split).samples
    ids = content_digests([sample.picture for sample in samples], request.cache_dir or default_cache_dir())
    about = {"backbone": recipe.backbone.name, "input": [height, width]}
    source = request.source or request.data.resolve().stem
    entries = [Entry.of(sample, id, type=request.type, source=source) for sample, id in zip(samples, ids, strict=True)]
    with open_or_create(request.gallery, fingerprint(request.run), model.dim, about) as gallery:
        done = index_entries(
            gallery, entries, torch_rows(model), (height, width), batch=request.batch_size, progress=bar("indexing")
        )
        total = len(gallery)
    say(f"added {done.new:,} of {len(samples):,} images to {request.gallery}, which holds {total:,} now; "
        f"{done.known:,} were there or stood twice, {len(done.broken):,} are broken")  # fmt: skip
    if done.broken and not request.skip_broken:
        raise DataError(broken_sentence(samples, done.broken, "the others are in the gallery"))
    return {"images": len(samples), "new": done.new, "known": done.known, "broken": len(done.broken), "entries": total}


def broken_sentence(samples: Sequence[Sample], broken: Sequence[tuple[int, str]], others: str) -> str:
    """List broken images, at most ten of them, and say what became of the others."""
    return (
        f"{len(broken)} of {len(samples)} images cannot be decoded, {others}; mend or remove them, or pass over them "
        f"with --skip-broken:{listed_broken(broken, [s.picture for s in samples])}"
    )


def open_or_create(uri: str, fingerprint: str, dim: int, about: dict[str, Any]) -> Gallery:
    """Open a gallery of this model, or make one where there is none.

    Raises:
        GalleryError: it is of another model, no gallery, in use, or its server does not answer.
    """
    about |= {"made": datetime.now(UTC).isoformat(timespec="seconds"), "version": __version__}
    if not is_address(uri):
        if Path(uri).exists():
            return Gallery.open(uri, fingerprint)
        return Gallery.create(uri, fingerprint=fingerprint, dim=dim, about=about)
    try:
        return Gallery.create(uri, fingerprint=fingerprint, dim=dim, about=about)
    except GalleryError as error:
        if "is there already" not in str(error):
            raise
    return Gallery.open(uri, fingerprint)


def index_entries(
    gallery: Gallery,
    entries: Sequence[Entry],
    to_rows: ToRows,
    size: tuple[int, int],
    *,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Indexed:
    """Decode and embed the entries' pictures at `size` (height, width) and add them; those that are there are not read.

    `progress` is told how many of all entries are done.

    Raises:
        GalleryError: the gallery cannot be written; what was added stays.
    """
    known = gallery.known([entry.id for entry in entries])
    fresh = [at for at in first_of_each(entry.id for entry in entries) if entries[at].id not in known]
    done, new, broken = len(entries) - len(fresh), 0, []
    for places, images, bad in decoded([entries[at].picture for at in fresh], size, batch):
        broken += [(fresh[place], reason) for place, reason in bad]
        if places:
            new += gallery.add([entries[fresh[place]] for place in places], to_rows(images)).new
        done += len(places) + len(bad)
        if progress is not None:
            progress(done, len(entries))
    return Indexed(new, len(entries) - new - len(broken), tuple(broken))


def decoded(
    pictures: Sequence[Picture], size: tuple[int, int], batch: int
) -> Iterator[tuple[list[int], UInt8[Tensor, "b 3 h w"], list[tuple[int, str]]]]:
    """Decode pictures a batch at a time: the positions of the good ones, their pixels, and the broken with reasons."""
    outcomes = enumerate(each_decoded(pictures, lambda pixels: resized(pixels, *size)))
    for start in range(0, len(pictures), batch):
        places, images, bad = [], [], []
        for _ in range(min(batch, len(pictures) - start)):
            place, outcome = next(outcomes)
            if isinstance(outcome, BrokenImageError):
                bad.append((place, outcome.reason))
            else:
                places.append(place)
                images.append(outcome)
        yield places, as_tensor(images, size), bad


def as_tensor(images: Sequence[np.ndarray], size: tuple[int, int]) -> UInt8[Tensor, "b 3 h w"]:
    """Lay decoded images (h, w, 3) of one size side by side."""
    if not images:
        return torch.empty(0, 3, *size, dtype=torch.uint8)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def torch_rows(model: ReidModel) -> ToRows:
    """Embed with the model where it is."""
    return lambda images: embed(model, Block(images))
