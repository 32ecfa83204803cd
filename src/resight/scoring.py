"""From embeddings to scores as they were asked for: query expansion, tracklets, re-ranking, then the protocol."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from resight.by_camera import standardise_like
from resight.errors import ConfigError, DataError
from resight.evaluate import Options, evaluate
from resight.protocols import GENERAL, EvaluationProtocol
from resight.retrieval_result import RetrievalResult
from resight.types import JUNK_PID, UNKNOWN_CAMID, Dataset, Split, TestSet

Progress = Callable[[int, int], None]
Positions = tuple[int, ...] | None
"""Of images in a split; None is all of them."""


@dataclass(frozen=True)
class Scoring:
    """How embeddings are scored.

    `rerank`: k-reciprocal re-ranking with k1, k2 and lambda_. `expand`: nearest gallery images that are added to a
    query before the search, weighed by score to the power `alpha`; 0: none. `by_camera`: what the gallery's images of
    a camera share is taken out of all embeddings of that camera first. `by_tracklet`: gallery images of one
    tracklet are searched as one, by their mean. `single_shot_draws`, `camera_pairs`: see `evaluate.Options`.
    """

    rerank: bool = False
    k1: int = 20
    k2: int = 6
    lambda_: float = 0.3
    expand: int = 0
    alpha: float = 3.0
    by_camera: bool = False
    by_tracklet: bool = False
    single_shot_draws: int = 0
    camera_pairs: bool = False

    def told(self, protocol: EvaluationProtocol) -> dict[str, Any]:
        """Give what makes the figures other than those of a plain search, to stand beside them."""
        told: dict[str, Any] = {}
        if self.by_camera:
            told["standardised per camera by the gallery"] = True
        if self.by_tracklet:
            told["tracklets searched as one"] = True
        if self.expand:
            told["query expansion"] = {"k": self.expand, "alpha": self.alpha}
        if self.rerank:
            told["re-ranked"] = {"k1": self.k1, "k2": self.k2, "lambda": self.lambda_}
        if protocol.seconds:
            told["answers left out within seconds"] = protocol.seconds
        return told


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

    A query that stands in the gallery too is encoded once, and not added to itself; the published re-ranking counts it
    twice (on VeRi-776).

    Raises:
        ConfigError: what was asked for does not go together; see `check_scoring`.
        DataError: as `evaluate`; or tracklets or cameras are asked for and none is known.
    """
    queries, rows = embeddings
    check_scoring(scoring, protocol)
    if scoring.by_camera:
        queries, rows = without_cameras(queries, rows, query, gallery)
    if scoring.by_tracklet:
        query = with_tracklets_of(query, gallery)
        rows, gallery = pool_tracklets(rows, gallery)
    if scoring.camera_pairs and all(sample.camid is None for sample in gallery):
        raise DataError(f"--camera-pairs needs cameras, but none of the {len(gallery)} {gallery.name} images has one")
    rescorer = None
    if scoring.rerank or scoring.expand:
        rows, gallery = without_junk(rows, gallery)
        own = own_rows(query, gallery)
    if scoring.expand:
        from resight.rerank import expand_queries

        queries = expand_queries(queries, rows, k=scoring.expand, alpha=scoring.alpha, own=own)
    if scoring.rerank:
        from resight.rerank import KReciprocal

        rescorer = KReciprocal.of(
            queries, rows, k1=scoring.k1, k2=scoring.k2, lambda_=scoring.lambda_, own=own, progress=progress
        )
    options = Options(rescorer, scoring.single_shot_draws, scoring.camera_pairs)
    result = evaluate(queries, rows, query, gallery, protocol=protocol, options=options)
    return replace(result, scoring=scoring.told(protocol))


def without_cameras(
    queries: Float[Tensor, "q d"], rows: Float[Tensor, "g d"], query: Split, gallery: Split
) -> tuple[Float[Tensor, "q d"], Float[Tensor, "g d"]]:
    """Take out of embeddings what the gallery's images of their camera share: no label, but the gallery as a whole.

    Raises:
        DataError: no gallery image has a camera.
    """
    of_query, of_gallery = (torch.tensor(split.camids, device=rows.device) for split in (query, gallery))
    if bool((of_gallery == UNKNOWN_CAMID).all()):
        raise DataError(
            f"--by-camera needs cameras, but none of the {len(gallery)} {gallery.name} images has one; leave it out"
        )
    unit = functional.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)
    asked = functional.normalize(queries.to(unit), dim=1)
    model = (unit, of_gallery)
    return standardise_like(asked, of_query, model), standardise_like(unit, of_gallery, model)


def check_scoring(scoring: Scoring, protocol: EvaluationProtocol) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: what looks at the gallery as a whole is asked for where the gallery is drawn.
    """
    flags = {"--rerank": scoring.rerank, "--query-expansion": scoring.expand, "--by-camera": scoring.by_camera}
    whole = [name for name, asked in flags.items() if asked]
    if whole and protocol.shots:
        raise ConfigError(
            f"{whole[0]} needs one gallery, but protocol '{protocol.name}' draws {protocol.draws} of them; leave it "
            "out, or score all images with --protocol general"
        )
    if whole and scoring.single_shot_draws:
        raise ConfigError(f"{whole[0]} needs one gallery, but --single-shot draws several; ask for one of them")


def own_rows(query: Split, gallery: Split) -> Int[Tensor, " q"]:
    """Give the gallery row that is each query's own image; -1 where it does not stand in the gallery."""
    place = {sample.picture: position for position, sample in enumerate(gallery)}
    return torch.tensor([place.get(sample.picture, -1) for sample in query], dtype=torch.long)


def with_tracklets_of(query: Split, gallery: Split) -> Split:
    """Give queries that stand in a tracklet of the gallery that tracklet, so that all of it is left out for them."""
    known = {sample.picture: sample.tracklet for sample in gallery if sample.tracklet is not None}
    return Split(query.name, tuple(replace(s, tracklet=known.get(s.picture, s.tracklet)) for s in query))


def without_junk(rows: Float[Tensor, "g d"], gallery: Split) -> tuple[Float[Tensor, "h d"], Split]:
    """Take junk out of a gallery: it is neither right nor wrong, and must not stand among anything's neighbours."""
    junk = {position for position, sample in enumerate(gallery) if sample.pid == JUNK_PID}
    if not junk:
        return rows, gallery
    kept = torch.tensor([position for position in range(len(gallery)) if position not in junk])
    return rows[kept.to(rows.device)], gallery.without(junk)


def pool_tracklets(rows: Float[Tensor, "g d"], gallery: Split) -> tuple[Float[Tensor, "t d"], Split]:
    """Replace the images of each tracklet by one entry: the first image's facts, the mean of all unit rows.

    Images of no known tracklet stay as they are. Order is that of the first images; of a tracklet's times the first
    image's is kept.

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
    unit = functional.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)
    sums = unit.new_zeros(len(groups), rows.shape[1]).index_add_(0, index, unit)
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
    if at is not None:
        rows = rows[torch.tensor(at, dtype=torch.long, device=rows.device)]
    return rows, split.at(at)


def pick_tests(dataset: Dataset, names: str | None) -> Dataset:
    """Keep the named tests, separated by commas, and their images.

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
    return keep_tests(dataset, tuple(known[name] for name in wanted))


def keep_tests(dataset: Dataset, tests: tuple[TestSet, ...]) -> Dataset:
    """Keep some tests, and of query and gallery the images that take part in them."""
    query, of_query = _kept(dataset.query, [test.query for test in tests])
    gallery, of_gallery = _kept(dataset.gallery, [test.gallery for test in tests])
    moved = (replace(test, query=q, gallery=g) for test, q, g in zip(tests, of_query, of_gallery, strict=True))
    return replace(dataset, query=query, gallery=gallery, tests=tuple(moved))


def _kept(split: Split, parts: list[Positions]) -> tuple[Split, list[Positions]]:
    """Keep the images of some parts of a split, and say where they now stand."""
    wanted = sorted({position for part in parts if part is not None for position in part})
    if None in parts or len(wanted) == len(split):
        return split, parts
    place = {position: now for now, position in enumerate(wanted)}
    now = [tuple(place[position] for position in part) for part in parts if part is not None]
    return split.at(tuple(wanted)), [None if len(part) == len(wanted) else part for part in now]
