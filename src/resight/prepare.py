"""From paths to what training and evaluation take: checked splits, pixel caches, input size, device, precision."""

import copy
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resight.backbones import ReidModel
from resight.config import InputConfig
from resight.data.decode import image_size
from resight.data.pixels import PixelCache, broken_pictures, open_pixels
from resight.embed import embed
from resight.errors import ConfigError, DataError
from resight.evaluate import check_answerable
from resight.retrieval_result import RetrievalResult
from resight.scoring import keep_tests, own_rows, score_tests
from resight.types import Dataset, Sample, Split

TALL = 1.4
"""Height/width from which crops count as tall (people); below its inverse as wide."""

Progress = Callable[[int, int], None]


def choose_device(name: str) -> torch.device:
    """Resolve "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device must be auto, cpu, or a GPU that is here, got '{name}'; try --device auto"
        ) from error
    return device


def input_size(config: InputConfig, samples: Sequence[Sample]) -> tuple[int, int]:
    """Height and width of the network's input; "auto" follows the shape of up to 100 images.

    Tall if three in four are tall, wide if three in four are wide; a mixture (motorcycles and lorries) is square.
    """
    if config.size != "auto":
        return config.height_width
    shapes = []
    for sample in samples[:: max(1, len(samples) // 100)]:
        try:
            height, width = image_size(sample.picture)
        except DataError:
            continue  # broken images are counted and reported where pixels are opened
        shapes.append(height / width)
    low, _, high = statistics.quantiles(shapes, n=4, method="inclusive") if len(shapes) > 1 else (shapes or [1.0]) * 3
    side = config.long_side
    if low >= TALL:
        return side, side // 2
    return (side // 2, side) if high <= 1 / TALL else (side, side)


class AllBrokenError(DataError):
    """No image of a split can be decoded."""


def open_split(
    split: Split, size: tuple[int, int], cache_dir: Path, *, skip_broken: bool, progress: Progress | None = None
) -> tuple[Split, PixelCache]:
    """Open a split's pixels; broken images stop it, or are left out of both where `skip_broken` is given.

    Raises:
        DataError: broken images (listed); an `AllBrokenError` where these are left out and nothing is left.
    """
    cache = open_pixels(split.pictures, size, cache_dir, progress=progress)
    if not cache.broken:
        return split, cache
    if not skip_broken:
        raise DataError(broken_sentence(split, cache.broken))
    kept = split.without({position for position, _ in cache.broken})
    if not len(kept):
        raise AllBrokenError(
            f"all {len(split)} images of the {split.name} split are broken; nothing is left to work on"
        )
    return kept, open_pixels(kept.pictures, size, cache_dir, progress=progress)


def broken_sentence(split: Split, broken: Sequence[tuple[int, str]]) -> str:
    """List the broken images of a split, at most ten of them."""
    return broken_pictures(broken, split.pictures, of=f"the {split.name} split")


@dataclass(frozen=True)
class TestImages:
    """Query and gallery of a data set, ready to be embedded by any model at one input size.

    `dataset`: without its broken images. `query_pixels`: None where all queries stand in the gallery too.
    """

    __test__ = False  # no test case, whatever pytest thinks of its name

    dataset: Dataset
    query_pixels: PixelCache | None
    gallery_pixels: PixelCache

    @property
    def query(self) -> Split:
        """The queries of all tests."""
        return self.dataset.query

    @property
    def gallery(self) -> Split:
        """The gallery images of all tests."""
        return self.dataset.gallery

    def embed(
        self, model: ReidModel, *, precision: str, device: torch.device, progress: Progress | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embed query and gallery with the test output; each image once. `progress`: images done and images in all."""
        done, total = 0, len(self.gallery) + (len(self.query) if self.query_pixels is not None else 0)

        def count(images: int) -> None:
            nonlocal done
            done += images
            if progress is not None:
                progress(done, total)

        g = embed(model, self.gallery_pixels, precision=precision, device=device, progress=count)
        if self.query_pixels is not None:
            return embed(model, self.query_pixels, precision=precision, device=device, progress=count), g
        return g[own_rows(self.query, self.gallery)], g

    def evaluate(self, model: ReidModel, *, precision: str, device: torch.device) -> RetrievalResult:
        """Score a model by the data set's protocol, in the first of its tests."""
        first = dataclasses.replace(self.dataset, tests=self.dataset.tests[:1])
        results = score_tests(self.embed(model, precision=precision, device=device), first)
        return results[first.tests[0].name]


def open_test_images(
    dataset: Dataset, size: tuple[int, int], cache_dir: Path, *, skip_broken: bool, progress: Progress | None = None
) -> TestImages:
    """Open query and gallery.

    Raises:
        DataError: the data set has no query, gallery or identities to evaluate with.
    """
    if not dataset.can_be_evaluated:
        raise DataError(
            f"{dataset.root} must hold a query and a gallery split with identities to be evaluated, got "
            f"{len(dataset.query)} query and {len(dataset.gallery)} gallery images as format '{dataset.format}'; "
            "see docs/data.md for the layouts"
        )
    check_tests(dataset)
    gallery, gallery_pixels = open_split(dataset.gallery, size, cache_dir, skip_broken=skip_broken, progress=progress)
    query, query_pixels = dataset.query, None
    if not set(query.pictures) <= set(dataset.gallery.pictures):
        query, query_pixels = open_split(query, size, cache_dir, skip_broken=skip_broken, progress=progress)
    elif len(gallery) < len(dataset.gallery):
        whole = set(gallery.pictures)
        query = query.without({i for i, sample in enumerate(query) if sample.picture not in whole})
    kept = kept_images(dataset, query, gallery)
    if kept is not dataset:
        check_tests(kept)
    return TestImages(kept, query_pixels, gallery_pixels)


def open_first_test(dataset: Dataset, size: tuple[int, int], cache_dir: Path, **how: Any) -> TestImages | None:
    """Open what training is scored on: the first test's images; None where there is nothing to evaluate with.

    `how`, errors: see `open_test_images`.
    """
    if not dataset.can_be_evaluated:
        return None
    return open_test_images(keep_tests(dataset, dataset.tests[:1]), size, cache_dir, **how)


def check_tests(dataset: Dataset) -> None:
    """Check, before any embedding, that each test has at least one query to count.

    Raises:
        DataError: one has none.
    """
    for test in dataset.tests:
        query, gallery = dataset.query.at(test.query), dataset.gallery.at(test.gallery)
        name = f"{test.name}: " if len(dataset.tests) > 1 else ""
        if not len(query) or not len(gallery):
            raise DataError(f"{name}a test must have query and gallery images, got {len(query)} and {len(gallery)}")
        try:
            check_answerable(query, gallery, dataset.protocol)
        except DataError as error:
            raise DataError(f"{name}{error}") from error


def kept_images(dataset: Dataset, query: Split, gallery: Split) -> Dataset:
    """Put splits without broken images in place of the whole ones; the tests then count what is left."""
    if len(query) == len(dataset.query) and len(gallery) == len(dataset.gallery):
        return dataset

    def moved(before: Split, after: Split) -> Callable[[tuple[int, ...] | None], tuple[int, ...] | None]:
        place = {sample.picture: position for position, sample in enumerate(after)}
        now = [place.get(sample.picture) for sample in before]
        return lambda at: None if at is None else tuple(p for i in at if (p := now[i]) is not None)

    of_query, of_gallery = moved(dataset.query, query), moved(dataset.gallery, gallery)
    tests = tuple(
        dataclasses.replace(test, query=of_query(test.query), gallery=of_gallery(test.gallery))
        for test in dataset.tests
    )
    return dataclasses.replace(dataset, query=query, gallery=gallery, tests=tests)


def choose_precision(name: str, model: ReidModel, size: tuple[int, int], device: torch.device) -> str:
    """Resolve "auto": bfloat16 on a GPU; on a CPU whichever trains this backbone faster in a short trial."""
    if name != "auto":
        return name
    if device.type != "cpu":
        return "bfloat16"
    trial = copy.deepcopy(model).train()
    images = torch.zeros(16, 3, *size).contiguous(memory_format=torch.channels_last)
    return min(("float32", "bfloat16"), key=lambda precision: step_seconds(trial, images, precision))


def step_seconds(model: ReidModel, images: Tensor, precision: str) -> float:
    """Time of a forward and backward pass, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            output = model(images).train
        output.float().square().sum().backward()
        best = min(best, time.perf_counter() - began)
    return best
