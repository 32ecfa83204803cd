"""A run folder from beginning to end: build the parts, claim the folder, train, evaluate, write what is left behind.

RUN/recipe.toml  log.jsonl  tensorboard/  checkpoints/epoch-*.safetensors  model.safetensors  summary.json
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from resight import __version__
from resight.artifacts import machine, write_text
from resight.building import add_beside, build_parts, look
from resight.checkpoint import (
    AVERAGE,
    checkpoints,
    load_checkpoint,
    read_header,
    strip,
)
from resight.config import Recipe
from resight.config_effects import refuse_without_effect
from resight.constraints import refuse_other_constraints, tell
from resight.course import Context, Course
from resight.data.camstyle import Styles, find_styles
from resight.data.digests import content_digests, default_cache_dir
from resight.data.formats import read_dataset
from resight.data.leaks import can_leak, match_leaks, refuse_leaks, split_digests
from resight.data.near import find_near_leaks
from resight.data.times import without_false_times
from resight.errors import CheckpointError, ConfigError, DataError
from resight.looking import LOOKING, Facts, first_choices, without
from resight.prepare import (
    Progress,
    TestImages,
    choose_device,
    input_size,
    open_first_test,
    open_split,
)
from resight.progress import Say
from resight.quirks import caveats, check_can_select, with_gallery
from resight.recipes import as_tables, as_toml, parse_recipe, read_tables
from resight.run_folder import check_folder, claimed, last_epoch
from resight.runlog import Listener, RunLog, TensorBoardListener
from resight.styled import add_styles, refuse_other_styles, refuse_style_leaks, wanted_styles, with_camstyle
from resight.train import Parts
from resight.types import UNKNOWN_CAMID, Dataset, Split, UnlabelledImages


@dataclass(frozen=True)
class TrainRequest:
    """What `resight train` was asked for."""

    data: Path
    recipe: str
    out: Path
    overrides: tuple[str, ...] = ()
    format: str | None = None
    device: str = "auto"
    memory: str = "auto"
    cache_dir: Path | None = None
    resume: bool = False
    overwrite: bool = False
    allow_leak: bool = False
    skip_broken: bool = False
    camstyle: Path | None = None
    command: str = ""


def run_training(
    request: TrainRequest,
    *,
    listeners: tuple[Listener, ...] = (),
    say: Say = print,
    decoding: Progress | None = None,
) -> dict[str, Any]:
    """Train as asked and give the summary, which RUN/summary.json holds too.

    Everything that can be wrong with the input is found before the run folder is touched.
    """
    check_folder(request.out, resume=request.resume, overwrite=request.overwrite)
    cache_dir = request.cache_dir or default_cache_dir()
    device = choose_device(request.device)
    dataset, recipe, styles, extras = checked_data(request, cache_dir, say, decoding)
    size = input_size(recipe.input, dataset.train.samples)
    recipe = dataclasses.replace(recipe, input=dataclasses.replace(recipe.input, size=size))
    skipping: dict[str, Any] = {"skip_broken": request.skip_broken, "progress": decoding}
    split, pixels = open_split(dataset.train, size, cache_dir, **skipping)
    test_set = open_first_test(dataset, size, cache_dir, **skipping)
    if request.recipe == LOOKING and not request.resume:
        recipe, extras["choices"] = look(recipe, seen(split, recipe), pixels, device, request.overrides, say)
    if not request.resume:
        refuse_without_effect(recipe)
    parts, place = build_parts(recipe, seen(split, recipe), pixels, device, (request.memory, request.out.parent))
    add_beside(parts)  # before a checkpoint is loaded: they are of the start weights
    say(place)
    extras |= {"memory": place, **tell(parts.constraints, say)}
    header = run_header(parts, content_digests(split.pictures, cache_dir))
    if styles is not None:
        if split is not dataset.train:  # broken images were left out, and the others moved up
            styles = find_styles(styles.folder, split.paths)
        header["camstyle"], extras["camstyle"] = add_styles(parts, styles, cache_dir, **skipping)

    with claimed(request.out, resume=request.resume) as first_epoch:
        log = RunLog(request.out / "log.jsonl", (TensorBoardListener(request.out / "tensorboard"), *listeners))
        try:
            earlier: Mapping[str, Tensor] = {}
            if first_epoch > 1:
                earlier = resume_from(request.out, parts, header)
                log.event("resume", epoch=first_epoch, epochs=parts.recipe.train.epochs, memory=place)
            else:
                write_text(request.out / "recipe.toml", as_toml(parts.recipe))
                log.event("start", **start_record(request, parts, dataset, test_set), **extras)
            return Course(request.out, parts, Context(split, test_set, header, log), first_epoch, earlier).run()
        except KeyboardInterrupt:
            log.event("interrupted", epoch=last_epoch(request.out))
            raise
        finally:
            log.close()


def checked_data(
    request: TrainRequest, cache_dir: Path, say: Say, decoding: Progress | None
) -> tuple[Dataset, Recipe, Styles | None, dict[str, Any]]:
    """Read the data and the recipe, say what they are, and refuse leaks; the last of the four is for the log."""
    found = without_false_times(read_dataset(request.data, request.format))
    if not len(found.train):
        raise DataError(f"{found.root} has no training images (format '{found.format}'); see `resight data`")
    plain = requested_recipe(request, None)
    dataset = with_gallery(found) if plain.data.train_on_gallery else found
    recipe = requested_recipe(request, dataset)
    check_can_select(recipe, dataset)
    say_data(dataset, recipe, say)
    extras: dict[str, Any] = caveats(recipe, found, cache_dir, say)
    if not request.resume and request.recipe != LOOKING and recipe != plain:
        say(f"{len(dataset.train)} training images are few: the recipe's [small] settings apply (see docs/training.md)")
    styles = wanted_styles(recipe, dataset, say)
    if not request.allow_leak:
        if can_leak(found):
            digests = split_digests(found, cache_dir)
            refuse_leaks(match_leaks(found, digests))
            refuse_leaks(find_near_leaks(found, cache_dir, decoding, digests))
        if styles is not None:
            refuse_style_leaks(styles, found, cache_dir)
    return dataset, recipe, styles, extras


def seen(split: Split, recipe: Recipe) -> UnlabelledImages:
    """Give what training may see of a split."""
    images = split.unlabelled()
    if recipe.data.use_cameras:
        return images
    # Moments go with the cameras: without them, images that two cameras took at once would seem one camera's.
    nowhere, never = (UNKNOWN_CAMID,) * len(images), (math.nan,) * len(images)
    return dataclasses.replace(images, camids=nowhere, timestamps=never)


def requested_recipe(request: TrainRequest, dataset: Dataset | None) -> Recipe:
    """Read the recipe, without its small-data settings where no data set is given; a resumed run keeps its own."""
    if not request.resume:
        images = None if dataset is None else len(dataset.train)
        overrides = request.overrides
        if request.recipe == LOOKING and images is not None:
            facts = Facts(images, gpu=choose_device(request.device).type != "cpu")
            overrides = (*(choice.override for choice in without(first_choices(facts), overrides)), *overrides)
        recipe = parse_recipe(read_tables(request.recipe), images=images, overrides=overrides)
        return with_camstyle(recipe, request.camstyle)
    if request.overrides:
        raise ConfigError("--resume goes on with the run's own recipe, so it takes no --set, --seed or other setting")
    recipe = parse_recipe(read_tables(str(request.out / "recipe.toml")))
    if request.camstyle is not None and not recipe.data.camstyle:
        raise ConfigError(f"the run in {request.out} began without CamStyle images; --resume it without --camstyle")
    return with_camstyle(recipe, request.camstyle)


def say_data(dataset: Dataset, recipe: Recipe, say: Say) -> None:
    """Tell what was found and which settings follow."""
    cameras = len(set(dataset.train.camids) - {UNKNOWN_CAMID})
    say(
        f"{dataset.root}: format {dataset.format}, {len(dataset.train)} training images from "
        f"{cameras or 'unknown'} cameras, {len(dataset.query)} query, {len(dataset.gallery)} gallery"
    )
    for note in dataset.notes:
        say(f"note: {note}")
    say(
        f"recipe {recipe.name}: {recipe.backbone.name}, miner {recipe.miner.name}, loss {recipe.loss.name}, "
        f"{recipe.train.epochs} epochs"
    )


def run_header(parts: Parts, digests: list[str]) -> dict[str, Any]:
    """Give what a checkpoint records of its run: recipe, content of the training images, what is known of them."""
    content = hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest()
    cameras = hashlib.blake2b(parts.camids.cpu().numpy().tobytes(), digest_size=16).hexdigest()
    times = hashlib.blake2b(parts.timestamps.numpy().tobytes(), digest_size=16).hexdigest()
    known = {"constraints": parts.constraints.digest(), "cameras": cameras}
    known |= {"times": times} if any(parts.recipe.miner.times) else {}
    return {"recipe": as_tables(parts.recipe), "data": content, **known, "version": __version__}


def resume_from(out: Path, parts: Parts, header: dict[str, Any]) -> dict[str, Tensor]:
    """Load the newest checkpoint into the parts, and give what else it holds.

    Raises:
        CheckpointError: it is damaged, or the training images, or what is known of them, have changed.
    """
    path = checkpoints(out / "checkpoints")[-1]
    stored = read_header(path)
    if stored.get("data") != header["data"]:
        raise CheckpointError(
            f"{path} was trained on other images than the data now holds; resume with the same images in place"
        )
    if stored.get("cameras", header["cameras"]) != header["cameras"]:
        raise CheckpointError(
            f"{path} was trained with other cameras than the data now give their images; put back those that the run "
            "began with"
        )
    if stored.get("times") != header.get("times"):
        raise CheckpointError(
            f"{path} was trained with other timestamps than the data now give their images; put back those that the "
            "run began with"
        )
    refuse_other_constraints(path, stored.get("constraints"), header["constraints"])
    refuse_other_styles(path, stored.get("camstyle"), header.get("camstyle"))
    more = load_checkpoint(path, parts.model, parts.optimizer, parts.memory)[1]
    if parts.average is not None:
        parts.average.load_state_dict(strip(more, AVERAGE))
    return more


def start_record(request: TrainRequest, parts: Parts, dataset: Dataset, test_set: TestImages | None) -> dict[str, Any]:
    """Give the fields of the log's first event."""
    return {
        "version": __version__,
        "recipe": as_tables(parts.recipe),
        "data": {
            "root": str(dataset.root.resolve()),
            "format": dataset.format,
            "train": len(parts.pixels),
            "query": len(test_set.query) if test_set else 0,
            "gallery": len(test_set.gallery) if test_set else 0,
            "cameras": len(set(parts.camids.tolist()) - {UNKNOWN_CAMID}),
        },
        "epochs": parts.recipe.train.epochs,
        "seed": parts.recipe.train.seed,
        "device": str(parts.device),
        "precision": parts.precision,
        "machine": machine(),
        "command": request.command,
    }
