"""Proxies: one row for each cluster, or for each cluster and camera, that a batch is compared with in place of images.

Papers: rows for clusters: Dai, Wang, Yuan, Zhu, Tan, ACCV 2022 (Cluster-Contrast); outliers with rows of their own: Ge,
Zhu, Chen, Zhao, Li, NeurIPS 2020 (SpCL); rows for clusters and cameras: Wang, Lai, Huang, Gong, AAAI 2021 (CAP).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from resight.clustering import OUTLIER
from resight.errors import ConfigError, ResightError, ShapeError, no_such_name
from resight.memory import FeatureMemory
from resight.storage import BLOCK_BYTES, Rows, product
from resight.types import UNKNOWN_CAMID

NO_ROW = -1
"""`of_image` of an image that has no row."""


@dataclass(slots=True)
class Proxies:
    """M rows made of N images, for as long as their clusters hold; everything is on the device of the rows.

    Attributes:
        rows: unit length, but zero where no member's row is written yet; ordered by `pseudo_pid`, then `camid`.
        of_image: row of each image, `NO_ROW` for an outlier that was dropped.
        pseudo_pid: cluster of each row; an outlier's is a number of its own beyond those of the clusters.
        camid: camera of each row; `UNKNOWN_CAMID` throughout where rows are those of whole clusters.
        image_camid: camera of each image; `UNKNOWN_CAMID` throughout where rows are those of whole clusters.
    """

    rows: Float[Tensor, "m d"]
    of_image: Int[Tensor, " n"]
    pseudo_pid: Int[Tensor, " m"]
    camid: Int[Tensor, " m"]
    image_camid: Int[Tensor, " n"]

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        memory: FeatureMemory,
        pseudo_pid: Int[Tensor, " n"],
        camids: Int[Tensor, " n"] | None = None,
        *,
        outliers: str,
        weights: Float[Tensor, " n"] | None = None,
    ) -> "Proxies":
        """Give each cluster the normalised mean of its members' rows in the memory.

        Args:
            memory: one row per image; read in blocks, wherever it lies.
            pseudo_pid: cluster of each image, 0 or more, or `OUTLIER`.
            camids: give each cluster one row per camera instead; images of unknown camera count as one camera more.
            outliers: "own": each has a row of its own; "dropped": they have none.
            weights: what each image counts in its row's mean, 0..1; where all members' are 0, all count the same.

        Raises:
            ConfigError: `outliers` is neither of the two.
            ShapeError: there is not one pseudo_pid, camid and weight for each image of the memory.
            ResightError: no image has a row: all are outliers, and dropped.
        """
        check_lengths(len(memory), pseudo_pid=pseudo_pid, camids=camids, weights=weights)
        number = identity_numbers(pseudo_pid.cpu(), outliers)
        image_camid = torch.full_like(number, UNKNOWN_CAMID) if camids is None else camids.cpu().long()
        inside = number != OUTLIER
        if not inside.any():
            raise ResightError(
                f"all {len(memory):,} training images are outliers, so there is no cluster to compare them with; "
                "raise miner.eps or lower miner.min_samples"
            )
        cameras, camera = image_camid.unique(return_inverse=True)
        key, row = (number * len(cameras) + camera)[inside].unique(return_inverse=True)
        of_image = torch.full_like(number, NO_ROW)
        of_image[inside] = row
        of_image = of_image.to(memory.device)
        rows = means(memory, of_image, len(key), weights)
        identity, camid = (key // len(cameras)).to(rows.device), cameras[key % len(cameras)].to(rows.device)
        return cls(rows, of_image, identity, camid, image_camid.to(rows.device))

    def __len__(self) -> int:
        return len(self.rows)

    def scores(self, embeddings: Float[Tensor, "b d"]) -> Float[Tensor, "b m"]:
        """Cosine of each embedding with each row; gradients flow to `embeddings` only. Before `update`, not after."""
        return product(embeddings.to(self.rows), Rows(self.rows))

    def positives(self, index: Int[Tensor, " b"]) -> Bool[Tensor, "b m"]:
        """Mark the rows of each image's identity, of all its cameras; none for an image without a row."""
        own = self.of_image[index.to(self.rows.device)]
        return (self.pseudo_pid[own].unsqueeze(1) == self.pseudo_pid) & (own != NO_ROW).unsqueeze(1)

    def same_camera(self, index: Int[Tensor, " b"]) -> Bool[Tensor, "b m"]:
        """Mark the rows of each image's camera; all rows where they are those of whole clusters."""
        return self.image_camid[index.to(self.rows.device)].unsqueeze(1) == self.camid

    @torch.no_grad()
    def update(
        self, index: Int[Tensor, " b"], embeddings: Float[Tensor, "b d"], momentum: float, how: str = "each"
    ) -> None:
        """Mix a batch into its rows: m ← normalise(momentum · m + (1 − momentum) · f); images without one are no part.

        Args:
            index: images of the batch.
            embeddings: unit length.
            momentum: share of the old row kept, 0..1.
            how: what f is, a key of `UPDATES`: "each" image of the row in turn, in the order of the batch; their
                "mean", not normalised; or the "hard" one, least similar to the row.

        Raises:
            ConfigError: `momentum` is outside its range, or there is no such `how`.
            ShapeError: there is not one embedding for each image of the batch.
        """
        if not 0 <= momentum < 1:
            raise ConfigError(f"memory.momentum must lie in [0, 1), got {momentum}")
        if how not in UPDATES:
            raise no_such_name("way to update proxies", how, UPDATES)
        if embeddings.shape != (len(index), self.rows.shape[1]):
            raise ShapeError(
                f"embeddings must be ({len(index)}, {self.rows.shape[1]}) to update with as many images, "
                f"got {tuple(embeddings.shape)}"
            )
        own = self.of_image[index.to(self.rows.device)]
        has_row = own != NO_ROW
        for row, mixed_in in UPDATES[how](self.rows, own[has_row], embeddings.to(self.rows)[has_row]):
            self.rows[row] = normalize(momentum * self.rows[row] + (1 - momentum) * mixed_in, dim=1)


Step = tuple[Int[Tensor, " r"], Float[Tensor, "r d"]]
"""Different rows, and what is mixed into each."""


def each_in_turn(
    rows: Float[Tensor, "m d"], own: Int[Tensor, " b"], embeddings: Float[Tensor, "b d"]
) -> Iterator[Step]:
    """All rows' first images of the batch, then their second ones, and so on: rows do not depend on each other."""
    if not len(own):
        return
    order = own.argsort(stable=True)
    ascending = own[order]
    turn = torch.empty_like(own)
    turn[order] = torch.arange(len(own), device=own.device) - torch.searchsorted(ascending, ascending)
    for part in turn.argsort(stable=True).split(turn.bincount().tolist()):
        yield own[part], embeddings[part]


def mean_of_batch(
    rows: Float[Tensor, "m d"], own: Int[Tensor, " b"], embeddings: Float[Tensor, "b d"]
) -> Iterator[Step]:
    """Each row's mean of its images."""
    row, place, count = own.unique(return_inverse=True, return_counts=True)
    total = embeddings.new_zeros(len(row), embeddings.shape[1]).index_add_(0, place, embeddings)
    yield row, total / count.unsqueeze(1)


def least_similar(
    rows: Float[Tensor, "m d"], own: Int[Tensor, " b"], embeddings: Float[Tensor, "b d"]
) -> Iterator[Step]:
    """Each row's least similar image; of equals the first in the batch."""
    order = (embeddings * rows[own]).sum(dim=1).argsort(stable=True)
    order = order[own[order].argsort(stable=True)]
    ascending = own[order]
    first = torch.ones_like(ascending, dtype=torch.bool)
    first[1:] = ascending[1:] != ascending[:-1]
    yield ascending[first], embeddings[order[first]]


UPDATES: dict[str, Callable[[Tensor, Tensor, Tensor], Iterator[Step]]] = {
    "each": each_in_turn,
    "mean": mean_of_batch,
    "hard": least_similar,
}


def identity_numbers(pseudo_pid: Int[Tensor, " n"], outliers: str) -> Int[Tensor, " n"]:
    """Give outliers numbers of their own beyond the clusters', or leave them `OUTLIER` where they are "dropped".

    Raises:
        ConfigError: `outliers` is neither "own" nor "dropped".
    """
    if outliers not in ("own", "dropped"):
        raise ConfigError(f"outliers must be 'own' (a row each) or 'dropped' (none), got '{outliers}'")
    number, alone = pseudo_pid.long(), pseudo_pid == OUTLIER
    if outliers == "own" and alone.any():
        number = number.clone()
        number[alone] = 1 + number.max() + torch.arange(int(alone.sum()))
    return number


def means(
    memory: FeatureMemory, of_image: Int[Tensor, " n"], count: int, weights: Float[Tensor, " n"] | None
) -> Float[Tensor, "m d"]:
    """Normalised, weighed means of the memory's rows; see `Proxies.of`."""
    total = torch.zeros(count, memory.rows.dim, dtype=memory.features.dtype, device=memory.device)
    share = None if weights is None else member_shares(of_image, count, weights.to(total))
    step = max(1, BLOCK_BYTES // max(1, memory.rows.dim * 8))
    for block in torch.arange(len(memory), device=memory.device).split(step):
        members = block[of_image[block] != NO_ROW]
        piece = memory.read(members)
        if share is not None:
            piece = piece * share[members].unsqueeze(1)
        total.index_add_(0, of_image[members], piece)
    return normalize(total, dim=1)


def member_shares(of_image: Int[Tensor, " n"], count: int, weights: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What each image is of the total weight of its row; 1 for all members of a row whose total is 0."""
    inside = of_image != NO_ROW
    total = weights.new_zeros(count).index_add_(0, of_image[inside], weights[inside])[of_image]
    return torch.where(total > 0, weights / total, 1.0)


def check_lengths(images: int, **of_images: Tensor | None) -> None:
    """Raise ShapeError unless all that is given has one entry per image."""
    for name, values in of_images.items():
        if values is not None and len(values) != images:
            raise ShapeError(
                f"{name} must hold one entry for each of the {images} images of the memory, got {len(values)}"
            )
