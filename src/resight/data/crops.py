"""The images of a split, decoded by threads; a file once for all parts of it that follow each other."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np

from resight.data.decode import BrokenImageError, cut, decode, path_and_box
from resight.data.threads import CHUNK, THREADS, mapped
from resight.types import Box, Picture

Result = TypeVar("Result")
Run = tuple[Path, list[Box | None]]
"""A file and its parts that follow each other; at most `CHUNK`, so that their results fit in memory."""

LEAST_RUNS = 4
"""Runs a thread that are under way at a time, however many results they hold: fewer would leave threads idle."""


def each_decoded(
    pictures: Sequence[Picture], use: Callable[[np.ndarray], Result]
) -> Iterator[Result | BrokenImageError]:
    """Yield what `use` makes of each picture's pixels, in order, or the error where it cannot be decoded.

    Of the decoded files, each thread holds one at a time. `use` gets pixels of its own or those of a whole file, and
    must not change them.
    """
    runs = _runs(pictures)

    def outcomes(run: Run) -> list[Result | BrokenImageError]:
        path, boxes = run
        try:
            pixels = decode(path)
        except BrokenImageError as error:
            return [error] * len(boxes)
        return [_outcome(path, pixels, box, use) for box in boxes]

    # What waits for a slow consumer is counted in pictures, not in runs of up to hundreds of them.
    chunk = max(LEAST_RUNS * THREADS, CHUNK * len(runs) // max(1, len(pictures)))
    for results in mapped(outcomes, runs, chunk):
        yield from results


def _runs(pictures: Sequence[Picture]) -> list[Run]:
    runs: list[Run] = []
    for path, members in groupby(map(path_and_box, pictures), key=lambda member: member[0]):
        boxes = [box for _, box in members]
        runs += [(path, boxes[start : start + CHUNK]) for start in range(0, len(boxes), CHUNK)]
    return runs


def _outcome(
    path: Path, pixels: np.ndarray, box: Box | None, use: Callable[[np.ndarray], Result]
) -> Result | BrokenImageError:
    try:
        part = pixels if box is None else cut(pixels, box)
    except ValueError as error:
        return BrokenImageError(path, str(error))
    return use(part)
