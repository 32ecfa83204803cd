"""Images → gallery: decode and embed those that are not there yet, a batch at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from resight import __version__
from resight.artifacts import load_model
from resight.backbones import ReidModel
from resight.backends import Embedder, open_backend, with_precision
from resight.calibrate import fingerprint
from resight.data.decoded import DecodedOnce
from resight.data.digests import content_digests, default_cache_dir
from resight.data.formats import read_dataset
from resight.data.loading import prefetched
from resight.data.pixels import broken_pictures
from resight.errors import DataError, GalleryError
from resight.gallery.engine import GalleryThereError, NoGalleryError, is_address
from resight.gallery.entries import Entry, absolute, first_of_each
from resight.gallery.store import Gallery
from resight.prepare import choose_device
from resight.progress import Bar, Say
from resight.run_images import each_once
from resight.whole_files import refuse_unwritable


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """Which images of a data set are meant, and how they are embedded."""

    split: str = "all"
    format: str | None = None
    device: str = "auto"
    cache_dir: Path | None = None
    batch_size: int = 256
    skip_broken: bool = False
    backend: str = "auto"

    def open_embedder(self, model: ReidModel, pixels: DecodedOnce, say: Say) -> Embedder:
        """Open the backend for `pixels` on the device; see `backends.open_backend`.

        Raises:
            ConfigError: no such device or backend.
        """
        return open_backend(
            *(model, pixels.size, self.backend),
            device=choose_device(self.device),
            say=say,
            cache_dir=self.cache_dir,
            ahead=pixels,
        )

    def check(self) -> None:
        """Refuse a device or backend that cannot be, before there is any work.

        Raises:
            ConfigError: no such device or backend.
        """
        choose_device(self.device)
        if self.backend != "auto":
            with_precision(self.backend)


@dataclass(frozen=True)
class IndexRequest(ImageRequest):
    """What `resight index` was asked for."""

    run: Path
    data: Path
    gallery: str
    type: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Indexed:
    """What became of images: `new` were added, `known` were there (or stood twice in the data), others are `broken`."""

    new: int
    known: int
    broken: tuple[tuple[int, str], ...]


def run_index(request: IndexRequest, say: Say, bar: Bar) -> dict[str, Any]:
    """Add the images of a data set to a gallery, which is made where there is none; gives figures in JSON's types.

    Images that are there are not decoded; each batch is on the disk before the next begins, so what is cut short goes
    on where it stopped. Broken images do not keep the others from being added. What keeps the gallery from being used
    is told before any image is read.

    Raises:
        GalleryError: the gallery is of another model, in use, or cannot be written.
        ConfigError: no such device or backend.
        DataError: there are no images, or some are broken and not to be skipped; the others were added then.
    """
    request.check()
    digest = fingerprint(request.run)
    with ExitStack() as opened:
        gallery = open_if_there(request.gallery, digest)
        if gallery is not None:
            opened.enter_context(gallery)
        model, recipe = load_model(request.run)
        entries, size = read_entries(request), recipe.input.height_width
        embedder: Callable[[DecodedOnce], Embedder] = partial(request.open_embedder, model, say=say)
        if gallery is None:
            first = embedder(DecodedOnce([entries[at].picture for at in first_of_each(e.id for e in entries)], size))
            about = {"backbone": recipe.backbone.name, "input": list(size), "backend": first.name}
            gallery, embedder = open_or_create(request.gallery, digest, model.dim, about), lambda pixels: first
            opened.enter_context(gallery)
        done = index_entries(gallery, entries, embedder, size, batch=request.batch_size, progress=bar("indexing"))
        total = len(gallery)
    say(f"added {done.new:,} of {len(entries):,} images to {request.gallery}, which holds {total:,} now; "
        f"{done.known:,} were there or stood twice, {len(done.broken):,} are broken")  # fmt: skip
    if done.broken and not request.skip_broken:
        pictures = [entry.picture for entry in entries]
        raise DataError(broken_pictures(done.broken, pictures, others="the others are in the gallery"))
    return {"images": len(entries), "new": done.new, "known": done.known, "broken": len(done.broken), "entries": total}


def read_entries(request: IndexRequest) -> list[Entry]:
    """Read what is to be added, with the digest of each image's content.

    Raises:
        DataError: there are no images, one cannot be read, or its name cannot be stored.
    """
    samples = each_once(read_dataset(request.data, request.format), request.split).samples
    refuse_unwritable(sample.path for sample in samples)
    ids = content_digests([sample.picture for sample in samples], request.cache_dir or default_cache_dir())
    source = request.source or request.data.resolve().stem
    return [Entry.of(sample, id, type=request.type, source=source) for sample, id in zip(samples, ids, strict=True)]


def open_if_there(uri: str, fingerprint: str) -> Gallery | None:
    """Open a gallery of this model; None where there is none, and one can be made.

    Raises:
        GalleryError: it is of another model, no gallery, in use, its server does not answer, or none can be made there.
    """
    if is_address(uri) or Path(uri).exists():
        try:
            return Gallery.open(uri, fingerprint)
        except NoGalleryError:
            return None
    above = next(folder for folder in absolute(uri).parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise GalleryError(f"{uri} cannot be made, as {above} is no folder that may be written; give another place")
    return None


def open_or_create(uri: str, fingerprint: str, dim: int, about: dict[str, Any]) -> Gallery:
    """Open a gallery of this model, or make one where there is none.

    Raises:
        GalleryError: it is of another model, no gallery, in use, or its server does not answer.
    """
    about |= {"made": datetime.now(UTC).isoformat(timespec="seconds"), "version": __version__}
    try:
        return Gallery.create(uri, fingerprint=fingerprint, dim=dim, about=about)
    except GalleryThereError:
        return Gallery.open(uri, fingerprint)


def index_entries(
    gallery: Gallery,
    entries: Sequence[Entry],
    embedder: Callable[[DecodedOnce], Embedder],
    size: tuple[int, int],
    *,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Indexed:
    """Decode and embed the entries' pictures at `size` (height, width) and add them; those that are there are not read.

    `embedder` is asked for once, with the pictures to come, and not where there are none. `progress` is told how many
    of all entries are done.

    Raises:
        GalleryError: the gallery cannot be written; what was added stays.
    """
    known = gallery.known([entry.id for entry in entries])
    fresh = [at for at in first_of_each(entry.id for entry in entries) if entries[at].id not in known]
    pixels, before, new = DecodedOnce([entries[at].picture for at in fresh], size), len(entries) - len(fresh), 0

    def count(images: int) -> None:
        if progress is not None:
            progress(before + images, len(entries))

    if fresh:
        for places, rows in each_embedded(pixels, embedder(pixels), batch, count):
            new += gallery.add([entries[fresh[place]] for place in places], rows).new
    broken = tuple((fresh[place], reason) for place, reason in pixels.broken)
    return Indexed(new, len(entries) - new - len(broken), broken)


def each_embedded(
    pixels: DecodedOnce, embedder: Embedder, batch: int, count: Callable[[int], None]
) -> Iterator[tuple[list[int], Float[Tensor, "b d"]]]:
    """Embed all pictures, a batch at a time: the places of those that are not broken, and their rows.

    `count` is told how many pictures are done once a batch has been used.

    Raises:
        DataError: a file cannot be read.
    """
    for index, images in prefetched(pixels, torch.arange(len(pixels)).split(batch), torch.device("cpu")):
        whole = pixels.whole(index)
        if len(whole):
            yield index[whole].tolist(), embedder(images[whole])
        count(int(index[-1]) + 1)
