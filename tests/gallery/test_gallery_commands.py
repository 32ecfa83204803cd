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

from gallery_runs import calibrated, one_of, other_model
from resight.calibrate import fingerprint
from resight.data import decoded as decoded_module
from resight.gallery import Gallery
from resight.gallery import index as index_module

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

Command = Callable[..., tuple[int, str, str]]


def test_what_is_there_is_not_decoded_again(
    resight: Command, model: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    each = decoded_module.each_decoded
    monkeypatch.setattr(decoded_module, "each_decoded", lambda files, use: seen.append(len(files)) or each(files, use))
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
    assert seen == [2, 2, 1, 2, 1]


def test_an_indexed_image_has_the_embedding_of_resight_embed(
    resight: Command, model: Path, people: Path, gallery: Path, tmp_path: Path
):
    assert resight("embed", model, people, "--out", tmp_path / "e.parquet")[0] == 0
    table = pq.read_table(tmp_path / "e.parquet").to_pylist()
    expected = {Path(row["path"]).resolve(): row for row in table}
    with Gallery.open(gallery, fingerprint(model)) as opened:
        ((entries, rows),) = opened.blocks()
        assert opened.about["backbone"] == "resnet10t" and opened.about["input"] == [64, 32]
        assert opened.about["backend"] == "torch float32"
    assert len(entries) == len({entry.path for entry in entries}) == len(expected)
    for entry, row in zip(entries, rows, strict=True):
        known = expected[entry.path.resolve()]
        assert torch.allclose(row, torch.tensor(known["embedding"]), atol=1e-5)
        assert entry.camid == known["camid"] and entry.type == "person" and entry.source == people.name


def test_a_gallery_says_what_embedded_the_images_it_was_made_with(
    resight: Command, model: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[int] = []
    real = index_module.open_backend

    def renamed(*words, **how):  # type: ignore[no-untyped-def]
        opened.append(len(how["ahead"]))
        embedder = real(*words, **how)
        embedder.name = f"backend {len(opened)}"
        return embedder

    monkeypatch.setattr(index_module, "open_backend", renamed)
    some = tmp_path / "some"
    some.mkdir()
    for number, file in enumerate(sorted(crops.iterdir())[:4]):
        shutil.copy(file, some)
        if number in (1, 3):
            assert resight("index", model, some, "--gallery", tmp_path / "g")[0] == 0
    assert opened == [2, 2]  # each time once, for what is new
    assert "backend 1" in resight("gallery", "stats", tmp_path / "g")[1]


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
    words = ("search", calibrated(model, 0.9999), one_of(crops), "--gallery", gallery, "--json", tmp_path / "r.json",
             "--overwrite")  # fmt: skip
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
    words = ("search", model, crops, "--format", "folder", "--gallery", gallery, "--json", tmp_path / "r.json",
             "--overwrite")  # fmt: skip
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
        words = (tmp_path / name, "--gallery", gallery, "--top", 1, "--json", tmp_path / "r.json", "--overwrite")
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


def test_a_rate_that_the_run_is_not_calibrated_at(
    resight: Command, model: Path, gallery: Path, crops: Path, tmp_path: Path
):
    words = ("search", calibrated(model, 0.5), one_of(crops), "--gallery", gallery, "--false-match-rate")
    code, _, wrong = resight(*words, "1e-6")
    assert code == 2 and "--false-match-rate 1e-06 is below what" in wrong  # so few images cannot tell of it
    code, said, _ = resight(*words, "0.7", "--json", tmp_path / "r.json")
    assert code == 0 and "0.7 of all different pairs reach it" in said
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["false_match_rate"] == 0.7 and found["threshold"]["across"] == found["threshold"]["within"] != 0.5
    assert resight(*words, "1e-3")[0] == 0
    assert "exclude each other" in resight(*words, "1e-3", "--threshold", "0.5")[2]


def test_a_table_of_embeddings_is_checked_searched_with_and_taken_in(
    resight: Command, model: Path, gallery: Path, people: Path, tmp_path: Path
):
    table = tmp_path / "e.parquet"
    assert resight("embed", model, people, "--out", table)[0] == 0
    words = ("search", model, table, "--gallery", gallery, "--top", 1, "--json", tmp_path / "r.json", "--overwrite")
    assert resight(*words)[0] == 0
    found = json.loads((tmp_path / "r.json").read_text())["queries"]
    names = [Path(query["query"]).name for query in found]
    assert [Path(query["hits"][0]["path"]).name for query in found] == names and len(set(names)) == len(names)
    assert resight(*words, "--others")[0] == 0  # the table has the digests of contents
    found = json.loads((tmp_path / "r.json").read_text())["queries"]
    assert not any(Path(query["hits"][0]["path"]).name == name for query, name in zip(found, names, strict=True))
    plain = pq.read_table(table)
    pq.write_table(plain.replace_schema_metadata(None).drop_columns(["id"]), tmp_path / "plain.parquet")
    code, said, _ = resight("search", model, tmp_path / "plain.parquet", "--gallery", gallery)
    assert code == 0 and "plain.parquet does not say which model its embeddings are of" in said
    code, _, wrong = resight("search", model, tmp_path / "plain.parquet", "--gallery", gallery, "--others")
    assert code == 2 and "--others needs to know the queries' own pictures" in wrong
    code, said, _ = resight("gallery", "import", tmp_path / "new", table, "--type", "person")
    assert code == 0 and f"added {len(plain)} entries" in said
    with Gallery.open(tmp_path / "new") as made, Gallery.open(gallery) as indexed:
        assert made.ids() == indexed.ids() and made.stats()["types"] == {"person": len(plain)}
        assert made.stats()["sources"] == {"e": len(plain)}
        assert [e.path for e in made.get(made.ids())] == [e.path for e in indexed.get(made.ids())]
        assert torch.allclose(made.vectors(made.ids()), indexed.vectors(made.ids()), atol=1e-5)
    other_model(model)
    code, _, wrong = resight(*words)
    assert code == 2 and "holds embeddings of another model" in wrong


def test_a_path_to_delete_is_read_as_it_was_stored(
    resight: Command, gallery: Path, crops: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(crops.parent / "query")
    code, said, _ = resight("gallery", "delete", gallery, "--path", Path("..") / crops.name / one_of(crops).name)
    assert code == 0 and said.startswith("deleted 1 entries")
