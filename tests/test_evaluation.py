"""`resight evaluate`: every flag, several tests, protocols by name, broken images, and its bad inputs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from resight import cli
from resight.artifacts import load_model
from resight.data.formats import read_dataset
from resight.errors import DataError
from resight.evaluation import EvaluateRequest, run_evaluation
from resight.prepare import kept_images, open_test_images
from resight.scoring import Scoring, score_tests
from resight.types import Dataset, Sample, Split, TestSet


def evaluated(run: Path, data: Path, tmp_path: Path, *flags: str) -> tuple[dict, str]:
    out = tmp_path / "scores.json"
    done = CliRunner().invoke(cli.app, ["evaluate", str(run), str(data), "--json", str(out), "--device", "cpu", *flags])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return json.loads(out.read_text()), done.output


def no_bar(title: str):
    return lambda done, total: None


@pytest.fixture(scope="module")
def sized(people: Path) -> Path:
    """A manifest of the same people with two tests, and tracklets in the gallery."""
    dataset = read_dataset(people)
    lines = ["path,pid,camid,tracklet,split,tests"]
    for split in dataset.splits:
        for i, s in enumerate(split):
            tracklet = f"{s.pid}-{s.camid}" if split.name == "gallery" else ""
            tests = "" if split.name == "train" else "small;large" if i % 2 or split.name == "query" else "large"
            lines.append(f"{s.path.relative_to(people)},{s.pid},{s.camid},{tracklet},{split.name},{tests}")
    file = people / "sized.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_every_flag_gives_its_figures(run: Path, people: Path, tmp_path: Path):
    plain, output = evaluated(run, people, tmp_path)
    assert plain["protocol"] == "market1501"
    assert "mAP by trapezoids" in output
    assert plain["intervals_95"]["mAP"][0] <= plain["mAP"] <= plain["intervals_95"]["mAP"][1]
    more, output = evaluated(run, people, tmp_path, "--camera-pairs", "--single-shot", "7")
    assert {pair["gallery"] for pair in more["camera_pairs"]} <= {1, 2}
    assert "single-shot CMC @1" in output
    assert {key: more[key] for key in plain} == plain
    images = open_test_images(read_dataset(people), (64, 32), tmp_path, skip_broken=False)
    rows = images.embed(load_model(run)[0], precision="float32", device=torch.device("cpu"))
    for flags, scoring in (
        (["--rerank", "--k1", "4", "--k2", "2", "--lambda", "0.5"], Scoring(rerank=True, k1=4, k2=2, lambda_=0.5)),
        (["--query-expansion", "2", "--alpha", "1"], Scoring(expand=2, alpha=1.0)),
    ):
        scores, output = evaluated(run, people, tmp_path, *flags)
        expected = score_tests(rows, images.dataset, scoring=scoring)["test"].to_json()
        assert scores == expected
        assert scores["scoring"]
        assert output.startswith(next(iter(scores["scoring"])))


def test_a_data_set_that_only_looks_like_market1501_is_told_apart(run: Path, people: Path, tmp_path: Path):
    _, output = evaluated(run, people, tmp_path)
    assert "WARNING: this is not the data set as published: train has 12 images" in output.replace("\n", " ")
    _, output = evaluated(run, people, tmp_path, "--protocol", "general")
    assert "WARNING" not in output


def test_all_tests_are_scored_and_the_first_stands_on_top(run: Path, sized: Path, tmp_path: Path):
    scores, output = evaluated(run, sized, tmp_path)
    assert list(scores["tests"]) == ["small", "large"]
    assert {key: value for key, value in scores.items() if key != "tests"} == scores["tests"]["small"]
    assert output.index("small:") < output.index("large:")
    one, _ = evaluated(run, sized, tmp_path, "--tests", "large")
    assert one == scores["tests"]["large"]
    pooled, _ = evaluated(run, sized, tmp_path, "--tests", "large", "--by-tracklet")
    assert pooled["scoring"] == {"tracklets searched as one": True}


def test_answers_too_close_in_time_are_left_out(run: Path, people: Path, tmp_path: Path):
    dataset = read_dataset(people)
    lines = ["path,pid,timestamp,split"]
    for split in (dataset.query, dataset.gallery):
        lines += [f"{s.path},{s.pid},{100 * i},{split.name}" for i, s in enumerate(split)]
    (tmp_path / "timed.csv").write_text("\n".join(lines) + "\n")
    all_of_them, _ = evaluated(run, tmp_path / "timed.csv", tmp_path)
    some, _ = evaluated(run, tmp_path / "timed.csv", tmp_path, "--apart", "50")
    assert some["mAP"] != all_of_them["mAP"]
    untimed = [f"{s.path},{s.pid},,{split.name}" for split in (dataset.query, dataset.gallery) for s in split]
    (tmp_path / "untimed.csv").write_text("\n".join([lines[0], *untimed]) + "\n")
    request = EvaluateRequest(run, tmp_path / "untimed.csv", apart=5.0, device="cpu")
    with pytest.raises(DataError, match="--apart needs times, but none of the 4 query images has one"):
        run_evaluation(request, lambda text: None, no_bar)


def test_queries_that_stand_in_the_gallery_are_embedded_once(run: Path, people: Path, tmp_path: Path):
    dataset = read_dataset(people)
    rows = [f"{s.path},{s.pid},{s.camid},gallery" for s in (*dataset.query, *dataset.gallery)]
    rows += [f"{s.path},{s.pid},{s.camid},query" for s in dataset.query]
    (tmp_path / "both.csv").write_text("\n".join(["path,pid,camid,split", *rows]) + "\n")
    model, recipe = load_model(run)
    size, place = recipe.input.height_width, torch.device("cpu")
    apart, together = (
        open_test_images(data, size, tmp_path, skip_broken=False)
        for data in (dataset, read_dataset(tmp_path / "both.csv"))
    )
    assert together.query_pixels is None
    counted = []
    rows = together.embed(model, precision="float32", device=place, progress=lambda *done: counted.append(done))
    assert counted[-1] == (len(together.gallery), len(together.gallery))
    expected, _ = apart.embed(model, precision="float32", device=place)
    assert torch.allclose(rows[0], expected, atol=1e-5)


def test_broken_images_are_left_out_of_every_test(run: Path, sized: Path, tmp_path: Path):
    shutil.copytree(sized.parent, tmp_path / "copy")
    dataset = read_dataset(tmp_path / "copy" / sized.name)
    dataset.query.samples[0].path.write_bytes(b"no image")
    request = EvaluateRequest(run, tmp_path / "copy" / sized.name, device="cpu", skip_broken=True)
    said: list[str] = []
    results = run_evaluation(request, said.append, no_bar)
    assert [len(result.ap) for result in results.values()] == [3, 3]
    assert said[0] == "1 broken images of query and gallery were left out"


def test_a_test_that_nothing_is_left_of_is_named(run: Path, sized: Path, tmp_path: Path):
    shutil.copytree(sized.parent, tmp_path / "copy")
    lines = sized.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if ",query," in line)
    lines[first] = lines[first].replace("small;large", "odd")
    (tmp_path / "copy" / "odd.csv").write_text("\n".join(lines).replace(",gallery,", ",gallery,odd;") + "\n")
    request = EvaluateRequest(run, tmp_path / "copy" / "odd.csv", device="cpu", skip_broken=True)
    assert "odd" in run_evaluation(request, lambda text: None, no_bar)
    (tmp_path / "copy" / lines[first].split(",")[0]).write_bytes(b"no image")
    with pytest.raises(DataError, match="odd: a test must have query and gallery images, got 0 and"):
        run_evaluation(request, lambda text: None, no_bar)


def test_positions_of_tests_move_up_where_images_are_left_out():
    def named(name: str, *files: str) -> Split:
        return Split(name, tuple(Sample(Path(f), 1, 1) for f in files))

    dataset = Dataset(
        Path("x"), "manifest", Split("train"), named("query", "a", "b", "c"), named("gallery", "d", "e", "f", "g"),
        tests=(TestSet("one", (0, 2), (1, 2)), TestSet("two", (1,), None)),
    )  # fmt: skip
    kept = kept_images(dataset, named("query", "a", "c"), named("gallery", "d", "f", "g"))
    assert kept.tests == (TestSet("one", (0, 1), (1,)), TestSet("two", (), None))
    assert kept_images(dataset, dataset.query, dataset.gallery) is dataset


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--protocol", "vehicleld"], "no protocol named 'vehicleld'; did you mean 'vehicleid'?"),
        (["--tests", "huge"], "--tests must name some of test, got 'huge'"),
        (["--apart", "-1"], "seconds and shots of 0 or more"),
        (["--by-tracklet"], "--by-tracklet needs tracklets"),
        (["--rerank", "--protocol", "vehicleid"], "--rerank needs one gallery"),
        (["--rerank", "--lambda", "1.5"], "1.5"),
    ],
)
def test_bad_flags_are_one_sentence(run: Path, people: Path, flags: list[str], words: str, resight):
    code, _, said = resight("evaluate", run, people, "--device", "cpu", *flags)
    assert code == 2
    assert said.startswith("resight: ")
    assert words in said
