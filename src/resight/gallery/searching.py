"""Queries → ranked entries, with what their scores mean, and "no match" where no score is high enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from resight.artifacts import load_model
from resight.calibrate import Calibration, fingerprint, load_calibration
from resight.data.decoded import DecodedOnce
from resight.data.digests import default_cache_dir
from resight.errors import ConfigError
from resight.gallery.entries import Entry, Hit, Where
from resight.gallery.index import ImageRequest
from resight.gallery.queries import Queries, embed_images, read_images, read_vectors
from resight.gallery.store import Gallery
from resight.matching import Images, Thresholds, check_asked, find_thresholds, number_cameras, same_camera
from resight.progress import Bar, Say
from resight.types import UNKNOWN_CAMID, Picture

SAMPLE = 4096
"""Most entries whose scores are looked at to find the threshold of a rate that the run is not calibrated at."""


@dataclass(frozen=True)
class SearchRequest(ImageRequest):
    """What `resight search` was asked for. `others`: leave out the query's own picture."""

    run: Path
    query: Path
    gallery: str
    top: int = 10
    where: Where = field(default_factory=Where)
    others: bool = False
    false_match_rate: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Judge:
    """Says what a score means: the calibration how probable it is that two are the same, the thresholds whether they
    count as that. Without either: nothing.
    """

    calibration: Calibration | None = None
    thresholds: Thresholds | None = None

    @property
    def decides(self) -> bool:
        """Whether it can say "no match"."""
        return self.thresholds is not None

    def judge(self, camid: int | None, hits: Sequence[Hit], source: str | None = None) -> "list[Ranked]":
        """Give the hits of a query with what their scores mean.

        `camid`: the camera that the query was seen in (None: not known), of this `source` (None: of any, so that
        cameras of one number are one camera).
        """
        scores = torch.tensor([hit.score for hit in hits], dtype=torch.float64)
        entries = [hit.entry for hit in hits]
        within = same_camera(_camids([camid]), _camids([entry.camid for entry in entries]))
        if source is not None:
            within &= torch.tensor([entry.source == source for entry in entries], dtype=torch.bool)
        probability: Sequence[float | None] = [None] * len(hits)
        same: Sequence[bool | None] = [None] * len(hits)
        if self.calibration is not None:
            probability = self.calibration.probability(scores, within).tolist()
        if self.thresholds is not None:
            same = self.thresholds.reached(scores, within).tolist()
        return [Ranked(h.entry, h.score, p, s) for h, p, s in zip(hits, probability, same, strict=True)]


def _camids(camids: Sequence[int | None]) -> torch.Tensor:
    return torch.tensor([UNKNOWN_CAMID if camid is None else camid for camid in camids], dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit. `probability`: that it shows the same one, 0..1. `same`: whether it counts as that; None: not known."""

    entry: Entry
    score: float
    probability: float | None = None
    same: bool | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for one query, best first.

    `beyond`: where none of the hits is a match, the best match that comes after them, if there is one: with a threshold
    of its own for each kind of pair, lower scores may match where higher ones do not.
    """

    query: str
    picture: Picture | None
    hits: tuple[Ranked, ...]
    beyond: Ranked | None = None

    @property
    def match(self) -> bool | None:
        """Whether any entry counts as the same one, whatever `top` was; None where that cannot be said."""
        if not self.hits:
            return False
        return None if self.hits[0].same is None else self.beyond is not None or any(hit.same for hit in self.hits)


def run_search(request: SearchRequest, say: Say, bar: Bar) -> tuple[list[Answer], Judge]:
    """Search a gallery for a query, or for each of several; says what its thresholds are.

    Raises:
        ConfigError: a threshold, rate, device or backend that cannot be used, or `others` where the queries' own
            pictures are not known.
        GalleryError: the gallery is of another model, or cannot be opened.
        DataError: the query cannot be read.
    """
    digest, threshold, rate = fingerprint(request.run), request.threshold, request.false_match_rate
    check_asked(load_calibration(request.run), request.run, threshold=threshold, rate=rate)
    request.check()
    with Gallery.open(request.gallery, digest) as gallery:
        queries = read_vectors(request.query, digest) if request.format is None else None
        if queries is None:
            queries = _embedded(request, say, bar)
        elif request.others and None in queries.ids:
            raise ConfigError(
                f"--others needs to know the queries' own pictures, and {request.query} has no column id with the "
                "digests of their contents; leave it out, or give a table that resight embed wrote"
            )
        judge = make_judge(request.run, threshold=threshold, rate=rate, gallery=gallery)
        size = len(gallery)
        answers = search(gallery, queries, judge, top=request.top, where=request.where, others=request.others)
    for line in (*queries.notes, *explain(judge, size, request.run)):
        say(line)
    return answers, judge


def _embedded(request: SearchRequest, say: Say, bar: Bar) -> Queries:
    samples = read_images(request.query, request.format, request.split)
    model, recipe = load_model(request.run)
    pixels = DecodedOnce([sample.picture for sample in samples], recipe.input.height_width)
    embedder = request.open_embedder(model, pixels, say)
    return embed_images(
        *(samples, pixels, embedder, request.cache_dir or default_cache_dir()),
        batch=request.batch_size,
        skip_broken=request.skip_broken,
        bar=bar,
    )


def search(
    gallery: Gallery, queries: Queries, judge: Judge, *, top: int = 10, where: Where | None = None, others: bool = False
) -> list[Answer]:
    """Search for each query; `others`: leave out entries that are the query's own picture.

    Raises:
        ShapeError: the queries' embeddings are not the gallery's kind.
        GalleryError: `top` is out of range.
    """
    where = where or Where()
    found = gallery.search(queries.vectors, top + others, where)
    ranked = [judged(judge, queries, place, hits, others=others)[:top] for place, hits in enumerate(found)]
    open_yet = [place for place, hits in enumerate(ranked) if len(hits) == top and matches_may_follow(judge, hits)]
    later = later_matches(gallery, queries, judge, open_yet, where, others=others)
    return [
        Answer(queries.names[place], queries.pictures[place], tuple(hits), later.get(place))
        for place, hits in enumerate(ranked)
    ]


def judged(judge: Judge, queries: Queries, place: int, hits: Sequence[Hit], *, others: bool) -> list[Ranked]:
    """Judge the hits of one query; `others`: without its own picture."""
    kept = [hit for hit in hits if not others or hit.entry.id != queries.ids[place]]
    return judge.judge(queries.camids[place], kept, queries.source(place))


def later_matches(
    gallery: Gallery, queries: Queries, judge: Judge, places: Sequence[int], where: Where, *, others: bool
) -> dict[int, Ranked]:
    """Give the best match of each query at `places` that has one: of its own camera, or of another."""
    alike: dict[tuple[int | None, str | None], list[int]] = {}
    for place in places:
        alike.setdefault((queries.camids[place], queries.source(place)), []).append(place)
    best: dict[int, Ranked] = {}
    for (camid, source), some in alike.items():
        for part in by_camera(where, camid, source):
            for place, hits in zip(some, gallery.search(queries.vectors[some], 1 + others, part), strict=True):
                for hit in judged(judge, queries, place, hits, others=others)[:1]:
                    if hit.same and (place not in best or hit.score > best[place].score):
                        best[place] = hit
    return best


def matches_may_follow(judge: Judge, ranked: Sequence[Ranked]) -> bool:
    """Whether there is no match among the best hits, and one with a lower score may still be one."""
    thresholds = judge.thresholds
    if thresholds is None or not thresholds.by_camera or any(hit.same for hit in ranked):
        return False
    return ranked[-1].score >= thresholds.lowest


def by_camera(where: Where, camid: int | None, source: str | None) -> list[Where]:
    """Split a condition into the entries of the query's camera and all others; inside each, matches are the best."""
    if camid is None or camid < 0:
        return [where]
    here = replace(where, camids=(camid,) if where.camids is None or camid in where.camids else ())
    if source is not None:
        here = replace(here, sources=(source,) if where.sources is None or source in where.sources else ())
    return [here, replace(where, not_seen=(camid, source))]


def make_judge(
    run: Path, *, threshold: float | None = None, rate: float | None = None, gallery: Gallery | None = None
) -> Judge:
    """Take the run's calibration, with its own thresholds or those that are asked for; see `matching`.

    `gallery`: what a rate that the run is not calibrated at is for.

    Raises:
        ConfigError: the threshold or the rate cannot be used.
        CheckpointError: the calibration cannot be read, or is of another model.
    """
    calibration = load_calibration(run)
    images = None if gallery is None else sampled(gallery)
    return Judge(calibration, find_thresholds(calibration, run, threshold=threshold, rate=rate, images=images))


def sampled(gallery: Gallery) -> Callable[[], Images]:
    """Give a function that reads up to `SAMPLE` embeddings of a gallery and their cameras, told apart by source."""

    def images() -> Images:
        entries, rows = gallery.sample(SAMPLE)
        return rows, number_cameras([((entry.source or "",), entry.camid) for entry in entries])

    return images


def explain(judge: Judge, size: int, run: Path) -> list[str]:
    """Say in a sentence or two what counts as a match among `size` entries."""
    calibration, thresholds = judge.calibration, judge.thresholds
    if thresholds is None:
        return [
            f"{run} has no calibration, so what a score means is not known and nothing is called a match or no match; "
            f"run: resight calibrate {run}"
        ]
    if thresholds.rate is None:
        return [f"a score of {thresholds.across:g} or more counts as a match, as --threshold says"]
    many = thresholds.rate * size
    text = (
        f"a score of {thresholds} or more counts as a match: {thresholds.rate:g} of all different pairs reach it, "
        f"about {many:.2g} of this gallery's {size:,} entries for each query"
    )
    trust = "" if calibration is None else calibration.trust
    return [text, f"how far to trust it: {trust}"] if trust else [text]


def as_json(answers: Sequence[Answer], judge: Judge) -> dict[str, Any]:
    """Give the answers in JSON's types."""
    thresholds = judge.thresholds
    return {
        "threshold": None if thresholds is None else thresholds.to_json(),
        "false_match_rate": None if thresholds is None else thresholds.rate,
        "queries": [
            {
                "query": answer.query,
                "match": answer.match,
                "hits": [_hit(hit) for hit in answer.hits],
                "beyond": None if answer.beyond is None else _hit(answer.beyond),
            }
            for answer in answers
        ],
    }


def _hit(hit: Ranked) -> dict[str, Any]:
    return {**hit.entry.row(), "score": hit.score, "probability": hit.probability, "same": hit.same}
