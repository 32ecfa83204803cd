"""Whether a data set holds what its authors' description counts: scores on another one are no published scores."""

from collections.abc import Iterator, Sequence

from resight.types import JUNK_PID, Dataset, Sample

NOT_PUBLISHED = "this is not the data set as published"
DO_NOT_COMPARE = "do not compare with published scores"


def differences(dataset: Dataset) -> list[str]:
    """Name each count in which a data set is not what its protocol's `official` counts say, one sentence each.

    Junk counts as images only. A split or test that the data set lacks is no difference, nor are identities that the
    description does not count or the data set does not know.
    """
    official, found = dataset.protocol.official, dict(_parts(dataset))
    sentences = []
    for name, (images, identities) in official.items():
        samples = found.get(name)
        if not samples:
            continue
        pids = {sample.pid for sample in samples} - {None, JUNK_PID}
        for one, more, count, right in (
            ("image", "images", len(samples), images),
            ("identity", "identities", len(pids), identities),
        ):
            if right is not None and count not in (0, right):
                kind = one if count == 1 else more
                sentences.append(f"{name} has {count:,} {kind} (published: {right:,})")
    return sentences


def not_as_published(dataset: Dataset) -> str | None:
    """Say in one line that, and how, a data set is not the one its protocol was published with; None where it is."""
    return in_one_line(differences(dataset))


def in_one_line(found: Sequence[str]) -> str | None:
    """Say in one line what the differences mean; None where there are none."""
    if not found:
        return None
    return f"{NOT_PUBLISHED}: {'; '.join(found)}; {DO_NOT_COMPARE}"


def _parts(dataset: Dataset) -> Iterator[tuple[str, Sequence[Sample]]]:
    """Give the samples of each split and, by "TEST query" and "TEST gallery", of each test."""
    for split in dataset.splits:
        yield split.name, split.samples
    for test in dataset.tests:
        yield f"{test.name} query", dataset.query.at(test.query).samples
        yield f"{test.name} gallery", dataset.gallery.at(test.gallery).samples
