"""Published quirks that make a score look better than it is: off by default, and said wherever they are used.

See docs/published_quirks.md; the third quirk, the refill, is in `refill.py`.
"""

import dataclasses
from pathlib import Path

from resight.artifacts import BEST_ON_TEST, SELECTED
from resight.config import Recipe
from resight.data.digests import content_digests
from resight.errors import ConfigError, DataError
from resight.kept import BestSoFar
from resight.progress import Say
from resight.types import JUNK_PID, Dataset, Sample, Split


def with_gallery(dataset: Dataset) -> Dataset:
    """Give the data set with the gallery's images, junk aside, behind the training images; the gallery stays as it is.

    Raises:
        DataError: there is no gallery.
    """
    added = added_images(dataset)
    if not added:
        raise DataError(f"--train-on-gallery needs gallery images, but {dataset.root} has none; leave the flag out")
    return dataclasses.replace(dataset, train=Split(dataset.train.name, (*dataset.train.samples, *added)))


def added_images(dataset: Dataset) -> tuple[Sample, ...]:
    """The gallery's images that are trained on: all but junk; without their tracklets, which nobody published with."""
    return tuple(dataclasses.replace(sample, tracklet=None) for sample in dataset.gallery if sample.pid != JUNK_PID)


def caveats(recipe: Recipe, dataset: Dataset, cache_dir: Path, say: Say) -> dict[str, list[str]]:
    """Say, one sentence each, why this run's figures are no honest test; give the same for the log, if any.

    `dataset`: as it was read, without the gallery among its training images.
    """
    said = []
    if recipe.data.train_on_gallery:
        added = [sample.picture for sample in added_images(dataset)]
        queries = set(content_digests(dataset.query.pictures, cache_dir))
        twins = sum(digest in queries for digest in content_digests(added, cache_dir))
        also = f", {twins} of which are query images too," if twins else ""
        said.append(
            f"trained on the gallery: {len(added)} gallery images{also} are among the training images "
            "(data.train_on_gallery), so scores on this gallery are no honest test result"
        )
    if recipe.evaluate.keep_best_on_test_rank1:
        said.append(
            "selected on the test queries: the model kept is the one with the highest test Rank-1 "
            "(evaluate.keep_best_on_test_rank1), so its scores are no honest test result"
        )
    for sentence in said:
        say(f"WARNING: {sentence}")
    return {"caveats": said} if said else {}


def model_caveats(recipe: Recipe) -> list[str]:
    """Say of a finished model which test set it has met before, one sentence each."""
    said = []
    if recipe.data.train_on_gallery:
        said.append("this model was trained on the gallery of its data: scored on that, it is not tested honestly")
    if recipe.evaluate.keep_best_on_test_rank1:
        said.append(
            "this model was selected on the test queries of its data: scored on those, it is not tested honestly"
        )
    return said


def check_can_select(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse to keep the best model on a test set that is not there.

    Raises:
        ConfigError: as said.
    """
    if recipe.evaluate.keep_best_on_test_rank1 and not dataset.can_be_evaluated:
        raise ConfigError(
            "evaluate.keep_best_on_test_rank1 needs query and gallery with identities, "
            f"but {dataset.root} has none; set it to false"
        )


def best_on_test(out: Path, recipe: Recipe, first_epoch: int) -> BestSoFar:
    """Keep the best model so far by test Rank-1.

    Raises:
        CheckpointError: epochs before `first_epoch` were scored, and the best model of them is not there.
    """
    return BestSoFar(
        out / BEST_ON_TEST,
        SELECTED,
        recipe,
        value=lambda scores: float(scores["cmc"]["1"]),
        first_epoch=first_epoch,
        # the last epoch is scored at the very end
        expected=min(first_epoch, recipe.train.epochs) > recipe.evaluate.every,
    )
