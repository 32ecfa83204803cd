"""Rows on disk and in pieces against rows in RAM: the same memory by another road."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import resight.storage
from memories import clustered
from resight.by_camera import standardise_by_camera
from resight.errors import ConfigError
from resight.memory import FeatureMemory
from resight.miners import MINERS
from resight.storage import DiskRows, Rows


class Pieces(Rows):
    """Rows that come in pieces, as those do that lie elsewhere than they are worked on."""

    @property
    def whole(self) -> bool:
        return False


@pytest.fixture(params=["pieces", "disk"])
def in_pieces(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Give a function that puts rows where they come in pieces of three (the last one shorter)."""
    monkeypatch.setattr(resight.storage, "BLOCK_BYTES", 3 * 16 * 4)

    def place(features: Tensor) -> FeatureMemory:
        rows = DiskRows(tmp_path, *features.shape) if request.param == "disk" else Pieces(torch.zeros_like(features))
        rows.write(torch.arange(len(features)), features)
        return FeatureMemory.over(rows)

    return place


FEATURES = clustered(40, 16, 6, 0.4, 1)


def test_rows_come_in_order_and_in_pieces(in_pieces):
    pieces = list(in_pieces(FEATURES).rows.blocks())
    assert [first for first, _ in pieces] == list(range(0, 40, 3))
    assert torch.equal(torch.cat([rows.clone() for _, rows in pieces]), FEATURES)


def test_rows_are_read_in_any_shape(in_pieces):
    index = torch.tensor([[3, 0], [39, 3]])
    assert torch.equal(in_pieces(FEATURES).read(index), FEATURES[index])


@pytest.mark.parametrize("name", MINERS)
def test_every_miner_finds_the_same(in_pieces, name: str):
    index = torch.tensor([5, 0, 39, 7])
    miner = MINERS[name]()
    assert torch.equal(miner(in_pieces(FEATURES), index), miner(FeatureMemory.of(FEATURES), index))


def test_steps_of_training_leave_the_same_rows_and_gram(in_pieces):
    memories = [in_pieces(FEATURES), FeatureMemory.of(FEATURES.clone())]
    for memory in memories:
        for step in range(4):
            index = torch.arange(step, 40, 5)
            memory.adjacency_distance(index)
            embeddings = normalize(FEATURES[index].roll(1, dims=1) + 0.1, dim=1)
            memory.update(index, embeddings, 0.5, scores=memory.scores(embeddings))
    one, other = memories
    assert torch.allclose(one.features, other.features, atol=1e-6)
    index = torch.arange(40)
    assert torch.allclose(one.adjacency_distance(index), other.adjacency_distance(index), atol=1e-4)


def test_gradients_of_scores(in_pieces):
    embeddings = FEATURES[:3].clone().requires_grad_()
    weights = torch.linspace(-1, 1, 120).view(3, 40)
    (in_pieces(FEATURES).scores(embeddings) * weights).sum().backward()
    assert embeddings.grad is not None
    assert torch.allclose(embeddings.grad, weights @ FEATURES, atol=1e-5)


def test_standardising_stays_in_the_kind_of_place(in_pieces):
    memory, camids = in_pieces(FEATURES), torch.arange(40) % 3
    expected = Rows(torch.empty_like(FEATURES))
    standardise_by_camera(Rows(FEATURES), camids, expected)
    standardise_by_camera(memory.rows, camids, memory.spare())
    assert isinstance(memory.spare(), DiskRows) == isinstance(memory.rows, DiskRows)
    assert torch.allclose(memory.spare().data, expected.data, atol=1e-6)
    assert torch.equal(memory.features, FEATURES)


def test_a_file_on_disk_has_no_name_that_could_be_left_behind(tmp_path: Path):
    rows = DiskRows(tmp_path, 10, 4)
    assert list(tmp_path.iterdir()) == []
    assert rows.data.abs().sum() == 0  # a new memory has not seen any image


def test_what_was_written_survives_being_let_go(tmp_path: Path):
    rows = DiskRows(tmp_path, 1000, 16)
    values = torch.arange(16000.0).view(1000, 16)
    rows.write(torch.arange(1000), values)
    rows.release()
    assert torch.equal(rows.data, values)


def test_a_full_disk_is_said_before_the_work_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ConfigError, match=r"needs 2.05 GB in .* No space left .*--out on another disk"):
        DiskRows(tmp_path, 1_000_000, 512)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc")
def test_pages_that_were_read_are_let_go(tmp_path: Path):
    rows = DiskRows(tmp_path, 50_000, 64)  # 12.8 MB
    rows.write(torch.arange(50_000), torch.ones(50_000, 64))
    for part in torch.arange(50_000).split(5_000):
        rows.read(part)
    for _ in rows.blocks():
        pass
    start = rows.data.data_ptr()
    for line in Path("/proc/self/smaps").read_text().split("VmFlags")[0:]:
        if f"{start:x}-" in line:
            held = int(line.split(f"{start:x}-")[1].split("Rss:")[1].split()[0])
            assert held < 1000  # KiB
            return
    pytest.fail("the map is not listed")
