"""Labels of all images at once, and what a batch is compared with."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from resight.building import look
from resight.by_camera import standardise_by_camera
from resight.cluster_constraints import keep_tracklets
from resight.comparison import mix_weights
from resight.constraints import find_constraints
from resight.data.formats import read_dataset
from resight.errors import CheckpointError, ConfigError
from resight.mining import groups_of, joined
from resight.nearness import Near
from resight.prepare import open_split
from resight.recipes import load_recipe
from resight.report.page import write_report
from resight.run import TrainRequest, run_training
from resight.runlog import read_events
from resight.schedules import options_at
from resight.storage import DiskRows, Rows
from resight.types import SparsePositives, UnlabelledImages
from small_runs import equal, weights, write_people

TINY = (
    "backbone.name=resnet10t",
    "backbone.weights=random",
    "input.size=[64, 32]",
    "train.batch_size=8",
    "train.precision=float32",
    "train.epochs=3",
    "evaluate.every=1",
    "trust.every=1",
)


def quiet(_: str) -> None:
    pass


def train(data: Path, out: Path, *overrides: str, recipe: str = "auto", **flags: Any) -> dict[str, Any]:
    request = TrainRequest(data=data, recipe=recipe, out=out, overrides=(*TINY, *overrides), device="cpu", **flags)
    return run_training(request, say=quiet)


def epochs(out: Path) -> list[dict[str, Any]]:
    return [event for event in read_events(out / "log.jsonl") if event["event"] == "epoch"]


def test_mutual_positives_form_groups():
    # 0 and 1 have each other, 2 has 1 but 1 not 2, 3 and 4 have each other through nobody else, 5 is alone.
    rows = [[0, 1], [0, 1], [1, 2], [3, 4], [3, 4], [5]]
    marks = torch.zeros(6, 6, dtype=torch.bool)
    for row, columns in enumerate(rows):
        marks[row, columns] = True
    assert groups_of(SparsePositives.from_blocks([marks])).tolist() == [0, 0, -1, 1, 1, -1]


def test_groups_do_not_join_what_is_kept_apart():
    # 0 and 1, 1 and 2 have each other; 0 and 2 were seen at one moment by one camera. 2 has no other tie and leaves.
    marks = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]], dtype=torch.bool)
    images = UnlabelledImages((Path("a"),) * 4, (0,) * 4, (-1,) * 4, (5.0, 6.0, 5.0, 7.0))
    known = find_constraints(images, tracklets=True, same_time=True)
    assert groups_of(SparsePositives.from_blocks([marks]), known).tolist() == [0, 0, -1, 0]


def test_a_tracklet_stays_whole_whatever_leaves():
    images = UnlabelledImages((Path("a"),) * 6, (0,) * 6, (4, 4, 4, -1, -1, -1), (math.nan,) * 6)
    known = find_constraints(images, tracklets=True, same_time=False)
    assert keep_tracklets(torch.tensor([0, -1, 0, 0, 1, 1]), known).tolist() == [0, 0, 0, 0, 1, 1]
    assert keep_tracklets(torch.tensor([-1, -1, -1, 0, 0, -1]), known).tolist() == [0, 0, 0, 1, 1, -1]


def test_rows_beside_each_other_count_by_their_weights():
    rows, layer = Rows(torch.tensor([[1.0, 0.0], [0.0, 0.0]])), Rows(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    both = joined(rows, [(layer, 3.0)]).data
    # lengths² 1 and 3: (1, 0, 0, √3, 0) / 2; a row that is not yet written stays zero
    assert torch.allclose(both, torch.tensor([[0.5, 0, 0, 0.75**0.5, 0], [0, 0, 0, 0, 0]]))


def test_kinds_of_rows_have_weights_of_their_own():
    rows, first, second = (Rows(torch.tensor([[value]])) for value in (2.0, 1.0, -1.0))
    both = joined(rows, [(first, 4.0), (second, 9.0)]).data
    assert torch.allclose(both, torch.tensor([[2.0, 2.0, -3.0]]) / 17**0.5)


def test_joined_rows_on_disk_are_those_in_ram(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    rows = [torch.nn.functional.normalize(torch.randn(30, d, generator=generator), dim=1) for d in (8, 5)]
    in_ram = joined(Rows(rows[0]), [(Rows(rows[1]), 0.7)])
    stores = []
    for part in rows:
        stores.append(DiskRows(tmp_path, *part.shape))
        stores[-1].write(torch.arange(30), part)
    assert torch.equal(joined(stores[0], [(stores[1], 0.7)]).data, in_ram.data)


def test_in_place_standardising_is_that_into_another_store():
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(30, 8, generator=generator), dim=1)
    camids = torch.arange(30) % 3
    apart, own = Rows(torch.empty(30, 8)), Rows(rows.clone())
    standardise_by_camera(Rows(rows), camids, apart)
    standardise_by_camera(own, camids, own)
    assert torch.equal(apart.data, own.data)


def test_options_lie_between_their_ends():
    assert options_at({"eps": (0.8, 0.9), "k1": 5}, 0.5) == {"eps": pytest.approx(0.85), "k1": 5}
    assert options_at({"eps": (0.8, 0.9)}, 1.0) == {"eps": pytest.approx(0.9)}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("miner.eps=[0.1, 0.2, 0.3]", r"miner.eps must be one value or \[first, last\]"),
        ("miner.eps=[0.8, 1.5]", "eps of clustering"),
        ("miner.stripes=[1]", "miner.stripes must be two weights"),
        ("miner.colours=[1]", "miner.colours must be two weights"),
        ("miner.times=[1]", "miner.times must be two weights"),
        ("miner.times_within=[60, 0]", "miner.times_within must be widths above 0"),
        ("miner.times_within=[true]", "miner.times_within must be widths above 0"),
        ("miner.times_within=soon", "miner.times_within"),
        ("miner.schedule=batch", "needs miner.schedule"),
        ("memory.rows=instance", "train.per_identity = 4 needs memory.rows"),
        ('miner.stripes=["a", 1]', "miner.stripes must be of the kind of its default 0.0, got 'a'"),
        ('train.decay_at=["a"]', "train.decay_at must be of the kind of its default 40, got 'a'"),
        ("miner.refine=rank", "miner.refine must be one of none, ranks, adjacency"),
        ("miner.algorithm=mean", "no clustering algorithm named 'mean'"),
        ("memory.outliers=gone", "memory.outliers must be one of own, dropped"),
    ],
)
def test_settings_that_do_not_go_are_refused(override: str, words: str):
    with pytest.raises(ConfigError, match=words):
        load_recipe("auto", overrides=[override])


WEIGHED = ("miner.refine=ranks", "miner.refine_how=weigh", "memory.rows=instance", "train.per_identity=0")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((*WEIGHED, "loss.name=smlc"), 'miner.refine_how = "weigh" weighs rows of clusters and needs memory.rows'),
        (("memory.rows=cluster",), 'loss.name = "camera" tells rows of cameras apart and needs memory.rows = "camera"'),
        (("miner.precision=bfloat16", "miner.across_cameras=true"), "looks for neighbours of each camera in float32"),
    ],
)
def test_a_new_run_refuses_settings_without_effect(
    people: Path, tmp_path: Path, overrides: tuple[str, ...], words: str
):
    load_recipe("auto", overrides=overrides)  # a model that was trained so can still be opened
    with pytest.raises(ConfigError, match=words):
        train(people, tmp_path / "run", *overrides)
    assert not (tmp_path / "run").exists()


def test_clusters_are_the_same_from_lists_looked_for_in_bfloat16(people: Path, tmp_path: Path):
    for precision in ("float32", "bfloat16"):
        settings = ("miner.across_cameras=false", f"miner.precision={precision}", "train.epochs=2")
        train(people, tmp_path / precision, *settings)
    assert equal(weights(tmp_path / "float32"), weights(tmp_path / "bfloat16"))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("data.use_cameras=false",),
        ("miner.algorithm=dbscan", "miner.once_per_camera=false", "miner.eps=0.6", "memory.outliers=dropped"),
        ("miner.name=gsmlp", "miner.schedule=epoch", "miner.tau=0.3", "miner.min_candidates=3"),
        ("memory.rows=cluster", "loss.name=infonce", "memory.proxy_update=hard", "memory.instance_share=0.3"),
        ("memory.rows=instance", "loss.name=smlc", "train.per_identity=0"),
        ("miner.refine=ranks", "miner.refine_how=weigh", "memory.damping=0.5", "train.average=0.9"),
        ("miner.refine=adjacency", "miner.refine_how=split"),
    ],
    ids=lambda overrides: " ".join(overrides) or "plain",
)
def test_parts_compose(people: Path, tmp_path: Path, overrides: tuple[str, ...]):
    summary = train(people, tmp_path / "run", "train.epochs=2", *overrides)
    assert summary["epochs"] == 2
    assert all(torch.isfinite(t).all() for t in weights(tmp_path / "run").values())
    grouped = "memory.rows=instance" not in overrides
    assert all(("clusters" in epoch) == grouped or "loss.name=smlc" in overrides for epoch in epochs(tmp_path / "run"))


def test_what_was_picked_is_written_and_said(people: Path, tmp_path: Path):
    said: list[str] = []
    request = TrainRequest(data=people, recipe="auto", out=tmp_path / "run", overrides=(*TINY, "miner.k2=3"))
    run_training(request, say=said.append)
    start = next(event for event in read_events(tmp_path / "run" / "log.jsonl") if event["event"] == "start")
    assert start["choices"] and all(f"picked {choice}" in said for choice in start["choices"])
    assert not any("miner.k2" in choice for choice in start["choices"])
    written = load_recipe(str(tmp_path / "run" / "recipe.toml")).miner.options
    assert written["k2"] == 3
    assert any(choice.startswith(f"miner.k1={written['k1']} ") for choice in start["choices"])


def test_a_run_is_repeated_from_its_own_recipe(people: Path, tmp_path: Path):
    train(people, tmp_path / "one", "train.epochs=1", "miner.k1=4", "miner.k2=3")
    request = TrainRequest(
        data=people, recipe=str(tmp_path / "one" / "recipe.toml"), out=tmp_path / "two", device="cpu"
    )
    run_training(request, say=quiet)
    first, second = (load_recipe(str(tmp_path / name / "recipe.toml")) for name in ("one", "two"))
    assert first.miner == second.miner
    assert first.train == second.train
    assert equal(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_a_resumed_run_is_the_whole_run(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = ("train.average=0.8", "memory.damping=0.3", "miner.times=[1, 0.5]", "miner.times_within=[5, 50]")
    train(people, tmp_path / "whole", *settings)
    from resight import course

    kept = course.save_checkpoint

    def killed(folder: Path, epoch: int, *state: Any, **more: Any) -> Path:
        path = kept(folder, epoch, *state, **more)
        if epoch == 2:
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(course, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        train(people, tmp_path / "cut", *settings)
    monkeypatch.setattr(course, "save_checkpoint", kept)
    request = TrainRequest(data=people, recipe="auto", out=tmp_path / "cut", device="cpu", resume=True)
    run_training(request, say=quiet)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert epochs(tmp_path / "whole")[-1]["loss"] == epochs(tmp_path / "cut")[-1]["loss"]


def test_labels_do_not_reach_training(tmp_path: Path):
    """The same images under other identities give the same model."""
    one = write_people(tmp_path / "one")
    two = write_people(tmp_path / "two")
    names = sorted((two / "bounding_box_train").iterdir())
    for number, path in enumerate(names):  # every image becomes an identity of its own, in the same order
        path.rename(path.with_name(f"{1000 + number:04d}{path.name[4:]}"))
    for data in (one, two):
        train(data, tmp_path / f"run-{data.name}", allow_leak=True)
    assert equal(weights(tmp_path / "run-one"), weights(tmp_path / "run-two"))


def test_the_average_moves_by_its_share():
    one, two = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(two.weight, 3.0)
    two.running_mean.fill_(5.0)
    mix_weights(one, two, keep=0.75)
    assert one.weight.tolist() == [1.5, 1.5]  # 0.75 · 1 + 0.25 · 3
    assert one.running_mean.tolist() == [5.0, 5.0]


def test_the_estimate_without_labels_is_logged(people: Path, tmp_path: Path):
    train(people, tmp_path / "run")
    found = [event for event in read_events(tmp_path / "run" / "log.jsonl") if event["event"] == "trust"]
    assert [event["epoch"] for event in found] == [0, 1, 2, 3]
    assert all(0 <= event["estimate"] <= 1 for event in found)
    assert "labels_kept" in found[-1]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["estimate_without_labels"] == {"epoch": 3, "estimate": found[-1]["estimate"]}
    assert summary["picked"]
    write_report(tmp_path / "run", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Quality estimated without labels" in page
    assert "miner.k1=" in page


NEAR = ("miner.times=[100, 100]", "miner.times_within=[50]", "miner.across_cameras=false", "miner.k1=3", "miner.k2=1")


def timed(people: Path, out: Path, *, later: int = 0) -> Path:
    """Describe the training images, four within ten seconds; `later`: by how many images times are shifted."""
    samples = read_dataset(people).train.samples
    lines = [
        f"{sample.path},{sample.camid},{1000 * ((number + later) // 4 % 3) + number % 10},{sample.pid}"
        for number, sample in enumerate(samples)
    ]
    out.write_text("\n".join(["path,camid,timestamp,pid", *lines]))
    return out


@pytest.mark.parametrize(("later", "right"), [(0, 1.0), (2, 1 / 3)])
def test_labels_follow_nearness_in_time(people: Path, tmp_path: Path, later: int, right: float):
    """Whoever is there: of the six pairs among two images of one person and two of another, two are right."""
    data = timed(people, tmp_path / "timed.csv", later=later)
    train(data, tmp_path / "run", *NEAR, "train.epochs=1", "trust.every=0", "train.per_identity=4")
    [epoch] = epochs(tmp_path / "run")
    assert (epoch["clusters"], epoch["outliers"], epoch["largest_cluster"]) == (3, 0, 4)
    assert epoch["precision"] == pytest.approx(right, abs=1e-4)


def test_times_are_kept_on_disk_as_in_memory(people: Path, tmp_path: Path):
    for place in ("ram", "disk"):
        train(people, tmp_path / place, *NEAR, memory=place)
    assert equal(weights(tmp_path / "ram"), weights(tmp_path / "disk"))


def test_a_run_is_not_resumed_with_other_times(people: Path, tmp_path: Path):
    data = timed(people, tmp_path / "timed.csv")
    train(data, tmp_path / "run", *NEAR, "train.epochs=1")
    timed(people, data, later=2)
    request = TrainRequest(data=data, recipe="auto", out=tmp_path / "run", device="cpu", resume=True)
    with pytest.raises(CheckpointError, match="was trained with other timestamps"):
        run_training(request, say=quiet)


@pytest.mark.parametrize(
    ("columns", "overrides", "words"),
    [
        (2, ("miner.times=[1, 1]", "miner.times_within=[60]"), "miner.times needs timestamps, but training sees none"),
        (
            3,
            ("miner.times=[1, 1]", "miner.times_within=[60]", "data.use_cameras=false"),
            "or data.use_cameras is false",
        ),
        (3, ("miner.times=[1, 1]",), "miner.times needs miner.times_within"),
        (3, ("miner.times=[1, 1]", "miner.times_within=[1e-15]"), "miner.times_within must be above"),
        (3, ("miner.times_within=[60]",), "is of no effect with miner.times"),
    ],
)
def test_times_that_cannot_be_made_use_of_are_refused(
    people: Path, tmp_path: Path, columns: int, overrides: tuple[str, ...], words: str
):
    data = timed(people, tmp_path / "timed.csv")
    data.write_text("\n".join(",".join(line.split(",")[:columns]) for line in data.read_text().splitlines()))
    with pytest.raises(ConfigError, match=words):
        train(data, tmp_path / "run", *overrides)
    assert not (tmp_path / "run").exists()


def looked(people: Path, monkeypatch: pytest.MonkeyPatch, *given: str) -> tuple[dict[str, Any], int]:
    """Settle the default recipe where what looks alike is near in time; and how often that was measured."""
    measured: list[int] = []

    def near_in_time(*_: Any) -> Near:
        measured.append(1)
        return Near((64.0,), 10.0)

    monkeypatch.setattr("resight.building.near_in_time", near_in_time)
    monkeypatch.setattr("resight.building.have_moments", lambda *_: True)
    dataset = read_dataset(people)
    recipe = load_recipe("auto", overrides=[*TINY, *given])
    split, pixels = open_split(dataset.train, (64, 32), people / "cache", skip_broken=False, progress=None)
    settled, _ = look(recipe, split.unlabelled(), pixels, torch.device("cpu"), (*TINY, *given), quiet)
    return dataclasses.asdict(settled.miner), len(measured)


def test_the_default_makes_use_of_times_unless_told_otherwise(people: Path, monkeypatch: pytest.MonkeyPatch):
    found, measured = looked(people, monkeypatch)
    assert (found["times"], found["times_within"], measured) == ((0.4, 0.15), (64.0,), 1)
    found, measured = looked(people, monkeypatch, "miner.times=[0, 0]")
    assert (found["times"], found["times_within"], measured) == ((0.0, 0.0), (), 0)
    found, measured = looked(people, monkeypatch, "miner.times=[1, 0.5]")
    assert (found["times"], found["times_within"], measured) == ((1.0, 0.5), (64.0,), 1)
    at_once = ("miner.stripes=[0, 0]", "miner.colours=[0, 0]", "miner.by_camera=false", "memory.rows=instance")
    rest = ("miner.schedule=batch", "miner.across_cameras=false", "train.per_identity=0", "loss.name=infonce")
    assert looked(people, monkeypatch, *at_once, *rest)[0]["times"] == (0.0, 0.0)
