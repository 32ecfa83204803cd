"""Camera by camera: how well queries of one are found in another, or where the nearest images of each are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.report.material import Material
from resight.report.tested import Tested
from resight.types import UNKNOWN_CAMID, UNKNOWN_TRACKLET, Split

CAMERAS_SHOWN = 24
"""Most cameras of a matrix: those with the most images."""

NEAREST = 5
"""Nearest images of each image that are counted by camera."""

ASKED = 4_000
"""Most images whose nearest are looked for."""

LIGHT, DARK = (235, 242, 250), (8, 69, 128)
"""Colours of 0 and of the largest value of a matrix: one hue from light to dark, read without telling hues apart."""


NEAREST_SAID = (
    f"Of the {NEAREST} nearest images of each image (its own tracklet left out): the share in each camera. It reads no "
    "identity and is no score; but where nearly all nearest images are of the own camera, the model sees the camera "
    "before it sees who is in the picture. Last row: each camera's share of all images."
)


@dataclass(frozen=True)
class Cell:
    """A value, 0..1, and in words what stands under and behind it; `value` None: nothing to measure."""

    value: float | None
    below: str = ""
    title: str = ""


def pair_scores(test: Tested) -> dict[str, Any] | None:
    """Matrix of mAP and rank-1 by query camera and gallery camera; None where no pair of cameras was scored."""
    pairs = {(pair.query_camid, pair.gallery_camid): pair for pair in test.result.camera_pairs}
    if not pairs:
        return None
    rows = _shown(test.query.camids, {query for query, _ in pairs})
    columns = _shown(test.gallery.camids, {gallery for _, gallery in pairs})
    cells = []
    for query in rows:
        line = []
        for gallery in columns:
            pair = pairs.get((query, gallery))
            names = f"{camera_name(query)} to {camera_name(gallery)}"
            if pair is None:
                line.append(Cell(None, title=f"{names}: no query has a right answer there"))
                continue
            said = f"{names}: mAP {100 * pair.mAP:.1f} %, rank-1 {100 * pair.cmc1:.1f} %, {pair.queries:,} queries"
            line.append(Cell(pair.mAP, f"R1 {100 * pair.cmc1:.0f}", said))
        cells.append(line)
    return _matrix(
        "mAP and rank-1, %, by pair of cameras",
        "Each query searches the images of one camera alone. Large: mAP; below it rank-1.",
        ("query camera", "gallery camera"),
        (rows, columns, cells),
    ) | {"hidden": _hidden(test.gallery.camids, columns)}


def neighbour_shares(material: Material) -> dict[str, Any] | None:
    """Matrix of where the nearest images of each camera's images are; None where fewer than two cameras are known."""
    camids = torch.tensor(material.images.camids, dtype=torch.long)
    shown = _shown(camids.tolist(), set(camids.tolist()) - {UNKNOWN_CAMID})
    if len(shown) < 2:
        return None
    shares = shares_of_nearest(material.embeddings, camids, _tracklets(material.images), shown)
    counts = Counter(camids.tolist())
    chance = {camera: counts[camera] / len(camids) for camera in shown}
    cells = [
        [
            Cell(
                share,
                title=f"{100 * share:.1f} % of the nearest images of {camera_name(one)} are in {camera_name(other)}, "
                f"which holds {100 * chance[other]:.1f} % of all",
            )
            for other, share in zip(shown, shares[row].tolist(), strict=True)
        ]
        for row, one in enumerate(shown)
    ]
    cells.append([Cell(share, title=f"{camera_name(camera)} holds {100 * share:.1f} % of all images")
                  for camera, share in chance.items()])  # fmt: skip
    matrix = _matrix(
        "Where the nearest images are, %, by camera",
        NEAREST_SAID,
        ("images of", "nearest images in"),
        (shown, shown, cells),
    )
    matrix["rows"][-1]["name"] = "all images"
    return matrix | {"hidden": _hidden(camids.tolist(), shown)}


def shares_of_nearest(
    embeddings: Float[Tensor, "n d"], camids: Int[Tensor, " n"], tracklets: Int[Tensor, " n"], shown: Sequence[int]
) -> Float[Tensor, "c c"]:
    """Share, 0..1, of the nearest images of each camera's images that lie in each camera; up to `ASKED` are asked.

    Images of the asked one's own tracklet and the image itself are passed over. A row may sum to less than 1 where not
    all cameras are shown.
    """
    found = torch.zeros(len(shown), len(shown))
    total = torch.zeros(len(shown))
    step = max(1, len(embeddings) // ASKED)
    for part in torch.arange(0, len(embeddings), step).split(1024):
        scores = embeddings[part] @ embeddings.T
        same = (tracklets[part].unsqueeze(1) == tracklets) & (tracklets[part] != UNKNOWN_TRACKLET).unsqueeze(1)
        same &= camids[part].unsqueeze(1) == camids  # a tracklet lies in one camera; numbers may come again in another
        same[torch.arange(len(part)), part] = True
        best, nearest = scores.masked_fill(same, -torch.inf).topk(min(NEAREST, len(embeddings)), dim=1)
        for row, camera in enumerate(shown):
            mine = camids[part] == camera
            valid = best[mine] > -torch.inf
            there = camids[nearest[mine]]
            total[row] += valid.sum()
            for column, other in enumerate(shown):
                found[row, column] += ((there == other) & valid).sum()
    return found / total.clamp_min(1).unsqueeze(1)


def camera_name(camid: int) -> str:
    """Name a camera."""
    return "unknown camera" if camid == UNKNOWN_CAMID else f"camera {camid}"


def _tracklets(images: Split) -> Int[Tensor, " n"]:
    return torch.tensor(images.tracklets, dtype=torch.long)


def _shown(camids: Sequence[int], known: set[int]) -> list[int]:
    """Give the cameras with the most images, ascending."""
    counts = Counter(camid for camid in camids if camid in known)
    return sorted(camid for camid, _ in counts.most_common(CAMERAS_SHOWN))


def _hidden(camids: Sequence[int], shown: Sequence[int]) -> int:
    return len(set(camids) - {UNKNOWN_CAMID} - set(shown))


def _matrix(
    title: str, said: str, axes: tuple[str, str], content: tuple[Sequence[int], Sequence[int], list[list[Cell]]]
) -> dict[str, Any]:
    """Give what the template shows; a cell's colour goes by the largest value of the matrix."""
    rows, columns, cells = content
    largest = max((cell.value for line in cells for cell in line if cell.value is not None), default=0.0) or 1.0
    names = [camera_name(camera) for camera in rows]
    return {
        "title": title,
        "said": said,
        "axes": axes,
        "columns": [camera_name(camera) for camera in columns],
        "rows": [
            {"name": name, "cells": [_painted(cell, largest) for cell in line]}
            for name, line in zip([*names, ""], cells, strict=False)
        ],
    }


def _painted(cell: Cell, largest: float) -> dict[str, Any]:
    if cell.value is None:
        return {"text": "–", "below": "", "title": cell.title, "style": ""}
    share = cell.value / largest
    red, green, blue = (round(light + share * (dark - light)) for light, dark in zip(LIGHT, DARK, strict=True))
    ink = "#fff" if share > 0.5 else "#10151a"
    return {
        "text": f"{100 * cell.value:.0f}",
        "below": cell.below,
        "title": cell.title,
        "style": f"background: rgb({red} {green} {blue}); color: {ink}",
    }
