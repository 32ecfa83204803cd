"""How good a model is, from unlabelled images alone: indicators, one estimate of them, and the choice of a checkpoint.

No indicator knows an identity, and none needs N×N: some images are asked, as queries, against all. Each is larger
where the model is better. They compare models on the *same* images, asked the same; an estimate of 0.5 is no mAP.

What is asked of the images that a model was trained on flatters it where it has learnt them by heart; ask images that
it has not seen where there are enough (METHODS: "Trust without labels").
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.errors import ConfigError, ShapeError
from resight.neighbours import rank_counts
from resight.storage import Rows, product
from resight.trust_lists import NEAR, Neighbours, block_rows, mean, neighbours, overlap
from resight.types import UNKNOWN_CAMID

MOST_ASKED = 2000
"""Images that are asked, where there are more."""


@dataclass(frozen=True, slots=True)
class Indicators:
    """What was found, each 0..1 but `compactness`, larger is better; None where it could not be asked.

    Under one drawn augmentation, against the plain rows:
        view_rank: 1 / the rank of the image's own plain row, averaged.
        view_near: share of the nearest images that stay the nearest.
        view_across: the same of the nearest images in other cameras.
    Between cameras, on plain rows:
        cycle: from the image to its nearest j in another camera and back: 1 / its rank for j in its own camera.
        reach: 1 / the rank of the first image of another camera among all; low where cameras lie apart.
        mixing: share of other cameras among the nearest, over their share of the images, 1 at most.
    On plain rows:
        reciprocity: share of the nearest images that have the image among their own nearest.
        spread: effective rank of the rows over the largest possible; near 0 where all images look alike.
    Over time, and of pseudo labels:
        steady: share of the nearest images that were so for the earlier model too.
        labels_kept: adjusted Rand index with the earlier pseudo labels (1: the same groups, about 0: by chance).
        inside: share of the images that are in a cluster.
        compactness: silhouette against the centres of the clusters, −1..1.
    """

    view_rank: float | None = None
    view_near: float | None = None
    view_across: float | None = None
    cycle: float | None = None
    reach: float | None = None
    mixing: float | None = None
    reciprocity: float | None = None
    spread: float | None = None
    steady: float | None = None
    labels_kept: float | None = None
    inside: float | None = None
    compactness: float | None = None

    def record(self) -> dict[str, float]:
        """Give what is known, for the log."""
        return {name: round(value, 5) for name, value in asdict(self).items() if value is not None}


def asked(images: int, *, most: int = MOST_ASKED, seed: int = 0) -> Int[Tensor, " m"]:
    """Draw the images that are asked, `most` at most, ascending: the same ones for the same number and seed."""
    if most < 1:
        raise ConfigError(f"at least 1 image must be asked to judge a model, got {most}")
    drawn = torch.randperm(images, generator=torch.Generator().manual_seed(seed))[:most]
    return drawn.sort().values


def indicators(
    rows: Rows | Float[Tensor, "n d"],
    camids: Int[Tensor, " n"],
    index: Int[Tensor, " m"],
    *,
    views: Float[Tensor, "m d"] | None = None,
    earlier: Neighbours | None = None,
    near: int = NEAR,
) -> tuple[Indicators, Neighbours]:
    """Ask the images at `index` among all; give what was found, and the lists, to be `earlier` of the next model.

    Three passes of M·N products (two where there are no cameras or no views); M is 2,000 at most if `asked` draws it.

    Args:
        rows: unit rows of all images, as the model gives them without augmentation.
        camids: `UNKNOWN_CAMID` where not known; such an image is asked no question about cameras and answers none.
        index: which images are asked, each once.
        views: unit rows of the same images under an augmentation.
        earlier: what another model, or this one an epoch ago, gave for the same `index`.
        near: neighbours that are compared; cut to N − 1.

    Raises:
        ShapeError: camids, views or the earlier lists do not fit the images.
    """
    rows = Rows(rows) if isinstance(rows, Tensor) else rows
    check(rows, camids, index, views, earlier)
    if len(rows) < 2 or not len(index):
        return Indicators(), neighbours(rows, camids, index, near=near)
    plain = neighbours(rows, camids, index, near=near)
    crossing = plain.crossing
    found = Indicators(reciprocity=reciprocity(rows, plain), spread=spread(rows, index))
    if bool(crossing.any()):
        found = replace(
            found,
            cycle=cycle(rows, camids, plain),
            reach=mean(1 / (1.0 + plain.ahead[crossing])),
            mixing=mixing(camids, plain),
        )
    if views is not None:
        seen = neighbours(rows, camids, index, near=near, views=views)
        found = replace(found, view_rank=mean(1 / seen.own_rank.float()), view_near=overlap(plain.near, seen.near))
        if bool(crossing.any()):
            found = replace(found, view_across=overlap(plain.across[crossing], seen.across[crossing]))
    if earlier is not None:
        found = replace(found, steady=overlap(plain.near, earlier.near))
    return found, plain


def check(rows: Rows, camids: Tensor, index: Tensor, views: Tensor | None, earlier: Neighbours | None) -> None:
    """Raise ShapeError unless all is of the same images."""
    if len(camids) != len(rows):
        raise ShapeError(f"camids must be {len(rows)}, one for each image, got {len(camids)}")
    if views is not None and views.shape != (len(index), rows.dim):
        raise ShapeError(
            f"views must be ({len(index)}, {rows.dim}), one row for each image asked, got {tuple(views.shape)}"
        )
    if earlier is not None and not torch.equal(earlier.index.cpu(), index.cpu()):
        raise ShapeError(
            f"earlier neighbours must be those of the same {len(index)} images, got those of {len(earlier.index)} "
            "others; draw both with one seed"
        )


def ranks(rows: Rows, pairs: Int[Tensor, "p 2"]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Give, in blocks of pairs (j, i), the pairs, j's similarity to all images, and to i."""
    for block in pairs.split(block_rows(rows)):
        similarity = product(rows.read(block[:, 0]), rows)
        yield block, similarity, similarity.gather(1, block[:, 1:])


def cycle(rows: Rows, camids: Int[Tensor, " n"], plain: Neighbours) -> float:
    """Go to the nearest j of another camera and back: 1 / rank of the image for j among its own camera's, averaged."""
    camids = camids.to(rows.device)
    crossing = plain.crossing
    pairs = torch.stack([plain.across[crossing, 0], plain.index[crossing]], dim=1)
    back = []
    for block, similarity, score in ranks(rows, pairs):
        home = camids == camids[block[:, 1]].unsqueeze(1)
        back.append(1 + ((similarity > score) & home).sum(dim=1))
    return mean(1 / torch.cat(back).float())


def mixing(camids: Int[Tensor, " n"], plain: Neighbours) -> float:
    """Share of other cameras among the nearest, over their share of all images of known camera, 1 at most."""
    camids = camids.to(plain.near.device)
    crossing = plain.crossing
    images, near = plain.index[crossing], plain.near[crossing]
    known = camids[near] != UNKNOWN_CAMID
    other = (camids[near] != camids[images].unsqueeze(1)) & known
    found = other.sum(dim=1) / known.sum(dim=1).clamp(min=1)
    values, count = camids[camids != UNKNOWN_CAMID].unique(return_counts=True)
    own = count[torch.searchsorted(values, camids[images])]
    expected = (count.sum() - own) / (count.sum() - 1)
    return min(1.0, mean(found) / mean(expected))


def reciprocity(rows: Rows, plain: Neighbours) -> float:
    """Share of the nearest images that have the image among as many nearest of their own.

    One image in k is looked at, with all its k neighbours, so that it costs one pass as the others do.
    """
    near = plain.near.shape[1]
    some = torch.arange(0, len(plain.index), near, device=plain.index.device)
    pairs = torch.stack([plain.near[some].flatten(), plain.index[some].repeat_interleave(near)], dim=1)
    mutual = []
    for block, similarity, _ in ranks(rows, pairs):
        place = torch.arange(len(block), device=similarity.device)
        similarity[place, block[:, 0]] = -torch.inf
        mutual.append(rank_counts(similarity, place, block[:, 1]) < near)
    return mean(torch.cat(mutual))


COLLAPSED = 1e-6
"""Variance of unit rows about their mean below which they count as one point."""


def spread(rows: Rows, index: Int[Tensor, " m"]) -> float:
    """Effective rank of the rows at `index` about their mean, over min(M − 1, D): exp of the spectrum's entropy.

    0 where the rows are one point, or no numbers.

    Paper: Garrido, Balestriero, Najman, LeCun, ICML 2023 (RankMe), here of the centred rows' variances.
    """
    sample = rows.read(index.to(rows.device)).double()
    sample = sample - sample.mean(dim=0)
    if len(sample) < 2 or not float(sample.square().sum(dim=1).mean()) > COLLAPSED:  # not a number is no more
        return 0.0
    gram = sample @ sample.T if len(sample) < sample.shape[1] else sample.T @ sample
    variance = torch.linalg.eigvalsh(gram).clamp(min=0)
    part = variance / variance.sum()
    return math.exp(float(torch.special.entr(part).sum())) / min(len(index) - 1, rows.dim)


ESTIMATE = ("view_rank", "view_near", "cycle", "mixing")
"""What the estimate is the geometric mean of: chosen on runs of one data set, tried on those of another."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number for a model, 0..1, larger is better, and the indicators that it rests on.

    Comparable between models asked about the same images by the same indicators only; it is no mAP.
    """

    value: float
    rests_on: tuple[str, ...]

    def sentence(self) -> str:
        """Say it, and what it rests on."""
        left = [name for name in ESTIMATE if name not in self.rests_on]
        without = f"; without {' and '.join(left)}, which could not be asked" if left else ""
        return f"estimate without labels {self.value:.3f}, from {', '.join(self.rests_on)}{without}"


def estimate(found: Indicators, *, among: Sequence[str] = ESTIMATE) -> Estimate | None:
    """Give the geometric mean of those indicators of `among` that are known; None where none is.

    A model that shows all images alike (`spread` 0) gets 0: where all is tied, every other question is answered well.
    """
    known = {name: value for name in among if (value := getattr(found, name)) is not None}
    if not known:
        return None
    if found.spread == 0:
        return Estimate(0.0, tuple(known))
    product_of_all = math.prod(max(0.0, value) for value in known.values())
    return Estimate(product_of_all ** (1 / len(known)), tuple(known))


def choose(models: Sequence[Indicators]) -> int:
    """Give the position of the model with the best estimate, from indicators that all have; of equals the first.

    Raises:
        ConfigError: there is no model, or no indicator of the estimate is known of all.
    """
    shared = [name for name in ESTIMATE if all(getattr(model, name) is not None for model in models)]
    if not models or not shared:
        raise ConfigError(
            f"choosing without labels needs one of {', '.join(ESTIMATE)} of every model, got {len(models)} models "
            "with none in common; measure all of them with views"
        )
    values = [known.value for model in models if (known := estimate(model, among=shared)) is not None]
    return values.index(max(values))
