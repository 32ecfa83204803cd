"""What the readers of data sets with several tests over very many images share."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

from resight.data.decode import image_suffixes
from resight.types import Sample, Split, TestSet


def first_image(folder: Path) -> str:
    """Give the name of some visible image in `folder`, the first that is met, or "" where there is none."""
    suffixes = tuple(image_suffixes())
    try:
        with os.scandir(folder) as entries:
            names = (entry.name for entry in entries if not entry.name.startswith("."))
            return next((name for name in names if name.lower().endswith(suffixes)), "")
    except OSError:
        return ""


def splits_and_tests(
    tests: Mapping[str, tuple[Sequence[Sample], Sequence[Sample]]], key: Callable[[Sample], Hashable]
) -> tuple[Split, Split, tuple[TestSet, ...]]:
    """Join the query and gallery images of all tests, by name, to two splits that hold each image once.

    `key` tells which samples are one image. Images stand in the order in which the tests first name them.
    """
    query, query_positions = _union([query for query, _ in tests.values()], key)
    gallery, gallery_positions = _union([gallery for _, gallery in tests.values()], key)
    named = zip(tests, query_positions, gallery_positions, strict=True)
    sets = tuple(TestSet(name, of_query, of_gallery) for name, of_query, of_gallery in named)
    return Split("query", query), Split("gallery", gallery), sets or (TestSet(),)


def _union(
    lists: Sequence[Sequence[Sample]], key: Callable[[Sample], Hashable]
) -> tuple[tuple[Sample, ...], list[tuple[int, ...]]]:
    """Join the lists and give the positions of each in the union, ascending."""
    place: dict[Hashable, int] = {}
    union: list[Sample] = []
    positions = []
    for samples in lists:
        for sample in samples:
            if place.setdefault(key(sample), len(union)) == len(union):
                union.append(sample)
        positions.append(tuple(sorted({place[key(sample)] for sample in samples})))
    return tuple(union), positions
