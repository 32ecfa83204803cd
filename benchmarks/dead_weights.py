"""Claim: a network whose dead channels have decayed to denormal numbers is no slower than a fresh one.

    OMP_NUM_THREADS=1 python benchmarks/dead_weights.py CHECKPOINT

CHECKPOINT: RUN/model.safetensors or a file of RUN/checkpoints, of a long run on a CPU with a version that kept such
weights. Times a step (forward and backward, 64 images of noise) and a forward pass: of the start weights, of the
checkpoint as it is, and of the same after `train.drop_dead_weights`, in one process; and says whether outputs differ.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from resight.backbones import BackboneConfig, ReidModel, build_model
from resight.checkpoint import read_header, read_tensors, strip
from resight.train import drop_dead_weights, freeze_batchnorm

ROUNDS = 3
DENORMAL = 1.2e-38
NAMES = ("start", "trained", "trained, dead ones dropped")


def seconds(work: Callable[[], object]) -> float:
    """Time the work, once warm."""
    work()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        work()
    return (time.perf_counter() - began) / ROUNDS


def measure(model: ReidModel, images: Tensor) -> tuple[float, float, Tensor]:
    """Give seconds of a step and of a forward pass, and what comes out."""
    model.train()
    freeze_batchnorm(model.trunk)

    def step() -> None:
        model.zero_grad()
        model(images).train.sum().backward()

    stepped = seconds(step)
    model.eval()
    with torch.no_grad():
        return stepped, seconds(lambda: model(images)), model(images).test


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    options = parser.parse_args()
    recipe = read_header(options.checkpoint)["recipe"]
    tensors = read_tensors(options.checkpoint)[0]
    state = strip(tensors, "model/") or tensors
    few = sum(int(((w != 0) & (w.abs() < DENORMAL)).sum()) for w in state.values() if w.is_floating_point())
    print(f"{options.checkpoint.name}: {few:,} of its numbers are denormal\n")
    size = tuple(recipe["input"]["size"])
    images = torch.randn(64, 3, *size, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    fresh, trained, dropped = (build_model(BackboneConfig(**recipe["backbone"]), size=size) for _ in range(3))
    for model in (trained, dropped):
        model.load_state_dict(state)
    drop_dead_weights(dropped)
    found = {name: measure(model, images) for name, model in zip(NAMES, (fresh, trained, dropped), strict=True)}
    print("| weights | step, s | forward, s |\n|---|---|---|")
    for name, (stepped, forward, _) in found.items():
        print(f"| {name} | {stepped:.2f} | {forward:.2f} |")
    print(f"\ngreatest difference of outputs: {float((found[NAMES[1]][2] - found[NAMES[2]][2]).abs().max()):.1e}")


if __name__ == "__main__":
    main()
