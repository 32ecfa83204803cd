"""Counts against the official ones: what differs is named, what is absent or not known is no difference."""

from pathlib import Path

import pytest

from resight.data.official import differences, not_as_published
from resight.protocols import GENERAL, PROTOCOLS, EvaluationProtocol
from resight.types import JUNK_PID, Dataset, Sample, Split, TestSet


def split(name, *pids):
    return Split(name, tuple(Sample(Path(f"{name}{i}.jpg"), pid) for i, pid in enumerate(pids)))


def dataset(official, train=(), query=(), gallery=(), tests=None):
    protocol = EvaluationProtocol("toys", official=official)
    splits = split("train", *train), split("query", *query), split("gallery", *gallery)
    return Dataset(Path("toys"), "manifest", *splits, tests=tests or (TestSet(),), protocol=protocol)


def test_equal_counts_are_no_difference():
    # 1, 1, 2: 3 images of 2 identities; the gallery's junk is an image but no identity.
    official = {"train": (3, 2), "query": (1, 1), "gallery": (4, 2)}
    found = dataset(official, (1, 1, 2), (5,), (5, 5, 6, JUNK_PID))
    assert differences(found) == []
    assert not_as_published(found) is None


def test_each_difference_is_one_sentence_and_the_summary_one_line():
    found = dataset({"train": (12_936, 751), "query": (1, 1)}, (1, 1, 2), (5,))
    assert differences(found) == [
        "train has 3 images (published: 12,936)",
        "train has 2 identities (published: 751)",
    ]
    assert not_as_published(found) == (
        "this is not the data set as published: train has 3 images (published: 12,936); "
        "train has 2 identities (published: 751); do not compare with published scores"
    )


def test_one_is_said_as_one():
    assert differences(dataset({"query": (2, 3)}, query=(5,))) == [
        "query has 1 image (published: 2)",
        "query has 1 identity (published: 3)",
    ]


def test_tests_are_counted_each_by_its_own_images():
    tests = (TestSet("small", (0,), (0, 1)), TestSet("large", None, (1, 2, 3)))
    official = {"small query": (1, 1), "small gallery": (2, 2), "large query": (2, 2), "large gallery": (3, 3)}
    found = dataset(official, (), (1, 2), (1, 2, 3, 3), tests)
    assert differences(found) == ["large gallery has 2 identities (published: 3)"]  # 2, 3, 3


def test_what_is_absent_or_not_counted_or_not_known_is_no_difference():
    official = {"train": (9, 9), "small query": (9, 9), "query": (1, None), "gallery": (2, 2)}
    found = dataset(official, query=(1,), gallery=(None, None))  # no train, no test small, pids of the gallery unknown
    assert differences(found) == []


OFFICIAL = {
    "market1501": {"train": (12936, 751), "query": (3368, 750), "gallery": (19732, 751)},
    "dukemtmc": {"train": (16522, 702), "query": (2228, 702), "gallery": (17661, 1110)},
    "msmt17": {"train": (32621, 1041), "query": (11659, 3060), "gallery": (82161, 3060)},
    "cuhk03np": {"train": (7368, 767), "query": (1400, 700), "gallery": (5328, 700)},
    "cuhk03np-detected": {"train": (7365, 767), "query": (1400, 700), "gallery": (5332, 700)},
    "veri776": {"train": (37778, 576), "query": (1678, 200), "gallery": (11579, 200)},
    "veriwild": {
        "train": (277797, 30671),
        "small query": (3000, 3000),
        "small gallery": (38861, 3000),
        "medium query": (5000, 5000),
        "medium gallery": (64389, 5000),
        "large query": (10000, 10000),
        "large gallery": (128517, 10000),
    },
    "vehicleid": {
        "train": (113346, 13164),
        "small query": (6493, 800),
        "small gallery": (6493, 800),
        "medium query": (13377, 1600),
        "medium gallery": (13377, 1600),
        "large query": (19777, 2400),
        "large gallery": (19777, 2400),
    },
}


def test_the_counts_are_those_of_the_descriptions():
    assert {name: protocol.official for name, protocol in PROTOCOLS.items() if protocol.official} == OFFICIAL


@pytest.mark.parametrize("name", [name for name, protocol in PROTOCOLS.items() if protocol.official])
def test_each_published_data_set_passes_its_own_counts_and_no_other(name):
    """Build splits of just the official sizes; then take one image away from each part in turn."""
    protocol = PROTOCOLS[name]
    parts = {"train": (), "query": (), "gallery": ()}
    positions = {}
    for part, (images, identities) in protocol.official.items():
        kind = part.split()[-1]
        start = len(parts[kind])
        parts[kind] += tuple(i % (identities or images) for i in range(images))
        positions[part] = tuple(range(start, start + images))
    sized = dict.fromkeys(part.split()[0] for part in positions if " " in part)
    tests = tuple(TestSet(test, positions[f"{test} query"], positions[f"{test} gallery"]) for test in sized)
    splits = [split(kind, *pids) for kind, pids in parts.items()]
    whole = Dataset(Path(name), "manifest", *splits, tests=tests or (TestSet(),), protocol=protocol)
    assert differences(whole) == []
    train, query, gallery = splits
    less = Dataset(Path(name), "manifest", train.without({0}), query, gallery, tests=whole.tests, protocol=protocol)
    assert differences(less)[0].startswith(f"train has {len(train) - 1:,} images (published: ")


def test_the_general_protocol_counts_nothing():
    splits = split("train", 1), split("query", 1), split("gallery", 1)
    assert differences(Dataset(Path("x"), "manifest", *splits, protocol=GENERAL)) == []
