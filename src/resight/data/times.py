"""Dates and times: of tables as seconds since 1970; and numbers that pass for times but are the identities."""

import dataclasses
from collections import defaultdict
from datetime import UTC, datetime

from resight.types import JUNK_PID, Dataset, Split

LIKE_IDENTITIES = 0.95
"""Share of identities with one timestamp of their own, in several cameras, from which timestamps are no times."""

LEAST_IDENTITIES = 10
"""Identities that several cameras saw, from which that can be told."""


def iso_seconds(text: str) -> float | None:
    """Read a date, with a time of day or not, in ISO form; None where it is none.

    Without a zone it is in UTC, the same on any machine.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def without_false_times(dataset: Dataset) -> Dataset:
    """Take timestamps away that are the identities in another guise, with a note, so that no label leaks into training.

    They are where nearly every identity that several cameras saw has a single timestamp and nearly every such timestamp
    a single identity, as in file names whose frame number is the identity's.
    """
    times: dict[int, set[float]] = defaultdict(set)
    cameras: dict[int, set[int | None]] = defaultdict(set)
    identities: dict[float, set[int]] = defaultdict(set)
    for sample in (sample for split in dataset.splits for sample in split):
        if sample.pid is not None and sample.pid != JUNK_PID and sample.timestamp is not None:
            times[sample.pid].add(sample.timestamp)
            cameras[sample.pid].add(sample.camid)
            identities[sample.timestamp].add(sample.pid)
    across = [pid for pid, seen in cameras.items() if len(seen) > 1]
    own = sum(len(times[pid]) == 1 and len(identities[next(iter(times[pid]))]) == 1 for pid in across)
    if len(across) < LEAST_IDENTITIES or own < LIKE_IDENTITIES * len(across):
        return dataset
    note = (
        f"timestamps are not made use of: {own:,} of {len(across):,} identities that several cameras saw have one of "
        "their own, so that they name identities, not times"
    )
    train, query, gallery = map(_untimed, (dataset.train, dataset.query, dataset.gallery))
    return dataclasses.replace(dataset, train=train, query=query, gallery=gallery, notes=(*dataset.notes, note))


def _untimed(split: Split) -> Split:
    return dataclasses.replace(
        split, samples=tuple(dataclasses.replace(sample, timestamp=None) for sample in split.samples)
    )
