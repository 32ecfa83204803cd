"""Dates and times: of tables as seconds since 1970; and numbers that pass for times but tell the identities."""

import dataclasses
from datetime import UTC, datetime

import numpy as np

from resight.types import JUNK_PID, Dataset, Split

NEARLY_ALL = 0.95
"""Share of identities, and of the steps from one number to the next, from which numbers tell identities."""

LEAST_IDENTITIES = 10
"""Identities that several cameras saw, from which that can be told."""

STEPS = 10
"""How many different steps numbers have that were counted, not taken from a clock."""


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
    """Take timestamps away that tell identities, with a note, so that no label leaks into training."""
    reason = false_times(dataset)
    if reason is None:
        return dataset
    train, query, gallery = map(_untimed, (dataset.train, dataset.query, dataset.gallery))
    notes = (*dataset.notes, f"training makes no use of timestamps: {reason}")
    return dataclasses.replace(dataset, train=train, query=query, gallery=gallery, notes=notes)


def false_times(dataset: Dataset) -> str | None:
    """Say why timestamps tell identities, not times; None where they do not.

    They do where they go on in even steps, and nearly every identity that several cameras saw has a stretch of them
    that no other identity shares: numbers of identities, or of images sorted by identity, as file names may have them.
    """
    known = [
        (sample.timestamp, sample.pid, -1 if sample.camid is None else sample.camid)
        for split in dataset.splits
        for sample in split
        if sample.pid is not None and sample.pid != JUNK_PID and sample.timestamp is not None
    ]
    if not known:
        return None
    times, place = np.unique([time for time, _, _ in known], return_inverse=True)
    pids, owner = np.unique([pid for _, pid, _ in known], return_inverse=True)
    first, last = np.full(len(pids), len(times)), np.full(len(pids), -1)
    np.minimum.at(first, owner, place)
    np.maximum.at(last, owner, place)
    until = np.concatenate([[0], np.bincount(place, minlength=len(times)).cumsum()])
    alone = until[last + 1] - until[first] == np.bincount(owner)
    seen = np.unique([(who, camid) for who, (_, _, camid) in zip(owner, known, strict=True) if camid >= 0], axis=0)
    across = np.bincount(seen[:, 0], minlength=len(pids)) > 1 if len(seen) else np.zeros(len(pids), dtype=bool)
    steps = np.sort(np.unique(np.diff(times), return_counts=True)[1])
    counted = steps[steps > 1][-STEPS:].sum() >= NEARLY_ALL * steps.sum()
    count, own = int(across.sum()), int((alone & across).sum())
    if count < LEAST_IDENTITIES or own < NEARLY_ALL * count or not counted:
        return None
    return (
        f"they go on in even steps, and {own:,} of {count:,} identities that several cameras saw have some of their "
        "own, so that they tell identities, not times"
    )


def _untimed(split: Split) -> Split:
    return dataclasses.replace(
        split, samples=tuple(dataclasses.replace(sample, timestamp=None) for sample in split.samples)
    )
