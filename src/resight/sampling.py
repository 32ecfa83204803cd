"""Batches of identities: an epoch that shows several images of each cluster together, in as many cameras as can be.

Paper: the P×K batches of Hermans, Beyer, Leibe 2017 (In Defense of the Triplet Loss), with clusters for identities.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from resight.clustering import OUTLIER, numbered
from resight.errors import ConfigError, ResightError, ShapeError
from resight.proxies import identity_numbers


class Groups(NamedTuple):
    """Groups of images that share a batch. Those of identities cut in several stand first, an identity's in a row.

    Attributes:
        images: all images, by group.
        sizes: how many each group holds; among the groups of uncut identities the largest stand first.
        cut: how many groups belong to identities that are cut in several.
        most: groups of the identity that is cut in most.
    """

    images: Int[Tensor, " n"]
    sizes: Int[Tensor, " g"]
    cut: int
    most: int


def identity_batches(
    pseudo_pid: Int[Tensor, " n"],
    camids: Int[Tensor, " n"] | None,
    batch_size: int,
    per_identity: int,
    generator: Generator,
    *,
    outliers: bool,
) -> list[Int[Tensor, " b"]]:
    """Draw an epoch's batches: up to `per_identity` images of each of batch_size / per_identity identities, or of more.

    Every image of a cluster is shown once. A cluster of more than `per_identity` images is cut in parts of equal size
    (but for one image), each with as many of its cameras as can be, and no batch holds two of them; where smaller ones
    leave room, further identities fill it. Batches are of about equal size, smaller than `batch_size` where one cluster
    must be cut in more parts than there would be batches. Only who shares a cluster counts, not what number it has.

    Args:
        pseudo_pid: cluster of each image, or `OUTLIER`.
        camids: camera of each image; None, or unknown for all: nothing is balanced.
        batch_size: most images of a batch, 2 or more.
        per_identity: most images of an identity in a batch, 1..batch_size.
        generator: of the CPU; all draws come from it.
        outliers: show outliers too, as identities of one image.

    Returns:
        The batches, on the CPU, each with different images. A batch of one image, which BatchNorm cannot take, is left
        out; it is only met where other batches hold hardly more.

    Raises:
        ConfigError: a size is outside its range.
        ShapeError: there is not one camid for each image.
        ResightError: no two images can be shown together.
    """
    check_sizes(batch_size, per_identity)
    if camids is not None and len(camids) != len(pseudo_pid):
        raise ShapeError(f"camids must hold one camera for each of {len(pseudo_pid)} images, got {len(camids)}")
    groups = cut_identities(pseudo_pid.cpu(), camids, per_identity, generator, outliers=outliers)
    count = max(groups.most, -(-len(groups.images) // batch_size))
    batch = dealt(groups, count)
    while len(batch) and int(loads(groups, batch, count).max()) > batch_size:
        count += 1 + count // 64
        batch = dealt(groups, count)
    batch = torch.randperm(count, generator=generator)[batch].repeat_interleave(groups.sizes)
    parts = groups.images[batch.argsort(stable=True)].split(batch.bincount(minlength=count).tolist())
    batches = [part for part in parts if len(part) > 1]
    if not batches:
        raise ResightError(
            f"no batch can be made of {len(pseudo_pid):,} training images of which "
            f"{int((pseudo_pid != OUTLIER).sum()):,} are in clusters; raise miner.eps or lower miner.min_samples"
        )
    return batches


def cut_identities(
    pseudo_pid: Int[Tensor, " n"],
    camids: Int[Tensor, " n"] | None,
    per_identity: int,
    generator: Generator,
    *,
    outliers: bool,
) -> Groups:
    """Cut each identity in ⌈size / per_identity⌉ groups, each camera's images dealt to them in turn."""
    identity = identity_numbers(numbered(pseudo_pid.long().numpy()), "own" if outliers else "dropped")
    images = torch.randperm(len(identity), generator=generator)
    images = images[identity[images] != OUTLIER]
    if camids is not None:
        cameras, camera = camids.cpu().unique(return_inverse=True)
        camera = torch.randperm(len(cameras), generator=generator)[camera]
        images = images[camera[images].argsort(stable=True)]
    images = images[identity[images].argsort(stable=True)]
    size = identity[images].bincount()
    parts = (size + per_identity - 1) // per_identity
    # Dealt in turn along the cameras, k images of one camera reach min(k, parts) groups: as many as can be. Where the
    # turn starts is drawn, or the larger groups would always be the first.
    turn = torch.arange(len(images)) - (size.cumsum(0) - size).repeat_interleave(size)
    turn += torch.randint(2**31, (len(size),), generator=generator).repeat_interleave(size)
    order = ranked(size, parts, generator)
    before = (parts[order].cumsum(0) - parts[order])[order.argsort()]
    group = before[identity[images]] + turn % parts.repeat_interleave(size)
    several = parts[parts > 1]
    return Groups(
        images[group.argsort(stable=True)],
        group.bincount(),
        int(several.sum()),
        int(parts.max()) if len(parts) else 0,
    )


def ranked(size: Int[Tensor, " c"], parts: Int[Tensor, " c"], generator: Generator) -> Int[Tensor, " c"]:
    """Order identities: those in several parts first, then by size of a part, largest first; ties as drawn."""
    order = torch.randperm(len(size), generator=generator)
    order = order[(size / parts)[order].argsort(descending=True, stable=True)]
    return order[(parts == 1)[order].long().argsort(stable=True)]


def dealt(groups: Groups, count: int) -> Int[Tensor, " g"]:
    """Give each group a batch, 0..count − 1, so that batches are of about equal size.

    Groups of cut identities go round: neighbours, as one identity's are, never meet. The others fill the batches up to
    their mean size, in rounds of one group for each batch that has room, the largest to the batch that holds least.
    """
    batch = torch.arange(len(groups.sizes)) % max(1, count)
    load = loads(groups, batch, count, groups.cut)
    mean_size = -(-len(groups.images) // max(1, count))
    first = groups.cut
    while first < len(groups.sizes):
        filled = load + groups.sizes[first]
        order = load.argsort(stable=True)
        order = order[filled[order] <= max(mean_size, int(filled.min()))]
        sizes = groups.sizes[first : first + len(order)]
        order = order[: len(sizes)]
        batch[first : first + len(sizes)] = order
        load[order] += sizes
        first += len(sizes)
    return batch


def loads(groups: Groups, batch: Int[Tensor, " g"], count: int, first: int | None = None) -> Int[Tensor, " c"]:
    """How many images each batch holds of the `first` groups; None: of all."""
    return torch.zeros(count, dtype=torch.long).index_add_(0, batch[:first], groups.sizes[:first])


def check_sizes(batch_size: int, per_identity: int) -> None:
    """Raise ConfigError unless batches can be made of identities so."""
    if batch_size < 2:
        raise ConfigError(f"train.batch_size must be 2 or more, got {batch_size}")
    if not 1 <= per_identity <= batch_size:
        raise ConfigError(
            f"images per identity must lie in 1..train.batch_size, here 1..{batch_size}, got {per_identity}"
        )
