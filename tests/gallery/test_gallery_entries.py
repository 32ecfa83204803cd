"""Entries as rows, conditions as filters, and what neither can hold."""

import random
from pathlib import Path

import pytest

from gallery_cases import entries
from resight.errors import ConfigError, GalleryError
from resight.gallery.entries import Entry, Where, first_of_each, parse_cameras, parse_time, quoted
from resight.types import Crop, Sample


def test_an_entry_is_what_its_row_says():
    for entry in entries(40):
        assert Entry.from_row(entry.row()) == entry


def test_an_entry_of_a_sample_has_no_identity_and_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    found = Entry.of(Sample(Path("a/../b.jpg"), 7, 1, 2.5, 3, (1, 2, 3, 4)), "ff", type="person", source="yard")
    assert found == Entry("ff", tmp_path / "b.jpg", (1, 2, 3, 4), 1, 2.5, 3, "person", "yard")
    assert not any("pid" in name for name in found.row())
    assert found.picture == Crop(tmp_path / "b.jpg", (1, 2, 3, 4)) and Entry("f", Path("/x")).picture == Path("/x")


@pytest.mark.parametrize(
    ("where", "filter"),
    [
        (Where(), ""),
        (Where(camids=(1, 2)), "camid in [1, 2]"),
        (Where(after=-5, before=1e9), "timestamp >= -5.0 and timestamp < 1000000000.0"),
        (Where(types=("a",), sources=('b "c"',)), 'type in ["a"] and source in ["b \\"c\\""]'),
        (Where(paths=("/x\\y\n",)), 'path in ["/x\\\\y\\n"]'),
    ],
)
def test_conditions_are_written_as_a_filter(where: Where, filter: str):
    assert where.expression() == filter and bool(where) == bool(filter)


def test_an_empty_list_is_met_by_none():
    assert Where(types=()).nothing and Where(camids=()).nothing and not Where(types=("a",)).nothing
    assert Where(types=())


def test_any_text_is_read_back_as_it_was_written():
    pytest.importorskip("milvus_lite")
    from milvus_lite.search.filter.tokens import tokenize

    draw = random.Random(3)
    for _ in range(300):
        text = "".join(draw.choice("ab \"'\\\n\t[](),äß雪🚗%_$") for _ in range(draw.randint(1, 12)))
        assert tokenize(quoted(text))[0].value == text


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Entry("", Path("/x")), "an entry's id must have 1 to 64 characters, got 0"),
        (lambda: Entry("f" * 65, Path("/x")), "an entry's id must have 1 to 64 characters, got 65"),
        (lambda: Entry("f", Path("/x"), type="t" * 257), "the type of /x must have 1 to 256 characters, got 257"),
        (lambda: Entry("f", Path("/x"), source="\x07"), "the source of /x must have no control characters"),
        (lambda: Entry("f", Path("/\udcff")), "an entry's path must be text that UTF-8 can hold"),
        (lambda: Entry("f", Path("/x"), timestamp=float("nan")), "timestamp of /x must be a finite number or None"),
        (lambda: Where(after=float("inf")).expression(), "a time to filter by must be finite, got inf"),
        (lambda: Where(types=("a\x00",)).expression(), "a text to filter by must have no control characters"),
    ],
)
def test_what_cannot_be_stored_or_asked_is_refused(make, sentence: str):
    with pytest.raises(GalleryError, match=sentence):
        make()


def test_flags_are_read_as_manifests_are():
    assert parse_time("12.5", "--after") == 12.5
    assert parse_time("1970-01-02", "--after") == 86400 == parse_time("1970-01-02T02:00+02:00", "--after")
    assert parse_cameras("1, 20") == (1, 20)
    for text in ("yesterday", "nan", ""):
        with pytest.raises(ConfigError, match="--before must be a number or a time such as"):
            parse_time(text, "--before")
    for text in ("", "one", "-1", "1;2"):
        with pytest.raises(ConfigError, match="--camera must be numbers of cameras"):
            parse_cameras(text)


def test_the_first_of_each():
    assert first_of_each(["a", "b", "a", "c", "b"]) == [0, 1, 3]
