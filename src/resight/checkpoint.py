"""Weights and training state in one safetensors file with a JSON header, written atomically; never pickle.

Every random draw of a run follows from (seed, epoch), so the random state of a checkpoint is its recipe and its epoch.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from resight.errors import CheckpointError
from resight.memory import FeatureMemory
from resight.whole_files import sync

FORMAT = 1


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header so that `path` holds either its old content or all of the new.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written; what was there is untouched.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    metadata = {"resight": json.dumps({"format": FORMAT, "digest": digest(tensors), **header})}
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file(tensors, temporary, metadata=metadata)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} could not be written ({error}); what was saved before is untouched: free some space, then go on "
            "with --resume"
        ) from error


def read_tensors(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote and check it against its digest.

    Raises:
        CheckpointError: missing, truncated, changed, or not one of ours.
    """
    header = read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}); {remedy(path)}") from error
    if digest(tensors) != header.get("digest"):
        raise CheckpointError(f"{path} does not match its own digest, so it was damaged; {remedy(path)}")
    return {name: t.to(device) for name, t in tensors.items()}, header


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON header alone."""
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give a file or run folder written by resight")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}); {remedy(path)}") from error
    if "resight" not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but not one that resight wrote; give a run folder")
    return json.loads(metadata["resight"])


def remedy(path: Path) -> str:
    """Say what to do about a damaged file: an older good checkpoint beside it, if there is one."""
    older = [p for p in checkpoints(path.parent) if p != path]
    if path.parent.name == "checkpoints" and older:
        return f"delete it and --resume goes on from {older[-1].name}"
    return "write it again with resight train"


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, shapes and bytes."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def checkpoints(folder: Path) -> list[Path]:
    """Give the checkpoints of a folder, oldest first."""
    return sorted(folder.glob("epoch-*.safetensors"))


KEEP = 2
MODEL, OPTIMIZER, AVERAGE = "model/", "optimizer/", "average/"


def save_checkpoint(
    folder: Path,
    epoch: int,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    memory: FeatureMemory,
    header: Mapping[str, Any],
    *,
    more: Mapping[str, Tensor] | None = None,
) -> Path:
    """Save all that training needs to go on after `epoch`; keeps the newest `KEEP` checkpoints.

    `more`: what else there is to save, under names that begin neither as the model's nor as the optimiser's do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = prefixed(MODEL, model.state_dict()) | {"memory": memory.features} | dict(more or {})
    for row, state in optimizer.state_dict()["state"].items():
        tensors |= prefixed(f"{OPTIMIZER}{row}/", {name: t for name, t in state.items() if isinstance(t, Tensor)})
    path = folder / f"epoch-{epoch:05d}.safetensors"
    write_tensors(path, tensors, {"epoch": epoch, **header})
    memory.rows.release()
    for old in checkpoints(folder)[:-KEEP]:
        old.unlink()
    return path


def load_checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    memory: FeatureMemory,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Put a checkpoint's state into model, optimiser and memory, in place; give its header, and what `more` was."""
    tensors, header = read_tensors(path)
    stored = tensors["memory"]
    if stored.shape != memory.features.shape:
        raise CheckpointError(
            f"{path} holds a memory of {tuple(stored.shape)}, this data needs {tuple(memory.features.shape)}; "
            "resume with the data and recipe that the run began with"
        )
    memory.refill(stored.split(16384))
    model.load_state_dict(strip(tensors, MODEL))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in strip(tensors, OPTIMIZER).items():
        row, key = name.split("/", 1)
        state.setdefault(int(row), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    more = {name: t for name, t in tensors.items() if name != "memory" and not name.startswith((MODEL, OPTIMIZER))}
    return header, more


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors under names that begin with `prefix`."""
    return {prefix + name: t for name, t in tensors.items()}


def strip(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Give the tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
