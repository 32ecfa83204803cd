"""`resight group`: a trained model and some images → a table of groups, from nothing or from an earlier result."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.calibrate import Calibration, fingerprint, load_calibration
from resight.config import Recipe
from resight.constraints import Constraints, find_constraints
from resight.errors import ConfigError
from resight.groups.grouping import Grouping, group_crops
from resight.groups.links import Links, find_links
from resight.groups.opening import open_crops
from resight.groups.rows import Crops, answered, cameras_apart
from resight.groups.saved import SavedGroups, earlier_of, read_groups
from resight.groups.settings import Asked, settled, trained_once
from resight.groups.table import SUFFIXES, write_groups
from resight.groups.tree import check_tree, wanted_links, write_tree
from resight.matching import Thresholds, check_asked, find_thresholds
from resight.outputs import check_output
from resight.pair_answers import PairAnswer, read_answers
from resight.progress import Bar, Say
from resight.types import UnlabelledImages


@dataclass(frozen=True)
class GroupRequest:
    """What `resight group` was asked for.

    `data`, `gallery`: what is grouped, at least one. `asked.strict`: asking for a threshold or a rate asks for it, too.
    """

    run: Path
    data: Path | None
    out: Path
    gallery: str | None = None
    known: Path | None = None
    answers: tuple[Path, ...] = ()
    tree: Path | None = None
    asked: Asked = field(default_factory=Asked)
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

    @property
    def rules(self) -> Asked:
        """What is asked of the settings."""
        strict = self.asked.strict or self.threshold is not None or self.false_match_rate is not None
        return replace(self.asked, strict=strict)


def run_grouping(request: GroupRequest, say: Say, bar: Bar) -> dict[str, Any]:
    """Embed what is new, group, write; gives the figures.

    Nothing is written unless all of it has come about.

    Raises:
        ConfigError: a flag or file cannot be used, or a rate is asked for that nothing tells of.
        DataError: images, answers or the earlier result cannot be read, or contradict each other.
        GalleryError: the gallery is of another model, or cannot be opened.
        CheckpointError: the model or its calibration cannot be read, or the table not be written.
    """
    calibration, answers, saved = _checked(request)
    crops, embeddings, recipe = open_crops(request, saved, say, bar)
    links = known_links(request, crops, saved, answers, say)
    grouping = _grouped(request, (crops, embeddings), (calibration, links), recipe, (say, bar))
    write_groups(request.out, crops, grouping, embeddings, fingerprint(request.run))
    for sentence in told(request, crops, grouping, calibration):
        say(sentence)
    if request.tree is not None:
        rows = crops.rows
        paths, ids = [row.sample.path for row in rows], [row.id for row in rows]
        kinds = write_tree(request.tree, wanted_links(paths, ids, grouping.group[crops.crop].tolist()))
        say(f"filled {request.tree} with {kinds}")
    return figures(crops, saved, grouping)


def _checked(request: GroupRequest) -> tuple[Calibration | None, list[PairAnswer], SavedGroups | None]:
    """Refuse what cannot be before any image is opened, and read what is small."""
    check_output(request.out, suffixes=SUFFIXES, overwrite=request.overwrite, may_replace=request.known)
    if request.tree is not None:
        check_tree(request.tree)
    calibration = load_calibration(request.run)
    check_asked(calibration, request.run, threshold=request.threshold, rate=request.false_match_rate)
    if request.asked.strict and request.threshold is None and calibration is None:
        raise ConfigError(
            f"--strict needs to know which scores are a match, and {request.run} has no calibration; make one with "
            "resight calibrate, or give --threshold"
        )
    answers = [answer for file in request.answers for answer in read_answers(file)]
    return calibration, answers, None if request.known is None else read_groups(request.known)


def _grouped(
    request: GroupRequest,
    opened: tuple[Crops, Float[Tensor, "n d"]],
    known: tuple[Calibration | None, Links],
    recipe: Recipe,
    shown: tuple[Say, Bar],
) -> Grouping:
    (crops, embeddings), (calibration, links), (say, bar) = opened, known, shown
    camids = camera_numbers(crops)
    rules = settled(request.rules, embeddings, camids, trained_once=trained_once(recipe))
    for sentence in rules.said:
        say(sentence)
    thresholds = find_thresholds(
        *(calibration, request.run),
        threshold=request.threshold,
        rate=request.false_match_rate,
        images=lambda: (embeddings, camids),
        progress=bar("counting scores"),
    )
    return group_crops(
        *(embeddings, camids, rules),
        links=links,
        calibration=calibration,
        thresholds=thresholds,
        progress=bar("comparing images"),
    )


def camera_numbers(crops: Crops) -> Int[Tensor, " n"]:
    """Give the camera of each crop: told apart by source where all are entries of a gallery, else as it is numbered."""
    rows = crops.firsts
    return cameras_apart(rows) if all(row.origin for row in rows) else torch.tensor(crops.split.camids)


def known_links(
    request: GroupRequest, crops: Crops, saved: SavedGroups | None, answers: Sequence[PairAnswer], say: Say
) -> Links:
    """Gather what is known of who is the same, and say what of it was not used.

    Raises:
        DataError: answers contradict each other, or name nothing that is here.
        ConfigError: moments keep too many pairs apart.
    """
    same, different, missing = answered(answers, crops)
    if missing:
        say(f"{missing:,} of {len(answers):,} answers name images that are not here, and were passed over")
    number, earlier = earlier_of(crops, saved)
    links = find_links(
        len(crops),
        same=same,
        different=different,
        seen=_seen(request, crops.unlabelled),
        known=number,
        earlier=earlier,
        names=crops.names,
    )
    if links.broken_tracklets:
        say(f"{links.broken_tracklets:,} tracklets hold images that answers say are different, and were not used")
    if links.broken_groups:
        say(f"{links.broken_groups:,} earlier groups hold images that answers say are different, and were made anew")
    return links


def _seen(request: GroupRequest, images: UnlabelledImages) -> Constraints:
    try:
        return find_constraints(images, tracklets=request.tracklets, same_time=request.same_time)
    except ConfigError as error:
        raise ConfigError(
            "--same-time keeps images of one moment apart, but so many share a timestamp here that it is no moment; "
            "give finer timestamps or leave it out"
        ) from error


def said_of(thresholds: Thresholds) -> str:
    """Say what counts as a match."""
    rate = "" if thresholds.rate is None else f" (false-match rate {thresholds.rate:g})"
    return f"a match is a cosine of {thresholds} or more{rate}"


def told(request: GroupRequest, crops: Crops, grouping: Grouping, calibration: Calibration | None) -> list[str]:
    """Say what came out, and what it rests on."""
    said, thresholds = [], grouping.thresholds
    inside = len(grouping) - grouping.alone
    matched = int(grouping.matched.sum())
    if calibration is None:
        said.append(
            f"{request.run} has no calibration, so there are no probabilities"
            + ("" if thresholds is not None else " and crops are placed by their neighbours alone")
            + f"; learn what its scores mean with resight calibrate {request.run}"
        )
    if thresholds is not None and request.rules.strict:
        said.append(f"{said_of(thresholds)}: crops that match nobody so are alone")
    elif thresholds is not None:
        said.append(
            f"{said_of(thresholds)}: {matched:,} of the {inside:,} crops in groups match another of their group so, "
            "the others are placed by their neighbours alone; --strict leaves those alone"
        )
    said.append(
        f"wrote {request.out}: {grouping.groups:,} groups of {inside:,} crops, and {grouping.alone:,} crops alone"
        + (f" ({len(crops.rows):,} images)" if len(crops.rows) > len(crops) else "")
    )
    return said


def figures(crops: Crops, saved: SavedGroups | None, grouping: Grouping) -> dict[str, Any]:
    """Give the figures for --json."""
    return {
        "images": len(crops.rows),
        "crops": len(crops),
        "known": 0 if saved is None else len(saved.crops.rows),
        "groups": grouping.groups,
        "alone": grouping.alone,
        "matched": None if grouping.thresholds is None else int(grouping.matched.sum()),
        "mean_confidence": float(grouping.confidence.mean()),
        "threshold": None if grouping.thresholds is None else grouping.thresholds.to_json(),
    }
