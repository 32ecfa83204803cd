"""`resight index`, `resight search` and `resight gallery …` as a user meets them."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from resight.artifacts import load_model, save_model
from resight.calibrate import Calibration, Curve, fingerprint, save_calibration
from resight.gallery import Gallery, Hit
from resight.gallery import index as index_module
from resight.gallery.entries import Entry
from resight.gallery.searching import Judge

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(run: Path, tmp_path: Path) -> Path:
    """A run folder of its own."""
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def crops(people: Path) -> Path:
    return people / "bounding_box_train"


@pytest.fixture
def gallery(resight: Command, model: Path, people: Path, tmp_path: Path) -> Path:
    """A gallery of all images of the drawn people."""
    code, _, wrong = resight("index", model, people, "--gallery", tmp_path / "g", "--type", "person")
    assert (code, wrong) == (0, "")
    return tmp_path / "g"


def calibrated(model: Path, threshold: float) -> Path:
    """Give the run a calibration with this threshold."""
    digest = fingerprint(model)
    save_calibration(model, Calibration(threshold, 1e-3, -2.0, 3.0, 0.1, "answers", 60, digest, trust="somewhat"))
    return model


def one_of(folder: Path) -> Path:
    return sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))[0]


def test_what_is_there_is_not_decoded_again(
    resight: Command, model: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    each = index_module.each_decoded
    monkeypatch.setattr(index_module, "each_decoded", lambda files, use: seen.append(len(files)) or each(files, use))
    some = tmp_path / "some"
    some.mkdir()
    files = sorted(crops.iterdir())
    for file in files[:5]:
        shutil.copy(file, some)
    words = ("index", model, some, "--gallery", tmp_path / "g", "--batch-size", 2, "--json", tmp_path / "f.json")
    code, said, wrong = resight(*words)
    assert (code, wrong) == (0, "") and "added 5 of 5 images" in said
    for file in files[3:8]:
        shutil.copy(file, some / f"again-{file.name}")
    assert resight(*words)[0] == 0
    assert json.loads((tmp_path / "f.json").read_text()) == {
        "images": 10, "new": 3, "known": 7, "broken": 0, "entries": 8
    }  # fmt: skip
    assert seen == [5, 3]


def test_an_indexed_image_has_the_embedding_of_resight_embed(
    resight: Command, model: Path, people: Path, gallery: Path, tmp_path: Path
):
    assert resight("embed", model, people, "--out", tmp_path / "e.parquet")[0] == 0
    table = pq.read_table(tmp_path / "e.parquet").to_pylist()
    expected = {Path(row["path"]).resolve(): row for row in table}
    with Gallery.open(gallery, fingerprint(model)) as opened:
        ((entries, rows),) = opened.blocks()
        assert opened.about["backbone"] == "resnet10t" and opened.about["input"] == [64, 32]
    assert len(entries) == len({entry.path for entry in entries}) == len(expected)
    for entry, row in zip(entries, rows, strict=True):
        known = expected[entry.path.resolve()]
        assert torch.allclose(row, torch.tensor(known["embedding"]), atol=1e-5)
        assert entry.camid == known["camid"] and entry.type == "person" and entry.source == people.name


def test_broken_images_do_not_keep_the_others_out(resight: Command, model: Path, crops: Path, tmp_path: Path):
    some = tmp_path / "some"
    shutil.copytree(crops, some)
    (some / "a.jpg").write_text("none")
    words = ("index", model, some, "--format", "folder", "--gallery", tmp_path / "g")
    code, said, wrong = resight(*words)
    assert code == 2 and "added 12 of 13 images" in said
    assert (
        "1 of 13 images cannot be decoded, the others are in the gallery" in wrong and "a.jpg: it is no image" in wrong
    )
    code, said, wrong = resight(*words, "--skip-broken")
    assert (code, wrong) == (0, "") and "added 0 of 13 images" in said and "1 are broken" in said


def test_without_a_calibration_nothing_is_called_a_match(
    resight: Command, model: Path, gallery: Path, crops: Path, tmp_path: Path
):
    query = one_of(crops)
    files = {name: tmp_path / name for name in ("r.csv", "r.parquet", "p.html", "r.json")}
    code, said, wrong = resight("search", model, query, "--gallery", gallery, "--top", 4, "--out", files["r.csv"],
                                "--html", files["p.html"], "--json", files["r.json"])  # fmt: skip
    assert (code, wrong) == (0, "")
    assert "has no calibration" in said and "the first 4" in said and "no match (" not in said and "1.000" in said
    found = json.loads(files["r.json"].read_text())
    assert found["threshold"] is None and found["queries"][0]["match"] is None
    hits = found["queries"][0]["hits"]
    assert (
        len(hits) == 4 and Path(hits[0]["path"]).resolve() == query.resolve() and hits[0]["score"] == pytest.approx(1)
    )
    assert all(hit["probability"] is None and "pid" not in hit for hit in hits)
    with files["r.csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"] and rows[0]["query"] == str(query)
    page = files["p.html"].read_text()
    assert page.count("data:image/jpeg;base64,") == 5 and "http" not in page.replace("http://www.w3.org", "")
    assert resight("search", model, query, "--gallery", gallery, "--top", 4, "--out", files["r.parquet"])[0] == 0
    assert [row["path"] for row in pq.read_table(files["r.parquet"]).to_pylist()] == [row["path"] for row in rows]


def test_no_match_is_an_answer(resight: Command, model: Path, gallery: Path, crops: Path, tmp_path: Path):
    words = ("search", calibrated(model, 0.9999), one_of(crops), "--gallery", gallery, "--json", tmp_path / "r.json")
    code, said, _ = resight(*words)
    assert (
        code == 0
        and "1 match among the first 10" in said
        and "below" in said
        and "how far to trust it: somewhat" in said
    )
    code, said, _ = resight(*words, "--others")
    found = json.loads((tmp_path / "r.json").read_text())
    assert code == 0 and "no match (the best of all scores" in said
    assert found["queries"][0]["match"] is False and found["false_match_rate"] == 1e-3
    hits = found["queries"][0]["hits"]
    assert len(hits) == 10 and not any(hit["same"] for hit in hits) and all(0 < hit["probability"] < 1 for hit in hits)
    assert resight(*words, "--others", "--threshold", "-1")[0] == 0
    assert json.loads((tmp_path / "r.json").read_text())["queries"][0]["match"] is True


def test_filters_and_a_folder_of_queries(resight: Command, model: Path, gallery: Path, crops: Path, tmp_path: Path):
    words = ("search", model, crops, "--format", "folder", "--gallery", gallery, "--json", tmp_path / "r.json")
    assert resight(*words, "--camera", "1", "--type", "person,dog", "--top", 50)[0] == 0
    found = json.loads((tmp_path / "r.json").read_text())["queries"]
    assert len(found) == 12
    with Gallery.open(gallery) as opened:
        cameras = opened.stats()["cameras"]
    assert {len(query["hits"]) for query in found} == {cameras["1"]}
    assert {hit["camid"] for query in found for hit in query["hits"]} == {1}
    code, said, _ = resight(*words, "--after", "2024-05-01")  # no time is known of any
    assert code == 0 and said.count("nothing in the gallery meets the conditions") == 12


def test_embeddings_as_queries(resight: Command, model: Path, gallery: Path, people: Path, tmp_path: Path):
    with Gallery.open(gallery) as opened:
        ids = opened.ids()
        rows = opened.vectors(ids)
        opened.export_parquet(tmp_path / "e.parquet")
    np.save(tmp_path / "rows.npy", 3 * rows.numpy())
    for name in ("rows.npy", "e.parquet"):
        words = (tmp_path / name, "--gallery", gallery, "--top", 1, "--json", tmp_path / "r.json")
        assert resight("search", model, *words)[0] == 0
        found = json.loads((tmp_path / "r.json").read_text())["queries"]
        assert [query["hits"][0]["id"] for query in found] == ids


def test_the_gallery_commands(resight: Command, gallery: Path, tmp_path: Path):
    code, said, _ = resight("gallery", "stats", gallery, "--json", tmp_path / "s.json")
    total = json.loads((tmp_path / "s.json").read_text())["entries"]
    assert code == 0 and f"{total} entries of 512 dimensions" in said and "types: person" in said
    out = tmp_path / "g.parquet"
    assert f"wrote {total} entries" in resight("gallery", "export", gallery, out)[1]
    assert "exists already" in resight("gallery", "export", gallery, out)[2]
    assert resight("gallery", "export", gallery, out, "--overwrite")[0] == 0
    _, said, _ = resight("gallery", "delete", gallery, "--camera", "1", "--dry-run")
    gone = int(said.split()[0])
    assert 0 < gone < total and "would be deleted" in said
    assert f"deleted {gone} entries; {total - gone} left" in resight("gallery", "delete", gallery, "--camera", "1")[1]
    assert "MB before" in resight("gallery", "compact", gallery)[1]
    assert f"added {gone} entries" in resight("gallery", "import", gallery, out)[1]
    assert f"added {total} entries" in resight("gallery", "import", tmp_path / "new", out)[1]


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


def test_a_rate_that_the_run_is_not_calibrated_at(resight: Command, model: Path, gallery: Path, crops: Path):
    words = ("search", calibrated(model, 0.5), one_of(crops), "--gallery", gallery, "--false-match-rate")
    code, _, wrong = resight(*words, "0.01")
    assert code == 2 and "is calibrated at 0.001, not 0.01; run: resight calibrate" in wrong
    assert resight(*words, "1e-3")[0] == 0
    assert "exclude each other" in resight(*words, "1e-3", "--threshold", "0.5")[2]


def test_another_models_gallery_is_refused(resight: Command, model: Path, gallery: Path, people: Path, crops: Path):
    network, recipe = load_model(model)
    with torch.no_grad():
        next(network.parameters()).add_(0.1)
    save_model(model / "model.safetensors", network, recipe, "float32")
    for words in (("search", model, one_of(crops)), ("index", model, people)):
        code, _, wrong = resight(*words, "--gallery", gallery)
        assert code == 2 and "holds embeddings of another model" in wrong and len(wrong.strip().splitlines()) == 1


def test_a_calibration_that_knows_cameras_judges_by_them():
    across, within = (Curve(at, -2.0, 3.0, 0.1) for at in (0.3, 0.8))
    known = Calibration(0.5, 1e-3, -2.0, 3.0, 0.1, "answers", 9, "f", across, within)
    hits = [Hit(Entry(str(n), Path("/x"), camid=camid), 0.6) for n, camid in enumerate((1, 2, None))]
    assert [hit.same for hit in Judge(known).judge(1, hits)] == [False, True, True]
    assert [hit.same for hit in Judge(known).judge(None, hits)] == [True, True, True]
    assert [hit.same for hit in Judge(known, 0.7).judge(1, hits)] == [False] * 3
    assert Judge(known).judge(1, []) == []
