"""What `resight index`, `resight search` and `resight gallery …` refuse, each in one sentence and before any work."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gallery_runs import one_of, other_model
from resight.gallery import Gallery
from resight.gallery import index as index_module

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["search", "RUN", "QUERY", "--gallery", "none"], "there is no gallery at none; make one with resight index"),
        (["search", "RUN", "none.jpg", "--gallery", "G"], "none.jpg is not there; give an image, a folder"),
        (["search", "RUN", "QUERY", "--gallery", "G", "--camera", "x"], "--camera must be numbers of cameras"),
        (["search", "RUN", "QUERY", "--gallery", "G", "--after", "soon"], "--after must be a number or a time"),
        (["search", "RUN", "QUERY", "--gallery", "G", "--type", ","], "must name at least one word"),
        (["search", "RUN", "QUERY", "--gallery", "G", "--out", "r.txt"], "--out must end in .csv or .parquet"),
        (["search", "RUN", "QUERY", "--gallery", "G", "--false-match-rate", "0.01"], "needs a calibration, and"),
        (["search", "RUN", "QUERY", "--gallery", "G", "--threshold", "2"], "--threshold must be a cosine"),
        (["gallery", "delete", "G"], "gallery delete must be told which entries go"),
        (["gallery", "stats", "RUN"], "is no gallery of resight"),
        (["gallery", "import", "G", "QUERY"], "cannot be read as Parquet"),
        (["index", "RUN", "DATA", "--gallery", "http://127.0.0.1:9"], "no Milvus server answers at"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    resight: Command, model: Path, gallery: Path, people: Path, crops: Path, words: list[str], sentence: str
):
    given = {"RUN": model, "G": gallery, "QUERY": one_of(crops), "DATA": people}
    code, _, wrong = resight(*(given.get(word, word) for word in words))
    assert code == 2 and sentence in wrong and len(wrong.strip().splitlines()) == 1


def never(*words: object) -> None:
    raise AssertionError("work was begun")


def test_what_keeps_the_gallery_from_being_used_is_told_before_any_image_is_read(
    resight: Command, model: Path, gallery: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(index_module, "read_dataset", never)
    (tmp_path / "file").write_text("")
    words = ("index", model, people, "--gallery")
    with Gallery.open(gallery):
        assert "is in use, by another process or by this one" in resight(*words, gallery)[2]
    for place, sentence in (
        (people, "is no gallery of resight"),
        ("http://127.0.0.1:9", "no Milvus server answers at"),
        (tmp_path / "file" / "g", "cannot be made, as .*file is no folder that may be written"),
    ):
        code, _, wrong = resight(*words, place)
        assert code == 2 and re.search(sentence, wrong) and len(wrong.strip().splitlines()) == 1
    assert "no backend named 'trch'; did you mean 'torch'" in resight(*words, gallery, "--backend", "trch")[2]
    assert "--json must be in a folder that is there" in resight(*words, gallery, "--json", tmp_path / "none/j")[2]


def test_nothing_is_made_where_there_is_nothing_to_add(resight: Command, model: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert resight("index", model, tmp_path / "empty", "--gallery", tmp_path / "new" / "g")[0] == 2
    assert not (tmp_path / "new").exists()


def test_what_a_search_would_write_is_looked_at_first(
    resight: Command, model: Path, gallery: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ("search", model, one_of(crops), "--gallery", gallery)
    with monkeypatch.context() as patch:
        patch.setattr("resight.gallery.searching.run_search", never)
        for flag, name in (("--out", "r.csv"), ("--html", "r.html"), ("--json", "r.json")):
            (tmp_path / name).write_text("old")
            code, _, wrong = resight(*words, flag, tmp_path / name)
            assert code == 2 and f"{name} exists already; replace it with --overwrite" in wrong
            code, _, wrong = resight(*words, flag, tmp_path / "none" / name)
            assert code == 2 and f"{flag} must be in a folder that is there" in wrong
            assert (tmp_path / name).read_text() == "old"
    assert resight(*words, "--out", tmp_path / "r.csv", "--overwrite")[0] == 0
    assert (tmp_path / "r.csv").read_text().startswith("query,rank,")


def test_a_name_that_is_no_text_is_told_at_once(
    resight: Command, model: Path, gallery: Path, crops: Path, tmp_path: Path
):
    (tmp_path / "odd").mkdir()
    odd = tmp_path / "odd" / os.fsdecode(b"caf\xe9.jpg")
    shutil.copy(one_of(crops), odd)
    for words in (("index", model, odd.parent), ("search", model, odd, "--out", tmp_path / "r.parquet"),
                  ("search", model, odd.parent)):  # fmt: skip
        code, _, wrong = resight(*words, "--gallery", gallery)
        assert code == 2 and "a file's name must be text that UTF-8 can hold" in wrong and "caf\\udce9.jpg" in wrong


def test_another_models_gallery_is_refused(resight: Command, model: Path, gallery: Path, people: Path, crops: Path):
    other_model(model)
    for words in (("search", model, one_of(crops)), ("index", model, people)):
        code, _, wrong = resight(*words, "--gallery", gallery)
        assert code == 2 and "holds embeddings of another model" in wrong and len(wrong.strip().splitlines()) == 1
