"""Queries → ranked entries, with what their scores mean, and "no match" where no score is high enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from resight.artifacts import load_model
from resight.calibrate import Calibration, check_rate, fingerprint, load_calibration
from resight.data.digests import default_cache_dir
from resight.errors import ConfigError
from resight.gallery.entries import Entry, Hit, Where
from resight.gallery.queries import Queries, embed_images, read_images, read_vectors
from resight.gallery.store import Gallery
from resight.prepare import choose_device
from resight.run_images import Bar, Say
from resight.types import Picture

SAME_RATE = 1e-9
"""Two false-match rates closer than this, relative to them, are one."""


@dataclass(frozen=True)
class SearchRequest:
    """What `resight search` was asked for. `others`: leave out the query's own picture."""

    run: Path
    query: Path
    gallery: str
    top: int = 10
    where: Where = field(default_factory=Where)
    others: bool = False
    false_match_rate: float | None = None
    threshold: float | None = None
    split: str = "all"
    format: str | None = None
    device: str = "auto"
    cache_dir: Path | None = None
    batch_size: int = 256
    skip_broken: bool = False


@dataclass(frozen=True)
class Judge:
    """Says what a score means. `threshold`: as given by hand, instead of the calibration's; None of both: nothing."""

    calibration: Calibration | None = None
    threshold: float | None = None

    @property
    def decides(self) -> bool:
        """Whether it can say "no match"."""
        return self.calibration is not None or self.threshold is not None

    def judge(self, camid: int | None, hits: Sequence[Hit]) -> "list[Ranked]":
        """Give the hits of a query that was seen in camera `camid` (None: not known) with what their scores mean."""
        scores = torch.tensor([hit.score for hit in hits], dtype=torch.float64)
        probability: Sequence[float | None] = [None] * len(hits)
        same: Sequence[bool | None] = [None] * len(hits)
        if self.calibration is not None:
            within = None if camid is None else torch.tensor([h.entry.camid == camid for h in hits], dtype=torch.bool)
            probability = self.calibration.probability(scores, within).tolist()
            same = self.calibration.same(scores, within).tolist()
        if self.threshold is not None:
            same = (scores >= self.threshold).tolist()
        return [Ranked(h.entry, h.score, p, s) for h, p, s in zip(hits, probability, same, strict=True)]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit. `probability`: that it shows the same one, 0..1. `same`: whether it counts as that; None: not known."""

    entry: Entry
    score: float
    probability: float | None = None
    same: bool | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for one query, best first."""

    query: str
    picture: Picture | None
    hits: tuple[Ranked, ...]

    @property
    def match(self) -> bool | None:
        """Whether any hit counts as the same one; None where that cannot be said."""
        if not self.hits:
            return False
        return None if self.hits[0].same is None else any(hit.same for hit in self.hits)


def run_search(request: SearchRequest, say: Say, bar: Bar) -> tuple[list[Answer], Judge]:
    """Search a gallery for a query, or for each of several; says what its thresholds are.

    Raises:
        ConfigError: a threshold or rate that the run is not calibrated at.
        GalleryError: the gallery is of another model, or cannot be opened.
        DataError: the query cannot be read.
    """
    digest = fingerprint(request.run)
    judge = make_judge(request)
    with Gallery.open(request.gallery, digest) as gallery:
        queries = read_vectors(request.query, digest) if request.format is None else None
        if queries is None:
            queries = _embedded(request, bar)
        size = len(gallery)
        answers = search(gallery, queries, judge, top=request.top, where=request.where, others=request.others)
    if queries.left_out:
        say(f"{queries.left_out} broken images were left out")
    for line in explain(judge, size, request.run):
        say(line)
    return answers, judge


def _embedded(request: SearchRequest, bar: Bar) -> Queries:
    samples = read_images(request.query, request.format, request.split)
    model, recipe = load_model(request.run, choose_device(request.device))
    return embed_images(
        samples,
        model,
        recipe.input.height_width,
        request.cache_dir or default_cache_dir(),
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
    found = gallery.search(queries.vectors, top + others, where or Where())
    answers = []
    for place, hits in enumerate(found):
        kept = [hit for hit in hits if not others or hit.entry.id != queries.ids[place]][:top]
        ranked = judge.judge(queries.camids[place], kept)
        answers.append(Answer(queries.names[place], queries.pictures[place], tuple(ranked)))
    return answers


def make_judge(request: SearchRequest) -> Judge:
    """Take the run's calibration, or the threshold given by hand.

    Raises:
        ConfigError: both a rate and a threshold are given, or a rate that the run is not calibrated at.
        CheckpointError: the calibration cannot be read, or is of another model.
    """
    calibration, rate = load_calibration(request.run), request.false_match_rate
    if request.threshold is not None and not -1 <= request.threshold <= 1:
        raise ConfigError(f"--threshold must be a cosine between -1 and 1, got {request.threshold:g}")
    if rate is not None:
        check_rate(rate)
        if request.threshold is not None:
            raise ConfigError("--threshold and --false-match-rate exclude each other; give one of them")
        again = f"run: resight calibrate {request.run} --false-match-rate {rate:g}"
        if calibration is None:
            raise ConfigError(f"--false-match-rate needs a calibration, and {request.run} has none; {again}")
        if abs(calibration.false_match_rate - rate) > SAME_RATE * rate:
            raise ConfigError(f"{request.run} is calibrated at {calibration.false_match_rate:g}, not {rate:g}; {again}")
    return Judge(calibration, request.threshold)


def explain(judge: Judge, size: int, run: Path) -> list[str]:
    """Say in a sentence or two what counts as a match among `size` entries."""
    calibration = judge.calibration
    if judge.threshold is not None:
        return [f"a score of {judge.threshold:g} or more counts as a match, as --threshold says"]
    if calibration is None:
        return [
            f"{run} has no calibration, so what a score means is not known and nothing is called a match or no match; "
            f"run: resight calibrate {run}"
        ]
    many = calibration.false_match_rate * size
    text = (
        f"a score of {calibration.threshold:.3f} or more counts as a match: {calibration.false_match_rate:g} of all "
        f"different pairs reach it, about {many:.2g} of this gallery's {size:,} entries for each query"
    )
    if calibration.camera_aware and calibration.across is not None and calibration.within is not None:
        text += f" ({calibration.across.threshold:.3f} across cameras, {calibration.within.threshold:.3f} within one)"
    return [text, f"how far to trust it: {calibration.trust}"] if calibration.trust else [text]


def as_json(answers: Sequence[Answer], judge: Judge) -> dict[str, Any]:
    """Give the answers in JSON's types."""
    calibration = judge.calibration
    threshold = judge.threshold if judge.threshold is not None else calibration and calibration.threshold
    by_hand = judge.threshold is not None
    return {
        "threshold": threshold,
        "false_match_rate": None if by_hand or calibration is None else calibration.false_match_rate,
        "queries": [
            {
                "query": answer.query,
                "match": answer.match,
                "hits": [
                    {**h.entry.row(), "score": h.score, "probability": h.probability, "same": h.same}
                    for h in answer.hits
                ],
            }
            for answer in answers
        ],
    }
