"""The images that a report shows, as the run's model sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from resight.artifacts import load_model
from resight.backbones import ReidModel
from resight.config import Recipe
from resight.data.digests import default_cache_dir
from resight.data.formats import read_dataset
from resight.errors import DataError
from resight.prepare import choose_device, open_test_images
from resight.progress import Bar, no_bar
from resight.report.tested import Tested
from resight.run_images import each_once, embed_split
from resight.runlog import read_events
from resight.types import Dataset, Sample, Split

MOST_IMAGES = 20_000
"""Most images that are clustered and mapped; of more, so many are taken, evenly through the list."""


@dataclass(frozen=True)
class Source:
    """Where the images come from, and how to embed them.

    `data`: None is the run's own. `split`: train, query, gallery or all; auto is query and gallery where those have
    identities, else train, else all there are.
    """

    data: Path | None = None
    format: str | None = None
    split: str = "auto"
    device: str = "auto"
    cache_dir: Path | None = None
    bar: Bar = no_bar


@dataclass(frozen=True)
class Material:
    """Images and their embeddings, unit rows; `test`: None where identities of query and gallery are not known.

    `whole`: of how many images these were drawn. `notes`: what was left out or is missing, one sentence each.
    """

    recipe: Recipe
    root: Path
    images: Split
    embeddings: Float[Tensor, "n d"]
    test: Tested | None
    whole: int
    notes: tuple[str, ...]


def open_material(run: Path, source: Source) -> Material:
    """Embed a run's images with its model; broken images are left out, and that is noted.

    Raises:
        ConfigError: no such device, format or split.
        DataError: the data cannot be read, or hold no image.
        CheckpointError: the run has no model that can be read.
    """
    place = choose_device(source.device)
    model, recipe = load_model(run, place)
    dataset = dataset_of(run, source)
    test, said = _scored(dataset, model, recipe, source)
    if source.data is not None:
        said.insert(0, f"The images shown and scored are those of {dataset.root}.")
    if test is not None and source.split == "auto":
        images, embeddings = _together(test)
        whole = len(images)
    else:
        asked = each_once(dataset, _split(dataset, source.split))
        whole = len(asked)
        drawn = Split(asked.name, tuple(asked.samples[row] for row in evenly(whole, MOST_IMAGES)))
        size, cache_dir = recipe.input.height_width, source.cache_dir
        images, embeddings = embed_split(
            model,
            size,
            drawn,
            cache_dir=cache_dir,
            skip_broken=True,
            say=lambda text: said.append(f"{text}."),
            bar=source.bar,
        )
        whole -= len(drawn) - len(images)
    rows = evenly(len(images), MOST_IMAGES)
    images = Split(images.name, tuple(images.samples[row] for row in rows))
    return Material(recipe, dataset.root, images, embeddings.cpu()[rows], test, whole, tuple(said))


def _scored(dataset: Dataset, model: ReidModel, recipe: Recipe, source: Source) -> tuple[Tested | None, list[str]]:
    """Score query and gallery where their identities are known; and say what was left out, or why nothing was."""
    if not dataset.can_be_evaluated:
        return None, [f"No query was scored: {dataset.root} has no query and gallery whose identities are all known."]
    size, cache_dir = recipe.input.height_width, source.cache_dir or default_cache_dir()
    try:
        opened = open_test_images(dataset, size, cache_dir, skip_broken=True, progress=source.bar("decoding images"))
    except DataError as error:
        return None, [f"No query could be scored: {error}."]
    place = next(model.parameters()).device
    rows = opened.embed(model, precision="float32", device=place, progress=source.bar("embedding images"))
    cameras = any(sample.camid is not None for sample in opened.gallery)
    test = Tested.of(rows, opened.query, opened.gallery, protocol=opened.dataset.protocol, camera_pairs=cameras)
    return test, _broken(dataset.query, opened.query) + _broken(dataset.gallery, opened.gallery)


def dataset_of(run: Path, source: Source) -> Dataset:
    """Read the data asked for, else those that the run's log names.

    Raises:
        DataError: the log does not say, or the data cannot be read.
    """
    if source.data is not None:
        return read_dataset(source.data, source.format)
    start = [e for e in read_events(run / "log.jsonl") if e["event"] == "start"]
    if not start:
        raise DataError(f"{run / 'log.jsonl'} does not say which data the run used; give DATA")
    data = start[-1]["data"]
    return read_dataset(Path(data["root"]), source.format or data["format"])


def evenly(count: int, most: int) -> list[int]:
    """Give up to `most` of the positions 0 … count − 1, evenly apart, ascending."""
    if count <= most:
        return list(range(count))
    return [place * count // most for place in range(most)]


def identities(samples: Sequence[Sample]) -> list[int | None]:
    """Give the identity of each image; None where it is not known, or the image is junk. For evaluators only."""
    return [None if sample.pid is None or sample.pid < 0 else sample.pid for sample in samples]


def _split(dataset: Dataset, name: str) -> str:
    if name != "auto":
        return name
    return "train" if len(dataset.train) else "all"


def _together(test: Tested) -> tuple[Split, Tensor]:
    """Lay gallery and query together; a query that stands in the gallery too counts once."""
    known = set(test.gallery.pictures)
    more = [row for row, sample in enumerate(test.query) if sample.picture not in known]
    samples = (*test.gallery.samples, *(test.query.samples[row] for row in more))
    return Split("query and gallery", samples), torch.cat([test.gallery_embeddings, test.query_embeddings[more]])


def _broken(before: Split, after: Split) -> list[str]:
    lost = len(before) - len(after)
    return [f"{lost} images of the {before.name} split cannot be decoded and were left out."] if lost else []
