"""The parts of a run, built from its recipe; and the default recipe settled on the images."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.backbones import ReidModel, build_model
from resight.by_camera import standardise_by_camera
from resight.colours import colour_dim, embed_colours
from resight.config import Recipe, TrainConfig
from resight.constraints import find_constraints
from resight.data.pixels import Chosen
from resight.embed import embed
from resight.errors import ConfigError
from resight.looking import (
    ASKED,
    LOOKED_AT,
    Choice,
    Facts,
    all_choices,
    own_camera_first,
    settings_of,
    share_grey,
    without,
)
from resight.losses import LOSSES
from resight.miners import MINERS
from resight.mining import joined
from resight.nearness import UNTIMED, columns_of, have_moments, near_in_time, near_rows
from resight.placement import place_memory
from resight.prepare import choose_precision
from resight.progress import Say
from resight.recipes import as_tables, parse_recipe
from resight.schedules import options_at
from resight.storage import Rows
from resight.stripes import embed_stripes, stripe_dim
from resight.train import Parts
from resight.types import UNKNOWN_CAMID, UNKNOWN_TRACKLET, Loss, Miner, UnlabelledImages


def look(
    recipe: Recipe, images: UnlabelledImages, pixels: Any, device: torch.device, given: tuple[str, ...], say: Say
) -> tuple[Recipe, list[str]]:
    """Look at the images with the start weights and settle the recipe's other settings; `given` are the user's own."""
    camids = torch.tensor(images.camids)
    asked = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:LOOKED_AT].sort().values
    size, own_first, near = recipe.input.height_width, None, UNTIMED
    if len(set(images.camids) - {UNKNOWN_CAMID}) > 1:
        torch.manual_seed(recipe.train.seed)
        features = embed(build_model(recipe.backbone, size=size).to(device), Chosen(pixels, asked))
        own_first = own_camera_first(features, camids[asked])
        timestamps = torch.tensor(images.timestamps, dtype=torch.float64)[asked]
        if times_wanted(recipe, given) and have_moments(camids[asked], timestamps):
            colours = torch.cat(list(embed_colours(Chosen(pixels, asked), size=size, device=device))).cpu()
            near = near_in_time(seen_alike(features, colours, camids[asked]), camids[asked], timestamps)
    facts = Facts(
        images=len(images),
        cameras=len(set(images.camids) - {UNKNOWN_CAMID}),
        tracklets=sum(tracklet != UNKNOWN_TRACKLET for tracklet in images.tracklets),
        own_first=own_first,
        near=near,
        tall=size[0] > size[1],
        across=bool(recipe.miner.options.get("across_cameras")),
        across_given="miner.across_cameras" in settings_of(given),
        once=seen_once_as_given(recipe, given),
        gpu=device.type != "cpu",
        grey=share_grey(Chosen(pixels, asked[:: max(1, len(asked) // ASKED)])),
    )
    tables = as_tables(recipe)
    picked = [
        choice
        for choice in without(all_choices(facts), given)
        if choice.name in tables[choice.section]  # the user may have named another miner, which has no such setting
    ]
    if "miner.k1" in settings_of(given) and "miner.k2" not in settings_of(given):
        picked += shorter_k2(recipe, picked)
    settled = parse_recipe(tables, overrides=[choice.override for choice in picked])
    for choice in picked:
        say(f"picked {choice}")
    return settled, [str(choice) for choice in picked]


def times_wanted(recipe: Recipe, given: Sequence[str]) -> bool:
    """Tell whether nearness in time can be made use of: labels are mined at once, and the user has not said no."""
    said = settings_of(given)
    return recipe.miner.schedule == "epoch" and (any(recipe.miner.times) or "miner.times" not in said)


def seen_alike(features: Float[Tensor, "n d"], colours: Float[Tensor, "n c"], camids: Int[Tensor, " n"]) -> Rows:
    """Put colours beside the start weights' features, both standardised per camera: the first look's likeness."""
    kinds = [Rows(features.clone()), Rows(colours)]
    for rows in kinds:
        standardise_by_camera(rows, camids, rows)
    return joined(kinds[0], [(kinds[1], 1.0)])


def seen_once_as_given(recipe: Recipe, given: Sequence[str]) -> bool | None:
    """Tell what the user's settings say of whether each camera saw an identity once; None: nothing."""
    if "miner.once_per_camera" in settings_of(given):
        return bool(recipe.miner.options.get("once_per_camera"))
    return None if recipe.miner.options.get("algorithm") == "average" else False  # no other one keeps to it


def shorter_k2(recipe: Recipe, picked: Sequence[Choice]) -> list[Choice]:
    """Pick a k2 that fits lists that the user made shorter; lists of k1 a camera are longer."""
    options = dict(recipe.miner.options) | {choice.name: choice.value for choice in picked if choice.section == "miner"}
    if "k2" not in options or options.get("across_cameras") or options["k2"] <= options["k1"]:
        return []
    return [Choice("miner.k2", options["k1"], f"lists of {options['k1']}, as you say")]


def build_parts(
    recipe: Recipe, images: UnlabelledImages, pixels: Any, device: torch.device, memory: tuple[str, Path]
) -> tuple[Parts, str]:
    """Build what the loop needs from a recipe; the training split comes without identities.

    `memory`: where the feature memory goes (`placement.PLACES`), and the folder for it if that is the disk. Also gives
    a sentence that says what was chosen.

    Raises:
        ConfigError: the recipe looks at times, and no image has one.
    """
    size = recipe.input.height_width
    torch.manual_seed(recipe.train.seed)
    model = build_model(recipe.backbone, size=size).to(device)
    precision = choose_precision(recipe.train.precision, model, size, device)
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, precision=precision))
    settings = recipe.train
    miner, loss = parts_at(recipe, 0.0)
    timestamps = torch.tensor(images.timestamps, dtype=torch.float64)
    check_times(recipe, timestamps)
    feature_memory, said = place_memory(
        memory[0],
        recipe,
        (len(images), model.dim),
        device,
        memory[1],
        beside=beside_dim(recipe, model, timestamps),
    )
    known = find_constraints(images, tracklets=recipe.miner.tracklets, same_time=recipe.miner.same_time)
    parts = Parts(
        recipe=recipe,
        precision=precision,
        model=model,
        device=device,
        pixels=pixels,
        optimizer=build_optimizer(settings, model),
        memory=feature_memory,
        miner=miner,
        loss=loss,
        parts_at=partial(parts_at, recipe),
        average=copy.deepcopy(model) if settings.average else None,
        camids=torch.tensor(images.camids, device=device),
        timestamps=timestamps,
        constraints=known.to(device),
    )
    return parts, said


def check_times(recipe: Recipe, timestamps: Float[Tensor, " n"]) -> None:
    """Refuse nearness in time where there is none to be told.

    Raises:
        ConfigError: as said.
    """
    settings = recipe.miner
    if not any(settings.times):
        return
    known = timestamps[~timestamps.isnan()]
    if not len(known):
        raise ConfigError(
            "miner.times needs timestamps, but training sees none: no image has one, or data.use_cameras is false; "
            "take miner.times out"
        )
    if not settings.times_within:
        raise ConfigError(
            "miner.times needs miner.times_within, how near in time is near, in the timestamps' unit: such as "
            "[60, 600] for seconds"
        )
    least = float(known.abs().max()) / 2**50
    if min(settings.times_within) <= least:
        raise ConfigError(
            f"miner.times_within must be above {least:.3g} for timestamps such as these, got "
            f"{list(settings.times_within)}"
        )


def parts_at(recipe: Recipe, passed: float) -> tuple[Miner, Loss]:
    """Build miner and loss as they are where a share of the epochs, 0..1, has passed."""
    miner = MINERS[recipe.miner.name](**options_at(recipe.miner.options, passed))
    return miner, LOSSES[recipe.loss.name](**options_at(recipe.loss.options, passed))


def build_optimizer(settings: TrainConfig, model: ReidModel) -> torch.optim.Optimizer:
    """Build the optimiser with the model's groups of parameters."""
    groups = model.parameter_groups(backbone_scale=settings.backbone_scale)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov and settings.momentum > 0,
        weight_decay=settings.weight_decay,
    )


def beside_dim(recipe: Recipe, model: ReidModel, timestamps: Float[Tensor, " n"]) -> int:
    """How many numbers of an image stand beside its features where labels are mined."""
    size = recipe.input.height_width
    stripes = stripe_dim(model.trunk, size) if any(recipe.miner.stripes) else 0
    colours = colour_dim(size) if any(recipe.miner.colours) else 0
    widths = recipe.miner.times_within if any(recipe.miner.times) else ()
    return stripes + colours + sum(columns_of(timestamps, width)[1] for width in widths)


def add_beside(parts: Parts) -> None:
    """Give the parts what the recipe asks for beside the features: stripes and colours by camera, nearness in time."""
    settings, size = parts.recipe.miner, parts.recipe.input.height_width
    if any(settings.stripes):
        layers = embed_stripes(parts.model, parts.pixels, size=size, precision=parts.precision)
        parts.beside += tuple((rows, settings.stripes) for rows in kept(parts, layers))
    if any(settings.colours):
        seen = ([rows] for rows in embed_colours(parts.pixels, size=size, device=parts.device))
        parts.beside += tuple((rows, settings.colours) for rows in kept(parts, seen))
    for width in settings.times_within if any(settings.times) else ():
        rows = parts.memory.rows.like(columns_of(parts.timestamps, width)[1])
        written = 0
        for block in near_rows(parts.timestamps, width):
            rows.write(torch.arange(written, written + len(block)), block)
            written += len(block)
        parts.beside += ((rows, settings.times),)


def kept(parts: Parts, batches: Iterator[list[Tensor]]) -> list[Rows]:
    """Keep batches of one or more kinds of rows where the memory is, standardised per camera."""
    first = 0
    kinds: list[Rows] = []
    for batch in batches:
        kinds = kinds or [parts.memory.rows.like(rows.shape[1]) for rows in batch]
        for kind, rows in zip(kinds, batch, strict=True):
            kind.write(torch.arange(first, first + len(rows)), rows)
        first += len(batch[0])
    for kind in kinds:
        standardise_by_camera(kind, parts.standard_camids, kind)
    return kinds
