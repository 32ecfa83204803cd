"""Published quirks: each does what it says, is off by default, and says so where it touches the scores."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resight import prepare
from resight.artifacts import BEST_ON_TEST, load_model
from resight.backbones import BackboneConfig, build_model
from resight.checkpoint import checkpoints, read_header, read_tensors
from resight.data.transforms import AugmentConfig
from resight.embed import embed
from resight.errors import CheckpointError, ConfigError, DataError
from resight.quirks import with_gallery
from resight.recipes import load_recipe
from resight.refill import embed_augmented, plain_batches
from resight.report import write_report
from resight.retrieval_result import RetrievalResult
from resight.run import TrainRequest, run_training
from resight.runlog import read_events
from resight.types import Dataset, Sample, Split
from small_runs import equal

SMALL = (
    "backbone.name=resnet10t",
    "backbone.weights=random",
    "input.size=[64, 32]",
    "train.epochs=4",
    "train.batch_size=8",
    "train.precision=float32",
    "evaluate.every=1",
)
KEEP_BEST = "evaluate.keep_best_on_test_rank1=true"


def train(data: Path, out: Path, *overrides: str, said: list[str] | None = None, **flags) -> dict:
    changes = () if flags.get("resume") else (*SMALL, *overrides)
    request = TrainRequest(data, "gsmlp", out, overrides=changes, device="cpu", **flags)
    return run_training(request, say=(said if said is not None else []).append)


def test_every_quirk_is_off_by_default():
    recipe = load_recipe("gsmlp")
    assert not recipe.memory.refill_as_published
    assert not recipe.evaluate.keep_best_on_test_rank1
    assert not recipe.data.train_on_gallery
    assert recipe.data.camstyle == ""


class Noise:
    """Nine images of noise."""

    def __init__(self, images: int = 9) -> None:
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randint(0, 256, (images, 3, 64, 32), generator=generator, dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        return self.images[index]


@pytest.mark.parametrize(("images", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (3, [3]), (1, [1]), (5, [5])])
def test_no_batch_of_a_published_refill_has_one_image(images: int, sizes: list[int]):
    batches = plain_batches(images, 4)
    assert [len(batch) for batch in batches] == sizes
    assert torch.cat(batches).tolist() == list(range(images))


def test_a_published_refill_uses_and_moves_batchnorms_statistics_and_augments():
    pixels = Noise()
    model = build_model(BackboneConfig(name="resnet10t", weights="random"), size=(64, 32))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    plain = embed(model, pixels, which="train")
    assert equal(before, model.state_dict())  # the refill of resight leaves the model as it is

    def refill(seed: int, augmentation: AugmentConfig) -> torch.Tensor:
        model.load_state_dict(before)
        model.train()
        generator = torch.Generator().manual_seed(seed)
        return torch.cat(list(embed_augmented(model, pixels, augmentation, generator, batch_size=4)))

    rows = refill(1, AugmentConfig())
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("running_" in name or "num_batches" in name for name in moved)
    assert any(name.startswith("neck") for name in moved)
    assert torch.allclose(rows.norm(dim=1), torch.ones(9), atol=1e-5)
    assert not rows.requires_grad
    assert not torch.allclose(rows, plain, atol=1e-2)
    assert torch.equal(rows, refill(1, AugmentConfig()))
    assert not torch.allclose(rows, refill(2, AugmentConfig()), atol=1e-2)


def test_a_run_with_published_refills_differs_and_resumes_bit_for_bit(people: Path, tmp_path: Path):
    published = ("memory.refill_as_published=true", "memory.refill_every=1", "train.batch_size=11")  # 12 images: 11 + 1
    train(people, tmp_path / "plain", *published[1:])
    train(people, tmp_path / "whole", *published)
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    checkpoints(tmp_path / "stopped" / "checkpoints")[-1].unlink()
    train(people, tmp_path / "stopped", resume=True)
    plain, whole, stopped = (
        read_tensors(tmp_path / run / "model.safetensors")[0] for run in ("plain", "whole", "stopped")
    )
    assert equal(whole, stopped)
    assert not equal(whole, plain)


@pytest.fixture
def faked_rank1(monkeypatch: pytest.MonkeyPatch):
    """Make the test set answer with given Rank-1 figures, by how often the model has been trained."""
    real = prepare.TestImages.evaluate
    seen: list[dict[str, torch.Tensor]] = []

    def fake(sequence: list[float], *, first: int = 0) -> list[dict[str, torch.Tensor]]:
        answers = iter(sequence)
        seen[:] = seen[:first]

        def evaluate(self: prepare.TestImages, model, *, precision: str, device: torch.device) -> RetrievalResult:
            seen.append({name: t.clone() for name, t in model.state_dict().items()})
            figures = real(self, model, precision=precision, device=device).to_json()
            rank1 = next(answers)
            figures["cmc"] = {"1": rank1, "5": 1.0, "10": 1.0, "20": 1.0}
            return SimpleNamespace(to_json=lambda: figures)  # type: ignore[return-value]

        monkeypatch.setattr(prepare.TestImages, "evaluate", evaluate)
        return seen

    return fake


def test_the_epoch_with_the_highest_test_rank1_is_kept_and_it_is_said(people: Path, tmp_path: Path, faked_rank1):
    # The untrained model scores highest but is no candidate; of the equal epochs 2 and 3 the earlier is kept.
    seen = faked_rank1([0.9, 0.3, 0.6, 0.6, 0.5])
    said: list[str] = []
    out = tmp_path / "run"
    summary = train(people, out, KEEP_BEST, said=said)
    assert equal(seen[2], read_tensors(out / "model.safetensors")[0])
    assert not equal(seen[4], seen[2])
    load_model(out)
    assert summary["kept_epoch"] == 2
    assert summary["trained"]["cmc"]["1"] == 0.6
    assert summary["last_epoch"]["cmc"]["1"] == 0.5
    sentence = "selected on the test queries"
    assert sentence in summary["caveats"][0] and "no honest test" in summary["caveats"][0]
    assert json.loads((out / "summary.json").read_text()) == summary
    assert sum(line.startswith("WARNING") and sentence in line for line in said) == 1
    assert sentence in read_events(out / "log.jsonl")[0]["caveats"][0]
    write_report(out, tmp_path / "report.html")
    assert sentence in (tmp_path / "report.html").read_text()


def test_without_the_quirk_the_last_epoch_is_kept_and_nothing_is_said(people: Path, tmp_path: Path, faked_rank1):
    seen = faked_rank1([0.1, 0.9, 0.3, 0.2, 0.1])
    summary = train(people, tmp_path / "run")
    assert equal(seen[4], read_tensors(tmp_path / "run" / "model.safetensors")[0])
    assert not {"caveats", "kept_epoch", "last_epoch"} & set(summary)
    assert not (tmp_path / "run" / BEST_ON_TEST).exists()


def test_the_best_so_far_survives_a_kill_at_any_time(people: Path, tmp_path: Path, faked_rank1):
    out = tmp_path / "run"
    seen = faked_rank1([0.1, 0.3, 0.8, 0.6, 0.5])
    train(people, out, KEEP_BEST)
    best = {name: t.clone() for name, t in seen[2].items()}

    def resumed_without(*epochs: int, answers: list[float]) -> dict:
        for epoch in epochs:
            (out / "checkpoints" / f"epoch-{epoch:05d}.safetensors").unlink()
        (out / "model.safetensors").unlink(missing_ok=True)
        faked_rank1(answers)
        return train(people, out, resume=True)

    for epochs, answers in (((4,), [0.6]), ((), [0.5])):  # killed in epoch 4; killed after its checkpoint
        summary = resumed_without(*epochs, answers=answers)
        assert summary["kept_epoch"] == 2
        assert equal(best, read_tensors(out / "model.safetensors")[0])

    summary = resumed_without(4, answers=[0.95])  # the resumed part may find a better one
    assert (summary["kept_epoch"], summary["trained"]["cmc"]["1"]) == (4, 0.95)

    (out / BEST_ON_TEST).unlink()
    with pytest.raises(CheckpointError, match="is missing: it holds the best model"):
        resumed_without(4, answers=[0.5])


def test_an_epoch_is_scored_before_its_checkpoint_so_that_none_is_passed_over(
    people: Path, tmp_path: Path, faked_rank1, monkeypatch: pytest.MonkeyPatch
):
    from resight import course as module

    out = tmp_path / "run"
    faked_rank1([0.1, 0.3, 0.8])
    save = module.save_checkpoint

    def killed_at_2(folder: Path, epoch: int, *rest, **more) -> Path:
        if epoch == 2:
            raise KeyboardInterrupt
        return save(folder, epoch, *rest, **more)

    monkeypatch.setattr(module, "save_checkpoint", killed_at_2)
    with pytest.raises(KeyboardInterrupt):
        train(people, out, KEEP_BEST)
    assert read_header(out / BEST_ON_TEST)["selected_on_test"]["epoch"] == 2
    monkeypatch.setattr(module, "save_checkpoint", save)
    faked_rank1([0.8, 0.4, 0.4])
    assert train(people, out, resume=True)["kept_epoch"] == 2


def test_a_run_killed_before_its_only_score_is_scored_when_resumed(people: Path, tmp_path: Path):
    out = tmp_path / "run"
    train(people, out, KEEP_BEST, "train.epochs=2", "evaluate.every=2")
    (out / BEST_ON_TEST).unlink()
    (out / "model.safetensors").unlink()
    assert train(people, out, resume=True)["kept_epoch"] == 2


def test_keeping_the_best_needs_something_to_choose_by(people: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="evaluate.every must be 1 or more, got 0"):
        train(people, tmp_path / "run", "evaluate.every=0", KEEP_BEST)
    with pytest.raises(ConfigError, match="needs query and gallery with identities"):
        train(people / "bounding_box_train", tmp_path / "run", KEEP_BEST)
    assert not (tmp_path / "run").exists()


GALLERY = "data.train_on_gallery=true"


def test_a_run_on_the_gallery_trains_on_it_and_says_so(people: Path, tmp_path: Path):
    own, gallery = (len(list((people / name).glob("*.jpg"))) for name in ("bounding_box_train", "bounding_box_test"))
    said: list[str] = []
    out = tmp_path / "run"
    summary = train(people, out, GALLERY, "miner.tau=0.3", said=said)
    assert summary["data"]["train"] == own + gallery
    assert summary["data"]["gallery"] == gallery
    memory = read_tensors(checkpoints(out / "checkpoints")[-1])[0]["memory"]
    assert len(memory) == own + gallery
    sentence = f"trained on the gallery: {gallery} gallery images are among the training images"
    assert sentence in summary["caveats"][0]
    assert any(line.startswith("WARNING") and sentence in line for line in said)
    events = read_events(out / "log.jsonl")
    assert sentence in events[0]["caveats"][0]
    assert all(0 <= e["recall"] <= 1 for e in events if e["event"] == "epoch")

    checkpoints(out / "checkpoints")[-1].unlink()
    whole = read_tensors(out / "model.safetensors")[0]
    again = train(people, out, resume=True)  # without the flag
    assert again["data"]["train"] == own + gallery
    assert equal(whole, read_tensors(out / "model.safetensors")[0])


def test_other_leaks_are_refused_all_the_same(people: Path, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(people, data)
    query = min((data / "query").glob("*.jpg"))
    leaked = Path(shutil.copy(query, data / "bounding_box_train" / "9000_c1s1_000001_00.jpg"))
    with pytest.raises(DataError, match="no training image may be in query or gallery"):
        train(data, tmp_path / "run", GALLERY)
    leaked.unlink()
    said: list[str] = []
    shutil.copy(query, data / "bounding_box_test" / query.name)  # as in VeRi-776, whose queries stand in the gallery
    train(data, tmp_path / "run", GALLERY, "train.epochs=1", said=said)
    assert any("1 of which are query images too" in line for line in said)


def test_junk_is_not_trained_on_and_a_gallery_is_needed():
    def split(name: str, *pids: int) -> Split:
        return Split(name, tuple(Sample(Path(f"{name}{i}.jpg"), pid, 1) for i, pid in enumerate(pids)))

    dataset = Dataset(Path("d"), "market1501", split("train", 1, 2), split("query", 3), split("gallery", -1, 0, 3))
    extended = with_gallery(dataset)
    assert [sample.pid for sample in extended.train] == [1, 2, 0, 3]
    assert extended.gallery == dataset.gallery
    with pytest.raises(DataError, match="--train-on-gallery needs gallery images"):
        with_gallery(Dataset(Path("d"), "folder", split("train", 1), split("query"), split("gallery")))
