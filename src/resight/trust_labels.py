"""Indicators of pseudo labels: how they last from epoch to epoch, how tight they are, whether miners agree."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.clustering import OUTLIER
from resight.errors import ShapeError
from resight.storage import Rows
from resight.trust_lists import mean
from resight.types import SparsePositives


def labels_kept(pseudo_pid: Int[Tensor, " n"], earlier: Int[Tensor, " n"]) -> float:
    """Adjusted Rand index of two groupings: 1 for the same groups, about 0 for chance; an outlier is a group alone.

    Paper: Hubert, Arabie, Journal of Classification 1985, by scikit-learn.

    Raises:
        ShapeError: they are of different images.
    """
    from sklearn.metrics import adjusted_rand_score

    if pseudo_pid.shape != earlier.shape:
        raise ShapeError(f"groupings must be of the same images to be compared, got {len(pseudo_pid)}, {len(earlier)}")
    return float(adjusted_rand_score(alone(earlier).numpy(), alone(pseudo_pid).numpy()))


def alone(pseudo_pid: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Give every outlier a number of its own."""
    own = len(pseudo_pid) + torch.arange(len(pseudo_pid)) + max(0, int(pseudo_pid.max()) if len(pseudo_pid) else 0)
    return torch.where(pseudo_pid.cpu() == OUTLIER, own, pseudo_pid.cpu())


def inside(pseudo_pid: Int[Tensor, " n"]) -> float:
    """Share of the images that are in a cluster."""
    return mean((pseudo_pid != OUTLIER).float())


def compactness(
    rows: Rows | Float[Tensor, "n d"], pseudo_pid: Int[Tensor, " n"], index: Int[Tensor, " m"]
) -> float | None:
    """Silhouette of the images at `index` against centres instead of members, −1..1, averaged; None without clusters.

    a is 1 − the cosine to the centre of the image's other members, b that to the nearest other centre; the silhouette
    is (b − a) / max(a, b). Outliers and clusters of one image are asked nothing.

    Paper: Rousseeuw, Journal of Computational and Applied Mathematics 1987, simplified.
    """
    rows = Rows(rows) if isinstance(rows, Tensor) else rows
    label = pseudo_pid.to(rows.device)
    size = torch.bincount(label[label != OUTLIER])
    if len(size) < 2:
        return None
    total = torch.zeros(len(size), rows.dim, device=rows.device)
    for first, block in rows.blocks():
        there = label[first : first + len(block)]
        total.index_add_(0, there[there != OUTLIER], block[there != OUTLIER].float())
    index = index.to(rows.device)
    index = index[label[index] != OUTLIER]
    index = index[size[label[index]] > 1]
    if not len(index):
        return None
    values = []
    for images in index.split(1024):
        row, group = rows.read(images).float(), label[images].unsqueeze(1)
        others = torch.nn.functional.normalize(total[group.squeeze(1)] - row, dim=1)
        a = 1 - (row * others).sum(dim=1)
        b = 1 - (row @ torch.nn.functional.normalize(total, dim=1).T).scatter_(1, group, -torch.inf).amax(dim=1)
        values.append((b - a) / torch.maximum(a, b).clamp(min=1e-9))
    return mean(torch.cat(values))


def miners_agree(one: SparsePositives, other: SparsePositives) -> float | None:
    """Share of positives that two miners have in common, of all that either has, the image itself left out.

    Over all pairs (Jaccard index of the two sets of pairs); None where neither has any.

    Raises:
        ShapeError: they were mined from different images.
    """
    if len(one) != len(other):
        raise ShapeError(f"positives must be of the same images to be compared, got those of {len(one)}, {len(other)}")
    first, second = pairs(one), pairs(other)
    common = int(torch.isin(first, second, assume_unique=True).sum())
    either = len(first) + len(second) - common
    return common / either if either else None


def pairs(positives: SparsePositives) -> Int[Tensor, " p"]:
    """Number each mined pair of different images."""
    row = torch.arange(len(positives)).repeat_interleave(positives.offsets.diff())
    column = positives.columns.long()
    return (row * len(positives) + column)[row != column]
