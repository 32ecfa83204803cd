"""The embedding map: images as points, near each other where the model takes them for alike."""

import importlib.util
import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from resight.errors import ConfigError, no_such_name
from resight.report.album import Album, short_name, small_image
from resight.report.cameras import camera_name
from resight.report.material import Material, evenly, identities
from resight.types import Picture, Sample

PROJECTIONS = ("auto", "umap", "pca")

SIDE = 1000
"""Points lie at whole numbers from 0 to this."""

CELL_LONG = 96
"""Longer side of a crop on the map's sheets, in pixels; a multiple of 16, the block of a JPEG."""

ACROSS, DOWN = 10, 10
"""Crops of a sheet."""

SHEET_QUALITY = 70

NEIGHBOURS = 15
"""Neighbours that UMAP keeps together; fewer show small groups, more the whole."""


@dataclass(frozen=True)
class EmbeddingMap:
    """What the template and its script show. `said`: how the map was made. `alt`: what it shows, in words."""

    said: str
    alt: str
    data: Mapping[str, Any]

    @property
    def json(self) -> str:
        """The data for the script, safe inside a page."""
        text = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def embedding_map(
    material: Material,
    groups: Mapping[Picture, str],
    album: Album,
    *,
    points: int,
    projection: str = "auto",
    pictures: bool = True,
) -> EmbeddingMap | None:
    """Lay up to `points` of the images out on a plane; None where there are fewer than three.

    There are fewer points where their names alone would fill the album. `pictures`: whether crops can be looked at.

    Raises:
        ConfigError: no such projection, or the package it needs is not installed.
    """
    rows = evenly(len(material.images), points)
    samples = [material.images.samples[row] for row in rows]
    while len(rows) >= 3 and (needed := _names_bytes(samples, groups)) > album.most:
        rows = evenly(len(material.images), len(rows) // 2)
        samples = [material.images.samples[row] for row in rows]
    if len(rows) < 3:
        return None
    album.spend(needed)
    places, said = project(material.embeddings[rows], projection)
    cell = cell_size(material.recipe.input.height_width)
    shown = [sample.picture for sample in samples] if pictures else []
    sheets, slots = crop_sheets(shown, cell, album)
    colourings = _colourings(samples, groups)
    data = {
        "points": places.tolist(),
        "names": [short_name(sample.picture) for sample in samples],
        "colourings": colourings,
        "sheets": sheets,
        "slots": slots or [-1] * len(samples),
        "across": ACROSS,
        "cell": cell,
        "side": SIDE,
    }
    drawn = f" of {material.whole:,} images, evenly drawn" if len(rows) < material.whole else " images"
    kinds = ", ".join(f"{len(found['labels'])} by {found['name']}" for found in colourings)
    alt = f"Map of {len(rows):,}{drawn}" + (f"; colours: {kinds}" if kinds else "")
    return EmbeddingMap(f"{len(rows):,}{drawn} ({material.images.name}). {said}", alt, data)


def _names_bytes(samples: Sequence[Sample], groups: Mapping[Picture, str]) -> int:
    """Bound what the points take on the page beside their pictures: places and numbers, names, names of groups."""
    names = [short_name(sample.picture) + groups.get(sample.picture, "") for sample in samples]
    return len(json.dumps(names, ensure_ascii=False).encode()) + 100 * len(samples)


def _colourings(samples: Sequence[Sample], groups: Mapping[Picture, str]) -> list[dict[str, Any]]:
    """Give what points can be coloured by, as far as it is known of any."""
    asked = {
        "identity": [None if pid is None else f"identity {pid}" for pid in identities(samples)],
        "group": [groups.get(sample.picture) for sample in samples],
        "camera": [None if sample.camid is None else camera_name(sample.camid) for sample in samples],
    }
    return [found for name, labels in asked.items() if (found := colouring(name, labels))["labels"]]


def project(embeddings: Float[Tensor, "n d"], projection: str) -> tuple[Tensor, str]:
    """Give a place (n, 2), whole numbers 0..`SIDE`, the same for the same embeddings, and how it was found.

    Papers: UMAP: McInnes, Healy, Melville 2018; PCA: Pearson 1901.

    Raises:
        ConfigError: no such projection, or the package it needs is not installed.
    """
    if projection not in PROJECTIONS:
        raise no_such_name("projection", projection, PROJECTIONS)
    installed = importlib.util.find_spec("umap") is not None
    if projection == "umap" and not installed:
        raise ConfigError("--projection umap needs the package umap-learn; pip install 'resight[map]', or choose pca")
    if installed and projection != "pca" and len(embeddings) > NEIGHBOURS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it speaks of parts that are not used here, of threads, of single points
            import umap

            places = umap.UMAP(n_neighbors=NEIGHBOURS, min_dist=0.1, metric="cosine", random_state=0, n_jobs=1)
            found = torch.from_numpy(places.fit_transform(embeddings.numpy())).double()
        return _scaled(found), "Places by UMAP: neighbours are kept together; how far apart groups lie means little."
    found, share = principal_plane(embeddings)
    said = f"Places by PCA: the two directions of the largest differences, {100 * share:.0f} % of all of them."
    if not installed and projection == "auto":
        said += " With pip install 'resight[map]' the map is made by UMAP, which shows groups more clearly."
    return _scaled(found), said


def principal_plane(embeddings: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n 2"], float]:
    """Give the first two principal components and their share, 0..1, of the variance."""
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    values, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
    two = torch.zeros(len(embeddings), 2, dtype=torch.float64)
    kept = min(2, len(values))
    two[:, :kept] = centred @ directions[:, -kept:].flip(1)
    total = float(values.clamp_min(0).sum())
    # The sign of a component is arbitrary: the largest part of it is made positive, so that the map is the same again.
    sign = two.gather(0, two.abs().argmax(dim=0, keepdim=True)).sign()
    return two * torch.where(sign == 0, 1.0, sign), float(values[-2:].clamp_min(0).sum()) / total if total else 0.0


def colouring(name: str, labels: Sequence[str | None]) -> dict[str, Any]:
    """Number the labels by falling frequency, −1 where there is none."""
    counts = Counter(label for label in labels if label is not None)
    order = {label: place for place, (label, _) in enumerate(counts.most_common())}
    return {
        "name": name,
        "labels": list(order),
        "counts": [counts[label] for label in order],
        "of": [-1 if label is None else order[label] for label in labels],
    }


def cell_size(height_width: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a crop, in the shape of the network's input, each a multiple of 16 pixels."""
    height, width = height_width
    scale = CELL_LONG / max(height, width)
    return tuple(max(16, round(side * scale / 16) * 16) for side in (width, height))  # type: ignore[return-value]


def crop_sheets(pictures: Sequence[Picture], cell: tuple[int, int], album: Album) -> tuple[list[str], list[int]]:
    """Lay crops side by side on sheets, which are smaller than as many files; −1: a picture that is on none.

    The order is drawn at random: where the album is full, crops are missing everywhere alike.
    """
    from PIL import Image

    width, height = cell
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0)).tolist()
    sheets: list[str] = []
    slots = [-1] * len(pictures)
    for first in range(0, len(order), ACROSS * DOWN):
        part = order[first : first + ACROSS * DOWN]
        if album.full:
            album.left_out += len(part)
            continue
        readable = [(place, small) for place in part if (small := small_image(pictures[place], cell)) is not None]
        sheet = Image.new("RGB", (width * ACROSS, height * -(-len(readable) // ACROSS or 1)), (128, 128, 128))
        for slot, (_, small) in enumerate(readable):
            left, top = slot % ACROSS * width, slot // ACROSS * height
            sheet.paste(small, (left + (width - small.width) // 2, top + (height - small.height) // 2))
        uri = album.take(sheet, quality=SHEET_QUALITY, holds=len(readable)) if readable else None
        if uri is not None:
            for slot, (place, _) in enumerate(readable):
                slots[place] = len(sheets) * ACROSS * DOWN + slot
            sheets.append(uri)
    return sheets, slots


def _scaled(places: Float[Tensor, "n 2"]) -> Tensor:
    """Put the points into the square, proportions kept."""
    low, high = places.amin(dim=0), places.amax(dim=0)
    scale = SIDE / float((high - low).max().clamp_min(1e-12))
    middle = (low + high) / 2
    return ((places - middle) * scale + SIDE / 2).round().long().clamp(0, SIDE)
