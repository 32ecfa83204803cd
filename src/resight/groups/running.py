"""`resight group`: a trained model and some images → a table of groups, from nothing or from an earlier result."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from resight.artifacts import load_model
from resight.backbones import ReidModel
from resight.calibrate import Calibration, fingerprint, load_calibration
from resight.config import Recipe
from resight.constraints import Constraints, find_constraints
from resight.data.digests import default_cache_dir
from resight.data.formats import read_dataset
from resight.errors import ConfigError, DataError
from resight.groups.grouping import Grouping, group_crops
from resight.groups.links import Links, find_links
from resight.groups.places import Threshold
from resight.groups.rows import Crops, Known, answered, earlier_of, earlier_rows, rows_of, with_known
from resight.groups.settings import Asked, settled
from resight.groups.table import check_out, read_known, write_groups
from resight.groups.thresholds import chosen_threshold
from resight.groups.tree import check_tree, wanted_links, write_tree
from resight.pair_answers import PairAnswer, read_answers
from resight.prepare import choose_device
from resight.run_images import Bar, Say, each_once, embed_split
from resight.types import Split


@dataclass(frozen=True)
class GroupRequest:
    """What `resight group` was asked for.

    `strict`: cut groups where no pair reaches the threshold; asking for a threshold or a rate asks for that, too.
    """

    run: Path
    data: Path
    out: Path
    known: Path | None = None
    answers: tuple[Path, ...] = ()
    tree: Path | None = None
    asked: Asked = field(default_factory=Asked)
    strict: bool = False
    threshold: float | None = None
    false_match_rate: float | None = None
    tracklets: bool = True
    same_time: bool = False
    split: str = "all"
    format: str | None = None
    device: str = "auto"
    cache_dir: Path | None = None
    skip_broken: bool = False
    overwrite: bool = False


def run_grouping(request: GroupRequest, say: Say, bar: Bar) -> dict[str, Any]:
    """Embed what is new, group, write; gives the figures.

    Nothing is written unless all of it has come about.

    Raises:
        ConfigError: a flag or file cannot be used, or a rate is asked for that nothing tells of.
        DataError: images, answers or the earlier result cannot be read, or contradict each other.
        CheckpointError: the model or its calibration cannot be read, or the table not be written.
    """
    check_out(request.out, request.known, overwrite=request.overwrite)
    if request.tree is not None:
        check_tree(request.tree)
    calibration = load_calibration(request.run)
    if request.strict and request.threshold is None and calibration is None:
        raise ConfigError(
            f"--strict needs to know which scores are a match, and {request.run} has no calibration; make one with "
            "resight calibrate, or give --threshold"
        )
    answers = [answer for file in request.answers for answer in read_answers(file)]
    known = read_known(request.known) if request.known is not None else Known()
    crops, embeddings, recipe = open_crops(request, known, say, bar)
    links = known_links(request, crops, known, answers, say)
    camids = torch.tensor(crops.split.camids)
    once = recipe.miner.name == "cluster" and bool(recipe.miner.options.get("once_per_camera", False))
    rules = settled(request.asked, embeddings, camids, trained_once=once)
    for sentence in rules.said:
        say(sentence)
    threshold = chosen_threshold(
        *(calibration, (embeddings, camids), request.threshold, request.false_match_rate),
        strict=request.strict,
        progress=bar("counting scores"),
    )
    grouping = group_crops(
        *(embeddings, camids, rules),
        links=links,
        calibration=calibration,
        threshold=threshold,
        progress=bar("comparing images"),
    )
    write_groups(request.out, crops, grouping, embeddings, fingerprint(request.run))
    for sentence in told(request, crops, grouping, calibration, threshold):
        say(sentence)
    if request.tree is not None:
        rows = crops.rows
        paths, ids = [row.sample.path for row in rows], [row.id for row in rows]
        kinds = write_tree(request.tree, wanted_links(paths, ids, grouping.group[crops.crop].tolist()))
        say(f"filled {request.tree} with {kinds}")
    return figures(crops, known, grouping, threshold)


def open_crops(request: GroupRequest, known: Known, say: Say, bar: Bar) -> tuple[Crops, Float[Tensor, "n d"], Recipe]:
    """Read DATA, put it below the earlier rows, and embed what the earlier result holds no embedding of.

    Raises:
        ConfigError, DataError, CheckpointError: device, data or model cannot be used.
    """
    device = choose_device(request.device)
    model, recipe = load_model(request.run, device)
    dataset = read_dataset(request.data, request.format)
    split = each_once(dataset, request.split)
    before, fresh = with_known(known, rows_of(split, dataset.root, request.cache_dir or default_cache_dir()))
    crops = Crops.of([*before, *fresh])
    held = earlier_rows(crops, known)
    if held is not None and (known.fingerprint != fingerprint(request.run) or held.shape[1] != model.dim):
        say(f"{request.known} is of another model: its {len(held):,} images are embedded anew; they keep their groups")
        held = None
    first = 0 if held is None else len(held)
    samples = crops.split.samples[first:]
    if samples:
        crops, rows = _embedded(request, (model, recipe), crops, first, (say, bar))
    else:
        rows = torch.empty(0, model.dim)
    copies = len(crops.rows) - len(crops)
    if copies:
        say(f"{copies:,} of {len(crops.rows):,} images are copies of others and stand in their groups")
    return crops, rows if held is None else torch.cat([held.to(rows), rows]), recipe


def _embedded(
    request: GroupRequest,
    loaded: tuple[ReidModel, Recipe],
    crops: Crops,
    first: int,
    shown: tuple[Say, Bar],
) -> tuple[Crops, Float[Tensor, "m d"]]:
    """Embed the crops from `first` on; those that are broken are left out of all rows, where that was asked for."""
    model, recipe = loaded
    whole = Split("data", crops.split.samples[first:])
    split, rows = embed_split(
        *(model, recipe.input.height_width, whole),
        cache_dir=request.cache_dir,
        skip_broken=request.skip_broken,
        say=shown[0],
        bar=shown[1],
    )
    if len(split) < len(whole):
        kept = set(split.pictures)
        broken = {crops.rows[row].id for row in crops.first[first:] if crops.rows[row].sample.picture not in kept}
        crops = Crops.of(row for row in crops.rows if row.id not in broken)
    return crops, rows


def known_links(request: GroupRequest, crops: Crops, known: Known, answers: Sequence[PairAnswer], say: Say) -> Links:
    """Gather what is known of who is the same, and say what of it was not used.

    Raises:
        DataError: answers contradict each other, or name nothing that is here.
        ConfigError: moments keep too many pairs apart.
    """
    same, different, missing = answered(answers, crops)
    if missing:
        say(f"{missing:,} of {len(answers):,} answers name images that are not here, and were passed over")
    number, earlier = earlier_of(crops, known)
    links = find_links(
        len(crops),
        same=same,
        different=different,
        seen=_seen(request, crops.split),
        known=number,
        earlier=earlier,
        names=crops.names,
    )
    if links.broken_tracklets:
        say(f"{links.broken_tracklets:,} tracklets hold images that answers say are different, and were not used")
    if links.broken_groups:
        say(f"{links.broken_groups:,} earlier groups hold images that answers say are different, and were made anew")
    return links


def _seen(request: GroupRequest, split: Split) -> Constraints:
    try:
        return find_constraints(split.unlabelled(), tracklets=request.tracklets, same_time=request.same_time)
    except ConfigError as error:
        raise ConfigError(
            "--same-time keeps images of one moment apart, but so many share a timestamp here that it is no moment; "
            "give finer timestamps or leave it out"
        ) from error


def told(
    request: GroupRequest,
    crops: Crops,
    grouping: Grouping,
    calibration: Calibration | None,
    threshold: Threshold | None,
) -> list[str]:
    """Say what came out, and what it rests on."""
    said = []
    inside = len(grouping) - grouping.alone
    matched = int(grouping.matched.sum())
    if calibration is None:
        said.append(
            f"{request.run} has no calibration, so there are no probabilities"
            + ("" if threshold is not None else " and crops are placed by their neighbours alone")
            + f"; learn what its scores mean with resight calibrate {request.run}"
        )
    if threshold is not None and threshold.strict:
        said.append(f"{threshold}: crops that match nobody so are alone")
    elif threshold is not None:
        said.append(
            f"{threshold}: {matched:,} of the {inside:,} crops in groups match another of their group so, the others "
            "are placed by their neighbours alone; --strict leaves those alone"
        )
    said.append(
        f"wrote {request.out}: {grouping.groups:,} groups of {inside:,} crops, and {grouping.alone:,} crops alone"
        + (f" ({len(crops.rows):,} images)" if len(crops.rows) > len(crops) else "")
    )
    return said


def figures(crops: Crops, known: Known, grouping: Grouping, threshold: Threshold | None) -> dict[str, Any]:
    """Give the figures for --json."""
    if not len(grouping):
        raise DataError("there is nothing to group")
    return {
        "images": len(crops.rows),
        "crops": len(crops),
        "known": len(known.rows),
        "groups": grouping.groups,
        "alone": grouping.alone,
        "matched": int(grouping.matched.sum()),
        "mean_confidence": float(grouping.confidence.mean()),
        "threshold": None if threshold is None else {"across": threshold.across, "within": threshold.within},
    }
