"""What the app does with a run, a gallery and answers, without pages: audits, groups, answers taken back, filters."""

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("pymilvus")

from resight.app.filters import text_of, where_of, words_of
from resight.app.request import AppRequest
from resight.app.workplace import Workplace
from resight.audit_plan import model_digest
from resight.errors import ConfigError, DataError
from resight.groups.saved import read_groups
from resight.pair_answers import read_answers
from resight.progress import no_bar
from resight.review.contradictions import ContradictionError
from resight.review.questions import whole_name
from resight.review.store import Decision


def asked(run: Path, folder: Path, **more: object) -> AppRequest:
    return AppRequest(run, device="cpu", state=folder / "r.sqlite", **more)  # type: ignore[arg-type]


def test_an_audit_is_of_the_model_that_was_given_not_of_another_one_in_its_folder(run: Path, tmp_path: Path):
    shutil.copytree(run, tmp_path / "run")
    model = tmp_path / "run" / "kept.safetensors"
    shutil.copy(run / "model.safetensors", model)
    (tmp_path / "run" / "model.safetensors").write_bytes(b"another one, and broken")
    with Workplace(asked(model, tmp_path)) as place:
        assert place.draw(no_bar, 4).audit.plan.model == model_digest(model)
    with Workplace(asked(model, tmp_path)) as place:
        assert place.audit_error == "" and place.measuring is not None and len(place.measuring) == 4


def test_groups_are_saved_and_shown_again_without_being_made(run: Path, gallery: Path, tmp_path: Path):
    file = tmp_path / "groups.parquet"
    with Workplace(asked(run, tmp_path, gallery=str(gallery), groups=file)) as place:
        with pytest.raises(ConfigError, match="no groups yet"):
            place.save_groups()
        made = place.group(no_bar)
        assert place.save_groups() == file
        number = made.grouping.group.tolist()
    assert read_groups(file).grouping.group.tolist() == number
    with Workplace(asked(run, tmp_path, groups=file)) as place:  # no gallery
        assert place.group(no_bar).grouping.group.tolist() == number
        entry = made.entries[0]
        assert place.pictures.jpeg(entry.id, "small") is not None
    file.write_bytes(b"no table")
    with pytest.raises(DataError, match="groups.parquet cannot be read"):
        Workplace(asked(run, tmp_path, groups=file))
    with pytest.raises(ConfigError, match="--groups must end in .parquet"):
        asked(run, tmp_path, groups=tmp_path / "groups.csv")


def test_an_answer_that_contradicts_others_can_be_taken_back_wherever_it_was_given(
    run: Path, gallery: Path, tmp_path: Path
):
    mine = shutil.copytree(run, tmp_path / "run")
    with Workplace(asked(mine, tmp_path, gallery=str(gallery))) as place:
        measuring = place.draw(no_bar, 30)
        first = measuring.audit.answers[0]
        measuring.audit.with_answers({first.pair: False})  # in the audit's file
        place.measuring = None
        measuring = place.draw(no_bar)
        pair = measuring.pairs[0]
        third = next(e.picture for e in place.opened_gallery.get(place.opened_gallery.ids()) if whole_name(e.picture)
                     not in pair)  # fmt: skip
        chain = [tuple(sorted((name, whole_name(third)))) for name in pair]
        for one in chain:
            place.store.record(Decision(one, True, "doubts"))  # type: ignore[arg-type]
        with pytest.raises(ContradictionError) as refused:
            place.group(no_bar)
        assert dict(refused.value.answers) == {pair: False} | dict.fromkeys(chain, True)
        before = place.store.changes
        place.take_back(pair)
        assert read_answers(measuring.audit.pairs_file)[0].same is None and pair not in place.known()
        assert place.group(no_bar).grouping is not None and place.store.changes > before
        place.store.record(Decision(pair, False, "measure"))
        place.take_back(chain[0])  # type: ignore[arg-type]
        assert chain[0] not in place.known() and chain[1] in place.known()
        assert place.group(no_bar, again=True).grouping is not None


def test_statistics_follow_the_gallery(run: Path, gallery: Path, tmp_path: Path):
    with Workplace(asked(run, tmp_path, gallery=str(gallery))) as place:
        before = place.stats()
        assert place.stats() is before  # counted once
        place.opened_gallery.delete(place.opened_gallery.ids()[:1])
        assert place.stats()["entries"] == before["entries"] - 1


def test_a_picture_is_shown_only_while_it_is_what_was_indexed(place: Workplace, people: Path, tmp_path: Path):
    from resight.gallery import Entry

    id = place.opened_gallery.ids()[0]
    entry = place.opened_gallery.get([id])[0]
    assert place.pictures.jpeg(id, "small") is not None
    secret, pipe = tmp_path / "secret.jpg", tmp_path / "pipe"
    shutil.copy(min((people / "query").glob("*.jpg")), secret)
    secret.write_bytes(secret.read_bytes() + b"\0")  # an image, but not one that was indexed
    os.mkfifo(pipe)  # reading it would never end
    place.pictures.offer([Entry("a" * 32, secret), Entry("b" * 32, pipe), Entry("c" * 32, Path("/dev/zero"))])
    for name in "abc":
        assert place.pictures.jpeg(name * 32, "small") is None
    place.pictures.offer([])
    assert place.pictures.jpeg(place.pictures.register(secret, own=False), "small") is None
    assert place.pictures.jpeg(place.pictures.register(entry.path, own=False), "small") is not None
    assert place.pictures.jpeg(place.pictures.register(secret, own=True), "small") is not None


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("gate",),
        ("yard, north", "gate"),
        ('the "old" one', "x y"),
        (" a space first", "a space last "),
        ("a\rreturn", "a\nline", "\r\n", "\t"),
        ('"', '",', ' ", "'),
    ],
)
def test_words_with_commas_and_quotes_survive_an_address(words: tuple[str, ...]):
    assert words_of(text_of(words)) == words
    assert (where_of({"source": text_of(words)}).sources or ()) == words


def test_words_are_read_as_a_person_types_them():
    assert words_of('person , vehicle,"yard, north"') == ("person", "vehicle", "yard, north")
    assert words_of('a "b" c, "d') == ('a "b" c', '"d') and words_of('gate\r, "", ,') == ("gate",)
    assert text_of(["1", "2"]) == "1,2"  # an address stays one that a person can read
    where = where_of({"camera": "1, 2", "after": "10", "type": "person"})
    assert (where.camids, where.after, where.types, where.sources) == ((1, 2), 10.0, ("person",), None)


@pytest.mark.parametrize("text", ["north", "1,-2", ",", '""'])
def test_cameras_are_called_as_the_caller_calls_them(text: str):
    with pytest.raises(ConfigError, match="^camera must be numbers of cameras"):
        where_of({"camera": text})
