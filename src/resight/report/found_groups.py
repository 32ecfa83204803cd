"""Groups that the trained model finds: clusters as its own recipe makes them, else as the default recipe does."""

import dataclasses

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from resight.by_camera import standardise_by_camera
from resight.clustering import OUTLIER
from resight.config import MinerConfig, Recipe, options_at
from resight.constraints import find_constraints
from resight.looking import LOOKING, Facts, choices, own_camera_first
from resight.memory import FeatureMemory
from resight.miners.cluster import Cluster
from resight.mining import clustered
from resight.recipes import as_tables, load_recipe, parse_recipe
from resight.report.groups import Group, Groups, fits
from resight.report.material import Material
from resight.storage import Rows
from resight.types import UNKNOWN_CAMID

MEASURE = (
    "Fit: mean cosine to the group's other images, less that to the nearest other group. "
    "Near or below 0 an image could as well be elsewhere."
)


def found_groups(material: Material) -> Groups:
    """Cluster the images; no identity is read.

    Raises:
        ConfigError: the recipe clusters by a package that is not installed.
    """
    unlabelled = material.images.unlabelled()
    camids = torch.tensor(unlabelled.camids, dtype=torch.long)
    settings, said = _settings(material, camids)
    rows = Rows(material.embeddings.float().clone())
    known = bool((camids != UNKNOWN_CAMID).any())
    standard = camids if settings.by_camera else torch.full_like(camids, UNKNOWN_CAMID)
    if settings.by_camera and known:
        standardise_by_camera(rows, standard, rows)
    constraints = find_constraints(unlabelled, tracklets=settings.tracklets, same_time=settings.same_time)
    miner = _miner(settings, known=known)
    pseudo_pid = clustered(miner, FeatureMemory.over(rows), camids, constraints)
    return as_groups(material, pseudo_pid, rows.data, said)


def as_groups(material: Material, pseudo_pid: Int[Tensor, " n"], rows: Float[Tensor, "n d"], said: str) -> Groups:
    """Name clusters and say how well each image fits in its own."""
    margin = margins(rows, pseudo_pid)
    pictures = material.images.pictures
    inside = (pseudo_pid != OUTLIER).nonzero().squeeze(1)
    order = inside[pseudo_pid[inside].argsort(stable=True)]
    groups = []
    for members in order.split(pseudo_pid[inside].bincount().tolist()) if len(inside) else ():
        places = members.tolist()
        name = f"group {int(pseudo_pid[places[0]]) + 1}"
        groups.append(Group(name, tuple(pictures[place] for place in places), fits(margin.tolist(), places)))
    return Groups(tuple(groups), len(pictures) - len(inside), said, MEASURE)


def margins(rows: Float[Tensor, "n d"], pseudo_pid: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Mean cosine of each image to the others of its cluster, less the mean cosine to the nearest other cluster.

    From −2 to 2; 0 for outliers. Alone in its cluster an image counts with cosine 0 to it; where there is one cluster,
    nothing is taken off.
    """
    inside = (pseudo_pid != OUTLIER).nonzero().squeeze(1)
    margin = torch.zeros(len(rows))
    if not len(inside):
        return margin
    unit, cluster = normalize(rows[inside].float(), dim=1), pseudo_pid[inside]
    count = cluster.bincount().float()
    sums = torch.zeros(len(count), unit.shape[1]).index_add_(0, cluster, unit)
    for part in torch.arange(len(inside)).split(4096):
        cosine = unit[part] @ (sums / count.unsqueeze(1)).T
        at = cluster[part].unsqueeze(1)
        # The image's own product, 1, is no part of the mean over the others.
        own = (cosine.gather(1, at).squeeze(1) * count[cluster[part]] - 1) / (count[cluster[part]] - 1).clamp_min(1)
        other = cosine.scatter(1, at, -torch.inf).amax(dim=1)
        margin[inside[part]] = own.clamp_min(-1) - torch.where(other.isfinite(), other, 0.0)
    return margin


def _settings(material: Material, camids: Int[Tensor, " n"]) -> tuple[MinerConfig, str]:
    """Give the miner's settings as at the end of training, and say whose they are."""
    own = material.recipe
    if own.miner.name == "cluster":
        return own.miner, "Clusters of these images by the run's own recipe, as at the end of its training."
    facts = Facts(
        images=len(camids),
        cameras=len(set(camids.tolist()) - {UNKNOWN_CAMID}),
        tracklets=sum(sample.tracklet is not None for sample in material.images),
        own_first=own_camera_first(material.embeddings, camids),
        tall=own.input.height_width[0] > own.input.height_width[1],
    )
    default: Recipe = load_recipe(LOOKING)
    picked = [choice.override for choice in choices(facts) if choice.section == "miner"]
    settled = parse_recipe(as_tables(default), overrides=picked).miner
    return settled, f"The run's recipe ({own.name}) has no clusters; these are as the default recipe makes them."


def _miner(settings: MinerConfig, *, known: bool) -> Cluster:
    """Build the clustering as at the end of training; without cameras its lists are of all images together."""
    miner = Cluster(**options_at(settings.options, 1.0))
    if miner.across_cameras and not known:
        return dataclasses.replace(miner, across_cameras=False, once_per_camera=False, k2=min(miner.k2, miner.k1))
    return miner
