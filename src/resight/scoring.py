"""From embeddings to scores as they were asked for: query expansion, tracklets, re-ranking, then the protocol."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from resight.errors import ConfigError, DataError
from resight.evaluate import Options, evaluate
from resight.protocols import GENERAL, EvaluationProtocol
from resight.retrieval_result import RetrievalResult
from resight.types import JUNK_PID, Dataset, Split, TestSet

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scoring:
    """How embeddings are scored.

    `rerank`: k-reciprocal re-ranking with k1, k2 and lambda_. `expand`: nearest gallery images that are added to a
    query before the search, weighed by score to the power `alpha`; 0: none. `by_tracklet`: gallery images of one
    tracklet are searched as one, by their mean. `single_shot_draws`, `camera_pairs`: see `evaluate.Options`.
    """

    rerank: bool = False
    k1: int = 20
    k2: int = 6
    lambda_: float = 0.3
    expand: int = 0
    alpha: float = 3.0
    by_tracklet: bool = False
    single_shot_draws: int = 0
    camera_pairs: bool = False


PLAIN = Scoring()


def score(
    embeddings: tuple[Float[Tensor, "q d"], Float[Tensor, "g d"]],
    query: Split,
    gallery: Split,
    *,
    protocol: EvaluationProtocol = GENERAL,
    scoring: Scoring = PLAIN,
    progress: Progress | None = None,
) -> RetrievalResult:
    """Score one test. `progress` is told rows done and rows in all while neighbours are searched for re-ranking.

    Raises:
        ConfigError: re-ranking is asked for where the protocol draws galleries.
        DataError: as `evaluate`; or tracklets are asked for and none is known.
    """
    queries, rows = embeddings
    if scoring.by_tracklet:
        rows, gallery = pool_tracklets(rows, gallery)
    rescorer = None
    if scoring.rerank or scoring.expand:
        rows, gallery = without_junk(rows, gallery)
    if scoring.expand:
        from resight.rerank import expand_queries

        queries = expand_queries(queries, rows, k=scoring.expand, alpha=scoring.alpha)
    if scoring.rerank:
        if protocol.shots:
            raise ConfigError(
                f"re-ranking needs one gallery, but protocol '{protocol.name}' draws {protocol.draws} of them; leave "
                "--rerank out, or score all images with --protocol general"
            )
        from resight.rerank import KReciprocal

        rescorer = KReciprocal.of(
            queries, rows, k1=scoring.k1, k2=scoring.k2, lambda_=scoring.lambda_, progress=progress
        )
    options = Options(rescorer, scoring.single_shot_draws, scoring.camera_pairs)
    return evaluate(queries, rows, query, gallery, protocol=protocol, options=options)


def without_junk(rows: Float[Tensor, "g d"], gallery: Split) -> tuple[Float[Tensor, "h d"], Split]:
    """Take junk out of a gallery: it is neither right nor wrong, and must not stand among anything's neighbours."""
    junk = {position for position, sample in enumerate(gallery) if sample.pid == JUNK_PID}
    if not junk:
        return rows, gallery
    kept = torch.tensor([position for position in range(len(gallery)) if position not in junk])
    return rows[kept.to(rows.device)], gallery.without(junk)


def pool_tracklets(rows: Float[Tensor, "g d"], gallery: Split) -> tuple[Float[Tensor, "t d"], Split]:
    """Replace the images of each tracklet by one entry: the first image's facts, the mean of all unit rows.

    Images of no known tracklet stay as they are. Order is that of the first images.

    Raises:
        DataError: no tracklet is known.
    """
    if all(sample.tracklet is None for sample in gallery):
        raise DataError(
            f"--by-tracklet needs tracklets, but none of the {len(gallery)} {gallery.name} images has one; "
            "give a manifest with a column 'tracklet'"
        )
    groups: dict[object, int] = {}
    first = []
    group = []
    for position, sample in enumerate(gallery):
        key: object = ("image", position) if sample.tracklet is None else sample.tracklet
        if key not in groups:
            groups[key] = len(groups)
            first.append(sample)
        group.append(groups[key])
    index = torch.tensor(group, device=rows.device)
    unit = functional.normalize(rows.float(), dim=1)
    sums = torch.zeros(len(groups), rows.shape[1], device=rows.device).index_add_(0, index, unit)
    return functional.normalize(sums, dim=1), Split(gallery.name, tuple(first))


def score_tests(
    embeddings: tuple[Float[Tensor, "q d"], Float[Tensor, "g d"]],
    dataset: Dataset,
    *,
    scoring: Scoring = PLAIN,
    progress: Progress | None = None,
) -> dict[str, RetrievalResult]:
    """Score each test of a data set whose query and gallery have these embeddings, by its protocol."""
    results = {}
    for test in dataset.tests:
        (queries, query), (rows, gallery) = (
            chosen(*pair)
            for pair in ((embeddings[0], dataset.query, test.query), (embeddings[1], dataset.gallery, test.gallery))
        )
        results[test.name] = score(
            (queries, rows), query, gallery, protocol=dataset.protocol, scoring=scoring, progress=progress
        )
    return results


def chosen(rows: Float[Tensor, "n d"], split: Split, at: tuple[int, ...] | None) -> tuple[Float[Tensor, "m d"], Split]:
    """Give the rows and samples at some positions; None is all, without a copy."""
    if at is None:
        return rows, split
    return rows[torch.tensor(at, device=rows.device)], Split(split.name, tuple(split.samples[i] for i in at))


def pick_tests(dataset: Dataset, names: str | None) -> Dataset:
    """Keep the named tests, separated by commas.

    Raises:
        ConfigError: the data set has no such test.
    """
    if names is None:
        return dataset
    known: Mapping[str, TestSet] = {test.name: test for test in dataset.tests}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise ConfigError(f"--tests must name some of {', '.join(known)}, got '{names}'")
    return replace(dataset, tests=tuple(known[name] for name in wanted))
