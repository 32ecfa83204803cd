"""`resight evaluate`: a trained model, a data set and its protocol → scores of each test."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.artifacts import load_model
from resight.data.digests import default_cache_dir
from resight.data.formats import read_dataset
from resight.data.official import not_as_published
from resight.errors import DataError, no_such_name
from resight.prepare import choose_device, open_test_images
from resight.progress import Bar, Say
from resight.protocols import PROTOCOLS
from resight.quirks import model_caveats
from resight.retrieval_result import RetrievalResult
from resight.scoring import PLAIN, Scoring, pick_tests, score_tests
from resight.types import Dataset


@dataclass(frozen=True)
class EvaluateRequest:
    """What `resight evaluate` was asked for.

    `tests`: names, separated by commas; None is all of them. `apart`: seconds that a query and a right answer in its
    camera must lie apart; None is what the protocol says.
    """

    run: Path
    data: Path
    format: str | None = None
    protocol: str | None = None
    tests: str | None = None
    apart: float | None = None
    device: str = "auto"
    cache_dir: Path | None = None
    skip_broken: bool = False
    scoring: Scoring = PLAIN


def run_evaluation(request: EvaluateRequest, say: Say, bar: Bar) -> dict[str, RetrievalResult]:
    """Embed query and gallery, score every test asked for, and say what the scores cannot be compared with.

    Raises:
        ConfigError: no such device, format, protocol or test.
        DataError: the data set cannot be read or has nothing to evaluate with.
        CheckpointError: the model cannot be read.
    """
    place = choose_device(request.device)
    model, recipe = load_model(request.run, place)
    dataset = with_protocol(read_dataset(request.data, request.format), request.protocol, request.apart)
    dataset = pick_tests(dataset, request.tests)
    for note in dataset.notes:
        say(f"note: {note}")
    size, cache_dir = recipe.input.height_width, request.cache_dir or default_cache_dir()
    images = open_test_images(
        dataset, size, cache_dir, skip_broken=request.skip_broken, progress=bar("decoding images")
    )
    embeddings = images.embed(model, precision="float32", device=place, progress=bar("embedding images"))
    results = score_tests(
        embeddings, images.dataset, scoring=request.scoring, progress=bar("searching neighbours to re-rank")
    )
    lost = sum(len(split) for split in dataset.splits[1:]) - sum(len(split) for split in images.dataset.splits[1:])
    if lost:
        say(f"{lost} broken images of query and gallery were left out")
    for name, result in results.items():
        if len(results) > 1:
            say(f"{name}:")
        for line in result.lines():
            say(line)
    unlike = not_as_published(images.dataset)
    for sentence in [*([unlike] if unlike else []), *model_caveats(recipe)]:
        say(f"WARNING: {sentence}")
    return results


def with_protocol(dataset: Dataset, name: str | None, apart: float | None = None) -> Dataset:
    """Put the named protocol's rules in place of the data set's own, and `apart` in place of its seconds.

    Raises:
        ConfigError: there is no such protocol, or the time is below 0.
        DataError: a time is asked for, and no query or no gallery image has one.
    """
    protocol = dataset.protocol
    if name is not None:
        if name not in PROTOCOLS:
            raise no_such_name("protocol", name, PROTOCOLS)
        protocol = PROTOCOLS[name]
    if apart is not None:
        protocol = dataclasses.replace(protocol, seconds=apart)
        for split in (dataset.query, dataset.gallery):
            if all(sample.timestamp is None for sample in split):
                raise DataError(
                    f"--apart needs times, but none of the {len(split)} {split.name} images has one; give a manifest "
                    "with a column 'timestamp'"
                )
    return dataclasses.replace(dataset, protocol=protocol)


def as_json(results: dict[str, RetrievalResult]) -> dict[str, Any]:
    """Give the figures of the first test, and of each by its name where there are several."""
    each = {name: result.to_json() for name, result in results.items()}
    first = next(iter(each.values()))
    return first if len(each) == 1 else {**first, "tests": each}
