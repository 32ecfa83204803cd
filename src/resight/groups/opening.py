"""What is to be grouped: the images of DATA, of a gallery and of an earlier result, and the embeddings of all."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from resight.artifacts import load_model
from resight.audit_plan import data_of
from resight.backbones import ReidModel
from resight.calibrate import fingerprint
from resight.config import Recipe
from resight.data.digests import default_cache_dir
from resight.data.formats import read_dataset
from resight.errors import ConfigError, DataError
from resight.groups.rows import Crops, Row, entry_rows, rows_of
from resight.groups.saved import SavedGroups, with_earlier
from resight.prepare import AllBrokenError, choose_device
from resight.progress import Bar, Say
from resight.run_images import each_once, embed_split
from resight.score_counts import Progress
from resight.types import Split

if TYPE_CHECKING:
    from resight.gallery import Gallery
    from resight.groups.running import GroupRequest

Held = dict[str, Float[Tensor, " d"]]
"""Embeddings that are there, by the digest of the image's content."""


def open_crops(
    request: "GroupRequest", saved: SavedGroups | None, say: Say, bar: Bar
) -> tuple[Crops, Float[Tensor, "n d"], Recipe]:
    """Lay together the earlier rows, DATA and the gallery, and embed the contents of which no embedding is there.

    The order is that of DATA, so that a gallery of the same images changes nothing.

    Raises:
        ConfigError: neither DATA nor a gallery is given, or the device cannot be used.
        GalleryError: the gallery is of another model, or cannot be opened.
        DataError, CheckpointError: data or model cannot be read.
    """
    if request.data is None and request.gallery is None:
        raise ConfigError("there must be images to group: give DATA, --gallery, or both")
    model, recipe = load_model(request.run, choose_device(request.device))
    model_digest = fingerprint(request.run)
    dataset = None if request.data is None else read_dataset(request.data, request.format)
    root = _names_root(request.run) if dataset is None else dataset.root
    stored, held = ([], {}) if request.gallery is None else read_gallery(request.gallery, model_digest, root, bar)
    rows = []
    if dataset is not None:
        cache_dir = request.cache_dir or default_cache_dir()
        rows = rows_of(each_once(dataset, request.split), dataset.root, cache_dir)
    held = {**held, **_held_before(request, saved, (model_digest, model.dim), say)}
    crops = Crops.of(with_earlier(saved, [*rows, *stored]))
    crops = _embedded(request, (model, recipe), crops, held, (say, bar))
    copies = len(crops.rows) - len(crops)
    if copies:
        say(f"{copies:,} of {len(crops.rows):,} images are copies of others and stand in their groups")
    device = next(model.parameters()).device
    return crops, torch.stack([held[row.id] for row in crops.firsts]).to(device), recipe


def read_gallery(uri: str, model_digest: str, root: Path, bar: Bar) -> tuple[list[Row], Held]:
    """Read all entries and embeddings of a gallery, which is closed again; `root`: see `entry_rows`.

    Raises:
        GalleryError: it is of another model, empty, in use, or cannot be opened.
    """
    from resight.errors import GalleryError
    from resight.gallery import Gallery

    with Gallery.open(uri, model_digest) as gallery:
        rows, held = gallery_rows(gallery, root, bar("reading the gallery"))
    if not rows:
        raise GalleryError(f"{uri} holds no images; add some with resight index")
    return rows, held


def gallery_rows(gallery: "Gallery", root: Path, progress: Progress | None = None) -> tuple[list[Row], Held]:
    """Read all entries and embeddings of an open gallery; `root`: see `entry_rows`.

    Raises:
        GalleryError: they cannot be read.
    """
    rows: list[Row] = []
    held: Held = {}
    total = len(gallery)
    for entries, vectors in gallery.blocks():
        rows += entry_rows(entries, root)
        held |= by_id((entry.id for entry in entries), vectors)
        if progress is not None:
            progress(len(rows), total)
    return rows, held


def _names_root(run: Path) -> Path:
    """Give the folder below which answers name images, where there is no DATA: that of the run's own."""
    try:
        return data_of(run)[0].absolute()
    except DataError:
        return run.absolute()


def _held_before(request: "GroupRequest", saved: SavedGroups | None, model: tuple[str, int], say: Say) -> Held:
    """Give the embeddings that an earlier result holds, if they are of the model's digest and dimension."""
    if saved is None or saved.embeddings is None:
        return {}
    if (saved.fingerprint, saved.embeddings.shape[1]) != model:
        say(f"{request.known} is of another model: its {len(saved.crops):,} images are embedded anew; they keep their "
            "groups")  # fmt: skip
        return {}
    return by_id((row.id for row in saved.crops.firsts), saved.embeddings)


def by_id(ids: Iterable[str], rows: Float[Tensor, "n d"]) -> Held:
    """Give each embedding by its content's digest."""
    return dict(zip(ids, rows.unbind(), strict=True))


def _embedded(
    request: "GroupRequest", loaded: tuple[ReidModel, Recipe], crops: Crops, held: Held, shown: tuple[Say, Bar]
) -> Crops:
    """Embed into `held` what it lacks; broken images are left out of the crops, where that was asked for."""
    fresh = [row for row in crops.firsts if row.id not in held]
    if not fresh:
        return crops
    model, recipe = loaded
    try:
        split, vectors = embed_split(
            *(model, recipe.input.height_width, Split("data", tuple(row.sample for row in fresh))),
            cache_dir=request.cache_dir,
            skip_broken=request.skip_broken,
            say=shown[0],
            bar=shown[1],
        )
    except AllBrokenError:
        if not held:
            raise
        shown[0](f"{len(fresh)} broken images were left out")
        return _known_only(crops, held)
    good = set(split.pictures)
    held |= by_id((row.id for row in fresh if row.sample.picture in good), vectors.cpu())
    return crops if len(split) == len(fresh) else _known_only(crops, held)


def _known_only(crops: Crops, held: Held) -> Crops:
    return Crops.of(row for row in crops.rows if row.id in held)
