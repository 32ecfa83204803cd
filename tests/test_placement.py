"""Where a feature memory goes, and what is said of it."""

from pathlib import Path

import pytest
import torch

from memories import clustered
from resight.config import MinerConfig, Recipe, TrainConfig
from resight.errors import ConfigError
from resight.losses import LOSSES
from resight.memory import FeatureMemory
from resight.miners import MINERS
from resight.placement import Need, choose_place, free_ram, needed, place_memory
from resight.storage import DiskRows

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GB = 10**9


@pytest.mark.parametrize(
    ("rows", "device", "ram", "on_device", "place"),
    [
        (1, CPU, 24, 0, "ram"),
        (20, CPU, 24, 0, "disk"),  # 20 + 1 of 24 GB is more than 60 %
        (10, GPU, 24, 80, "device"),
        (60, GPU, 128, 80, "ram"),
        (90, GPU, 128, 80, "disk"),
    ],
)
def test_auto_takes_the_nearest_place_with_room(rows: int, device: torch.device, ram: int, on_device: int, place: str):
    need = Need(rows=rows * GB, work=GB)
    assert choose_place("auto", need, device, ram=ram * GB, on_device=on_device * GB) == place


def test_the_place_may_be_named():
    need = Need(rows=GB, work=GB)
    assert choose_place("disk", need, CPU, ram=24 * GB, on_device=0) == "disk"
    assert choose_place("device", need, CPU, ram=24 * GB, on_device=0) == "ram"  # the CPU's own
    with pytest.raises(ConfigError, match="--memory must be one of auto, device, ram, disk, got 'gpu'"):
        choose_place("gpu", need, CPU, ram=24 * GB, on_device=0)


def test_a_standardised_copy_doubles_the_rows():
    plain, by_camera = (Recipe(miner=MinerConfig(schedule="epoch", by_camera=flag)) for flag in (False, True))
    assert needed(plain, 1000, 512).rows == 1000 * 512 * 4
    assert needed(by_camera, 1000, 512).rows == 2 * 1000 * 512 * 4


def test_what_was_chosen_is_said_in_numbers(tmp_path: Path):
    memory, said = place_memory("disk", Recipe(), (1000, 512), CPU, tmp_path)
    assert isinstance(memory.rows, DiskRows)
    assert said.startswith(f"feature memory: 1000 x 512 on disk, in {tmp_path} (2.0 MB), about ")


def test_a_place_without_room_is_refused_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("resight.placement.free_ram", lambda: 10**6)
    with pytest.raises(ConfigError, match=r"needs 2.0 MB in RAM, with 1.0 MB free; give --memory disk"):
        place_memory("ram", Recipe(), (1000, 512), CPU, tmp_path)


def test_a_container_s_limit_counts_and_idle_file_pages_do_not(tmp_path: Path):
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 1500000\n")
    assert free_ram(tmp_path) == 3_000_000 - (2_500_000 - 1_500_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert free_ram(tmp_path) > 3_000_000


def test_what_mining_takes_is_within_what_was_said():
    recipe = Recipe(train=TrainConfig(batch_size=128))
    memory, index = FeatureMemory.of(clustered(20_000, 32, 1000, 0.3, 0)), torch.arange(0, 12_800, 100)
    embeddings = memory.read(index).requires_grad_()
    miner, criterion = MINERS["gsmlp"](), LOSSES["smlc"]()
    miner(memory, index)
    with torch.profiler.profile(profile_memory=True) as profile:
        positives = miner(memory, index)
        scores = memory.scores(embeddings)
        criterion(scores, positives).backward()
        memory.update(index, embeddings.detach(), 0.5, scores=scores.detach())
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    assert 128 * 20_000 * 4 < peak <= needed(recipe, 20_000, 32).work
