"""Checkpoints: what goes in comes out, and a failed or damaged write never costs the last good one."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from resight.checkpoint import checkpoints, load_checkpoint, read_header, read_tensors, save_checkpoint, write_tensors
from resight.errors import CheckpointError
from resight.memory import FeatureMemory


def small_parts() -> tuple[torch.nn.Module, torch.optim.Optimizer, FeatureMemory]:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(8, 3)).square().sum().backward()
    optimizer.step()
    return model, optimizer, FeatureMemory.of(torch.randn(5, 4))


def test_model_optimiser_and_memory_come_back(tmp_path: Path):
    model, optimizer, memory = small_parts()
    besides = {"seen": torch.tensor([1, 2])}
    path = save_checkpoint(tmp_path, 3, model, optimizer, memory, {"recipe": {"name": "x"}}, more=besides)
    other, other_optimizer, other_memory = small_parts()
    header, more = load_checkpoint(path, other, other_optimizer, other_memory)
    assert (header["epoch"], header["recipe"]) == (3, {"name": "x"})
    assert {name: tensor.tolist() for name, tensor in more.items()} == {"seen": [1, 2]}
    assert torch.equal(memory.features, other_memory.features)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    for row, state in optimizer.state_dict()["state"].items():
        assert torch.equal(state["momentum_buffer"], other_optimizer.state_dict()["state"][row]["momentum_buffer"])


def test_the_newest_two_are_kept(tmp_path: Path):
    for epoch in range(1, 5):
        save_checkpoint(tmp_path, epoch, *small_parts(), {})
    assert [p.name for p in checkpoints(tmp_path)] == ["epoch-00003.safetensors", "epoch-00004.safetensors"]


def test_a_truncated_checkpoint_names_the_older_one(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    for epoch in (1, 2):
        path = save_checkpoint(folder, epoch, *small_parts(), {})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"truncated or damaged .*--resume goes on from epoch-00001.safetensors"):
        load_checkpoint(path, *small_parts())


@pytest.mark.parametrize("at", [0, 3, -1])
def test_a_changed_byte_is_noticed(tmp_path: Path, at: int):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.arange(100.0)}, {})
    content = bytearray(path.read_bytes())
    content[at] ^= 0x41
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged"):
        read_tensors(path)


def test_a_file_of_somebody_else_is_refused(tmp_path: Path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not one that resight wrote"):
        read_header(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_header(tmp_path / "none.safetensors")


def test_a_memory_of_another_size_is_refused(tmp_path: Path):
    path = save_checkpoint(tmp_path, 1, *small_parts(), {})
    model, optimizer, _ = small_parts()
    with pytest.raises(CheckpointError, match=r"holds a memory of \(5, 4\), this data needs \(6, 4\)"):
        load_checkpoint(path, model, optimizer, FeatureMemory(6, 4))


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_write_that_runs_out_of_room_keeps_the_last_good_file(tmp_path: Path):
    path = tmp_path / "epoch-00001.safetensors"
    write_tensors(path, {"a": torch.zeros(10)}, {})
    before = path.read_bytes()
    script = textwrap.dedent(f"""
        import resource, signal, sys, torch
        from pathlib import Path
        from resight.checkpoint import write_tensors
        from resight.errors import CheckpointError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_tensors(Path({str(path)!r}), {{"a": torch.zeros(1_000_000)}}, {{}})
        except CheckpointError as error:
            print(error)
            sys.exit(2)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "what was saved before is untouched" in done.stdout
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
