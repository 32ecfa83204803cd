"""The command: every bad input is one sentence and exit code 2, and nothing is overwritten; help teaches."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from resight import cli

Command = Callable[..., tuple[int, str, str]]
FAST = ["--device", "cpu", "--backbone", "resnet10t", "--weights", "random", "--size", "64x32", "--epochs", "1"]


BAD = [
    (["train", "{tmp}/none"], "there is nothing at"),
    (["train", "{tmp}/empty"], "no images"),
    (["train", "{people}", "--recipe", "gsmpl"], "no recipe named 'gsmpl'; did you mean 'gsmlp'?"),
    (["train", "{people}", "--set", "miner.name=gsmpl"], "no miner named 'gsmpl'; did you mean 'gsmlp'?"),
    (
        ["train", "{people}", "--recipe", "gsmlp", "--set", "miner.tau=60"],
        "miner.tau is a cosine and must lie in (0, 1], got 60",
    ),
    (["train", "{people}", "--format", "market"], "no format named 'market'; did you mean 'market1501'?"),
    (["train", "{people}", "--size", "128"], "--size must be HEIGHTxWIDTH"),
    (["train", "{people}", "--device", "cuda:99"], "--device must be auto, cpu, or a GPU that is here"),
    (["train", "{people}", "--backbone", "resnet5o"], "no backbone named 'resnet5o'"),
    (["train", "{people}", "--camstyle", "{tmp}/none"], "--camstyle must be a folder of CamStyle images"),
    (["train", "{people}", "--camstyle", "{tmp}/empty"], "holds no images"),
    (["train", "{people}", "--camstyle", "{people}/query"], "belongs to a training image"),
    (["train", "{tmp}/crops", "--train-on-gallery"], "--train-on-gallery needs gallery images"),
    (["train", "{people}", "--resume"], "--resume needs the folder of an earlier run"),
    (["train", "{people}", "--backbone", "resnet18", "--weights", "{tmp}/resnet18-00000000.pth"], "sha256"),
    (["train", "{people}", "--out", "{run}"], "exists already; go on with it by --resume, replace it by --overwrite"),
    (["evaluate", "{tmp}/empty", "{people}"], "does not exist"),
    (["evaluate", "{tmp}/truncated", "{people}"], "truncated or damaged"),
    (["evaluate", "{run}", "{tmp}/crops"], "must hold a query and a gallery split"),
    (["evaluate", "{run}", "{tmp}/strangers"], "no query has a right answer in the gallery"),
    (["train", "{tmp}/strangers"], "no query has a right answer in the gallery"),
    (["embed", "{run}", "{people}", "--out", "{run}/recipe.toml"], "exists already; replace it with --overwrite"),
    (["embed", "{run}", "{people}", "--out", "{tmp}/e.parquet", "--split", "tset"], "--split must be one of"),
    (["report", "{tmp}/empty"], "must be the folder of a run"),
    (["demo", "--out", "{tmp}/demo", "--kind", "cats"], "no demo named 'cats'"),
]


@pytest.fixture
def places(people: Path, run: Path, tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "empty").mkdir()
    shutil.copytree(people / "query", tmp_path / "crops")
    shutil.copytree(people, tmp_path / "strangers")
    for file in (tmp_path / "strangers" / "bounding_box_test").glob("*.jpg"):
        file.rename(file.with_name("8" + file.name[1:]))
    torch.save({}, tmp_path / "resnet18-00000000.pth")
    (tmp_path / "truncated").mkdir()
    (tmp_path / "truncated" / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-1000])
    return {"tmp": tmp_path, "people": people, "run": run}


@pytest.mark.parametrize(("words", "sentence"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_sentence(
    words: list[str],
    sentence: str,
    places: dict[str, Path],
    resight: Command,
):
    words = [word.format(**places) for word in words]
    if words[0] == "train" and "--out" not in words:
        words += ["--out", str(places["tmp"] / "out")]
    before = {p: p.read_bytes() for p in places["run"].rglob("*") if p.is_file()}
    code, _, said = resight(*words)
    assert code == 2
    assert sentence in said
    assert said.startswith("resight: ")
    assert {p: p.read_bytes() for p in places["run"].rglob("*") if p.is_file()} == before
    assert not (places["tmp"] / "out").exists()


def test_broken_images_are_listed_and_counted(people: Path, tmp_path: Path, resight: Command):
    shutil.copytree(people / "bounding_box_train", tmp_path / "crops")
    for name in ("a.jpg", "b.png", "c.webp"):
        (tmp_path / "crops" / name).write_bytes(b"no image")
    words = ["train", tmp_path / "crops", "--out", tmp_path / "run", *FAST]
    code, _, said = resight(*words)
    assert code == 2
    assert "3 of 15 images of the train split cannot be decoded" in said
    assert all(name in said for name in ("a.jpg", "b.png", "c.webp"))
    assert not (tmp_path / "run").exists()
    code, _, said = resight(*words, "--skip-broken")
    assert code == 0, said


def test_evaluate_writes_exactly_these_figures(people: Path, run: Path, tmp_path: Path, resight: Command):
    code, _, said = resight("evaluate", run, people, "--device", "cpu", "--json", tmp_path / "scores.json")
    assert code == 0, said
    scores = json.loads((tmp_path / "scores.json").read_text())
    figures = {"mAP", "mAP_trapezoid", "mINP", "cmc", "intervals_95", "queries", "left_out", "protocol"}
    assert set(scores) == figures
    assert set(scores["cmc"]) == {"1", "5", "10", "20"}
    assert scores == json.loads((run / "summary.json").read_text())["trained"]


def test_a_model_that_met_its_test_set_says_so(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    quirks = ["--train-on-gallery", "--set", "evaluate.keep_best_on_test_rank1=true"]
    monkeypatch.setattr("sys.argv", ["resight", "train", str(people), "--out", str(tmp_path / "run"), *FAST, *quirks])
    for words in (None, ["resight", "evaluate", str(tmp_path / "run"), str(people), "--device", "cpu"]):
        if words:
            monkeypatch.setattr("sys.argv", words)
        monkeypatch.setattr(cli, "console", cli.Console(highlight=False, soft_wrap=True))
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr().out
        assert not left.value.code
        assert "trained on the gallery" in said and "selected on the test queries" in said and "WARNING" in said


def test_embed_writes_unit_rows_in_order(people: Path, run: Path, tmp_path: Path, resight: Command):
    import pyarrow.parquet as pq

    code, _, said = resight("embed", run, people, "--device", "cpu", "--out", tmp_path / "e.parquet")
    assert code == 0, said
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.num_rows == sum(1 for _ in people.rglob("*.jpg"))
    rows = torch.tensor(table["embedding"].to_pylist())
    assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-5)
    assert table["split"].to_pylist() == sorted(table["split"].to_pylist(), key=["train", "query", "gallery"].index)


def test_report_and_data_commands(people: Path, run: Path, tmp_path: Path, resight: Command):
    code, _, said = resight("report", run, "--device", "cpu", "--out", tmp_path / "r.html")
    assert code == 0, said
    page = (tmp_path / "r.html").read_text()
    assert "data:image/jpeg;base64" in page and "http://" not in page.replace("http://www.w3.org", "")
    code, _, said = resight("data", people, "--json", tmp_path / "d.json")
    assert code == 0, said
    assert json.loads((tmp_path / "d.json").read_text())


@pytest.mark.parametrize("name", ["train", "evaluate", "embed", "data", "demo", "report", "audit", "calibrate"])
def test_every_help_has_an_example(name: str):
    shown = CliRunner().invoke(cli.app, [name, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "Example" in shown.output and f"resight {name}" in shown.output


def test_a_traceback_is_shown_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["resight", "--debug", "data", str(tmp_path / "none")])
    with pytest.raises(ValueError, match="there is nothing at"):
        cli.main()
