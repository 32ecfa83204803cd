"""Claim: on a GPU the whole GSMLP step runs at 80 % of the bare model step or more, also with VeRi-Wild's N.

    python benchmarks/gpu_step.py [--device cuda] [--images 12936 277797] [--batch 128] [--steps 30]

ResNet-50, random weights, last stride 1, 256 × 128, bfloat16. The bare step is forward, backward and SGD on images
that are on the device already, with a loss on the embeddings alone. The whole step adds what training does beside it:
augmentation of uint8 images, mining by the batch, scores against N rows, SMLC, the update of the memory with its Gram
matrix. Both in one process, interleaved; the median of `steps` is taken.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from resight.backbones import BackboneConfig, build_model
from resight.data.transforms import AugmentConfig, augment, draw_augmentation
from resight.losses import LOSSES
from resight.memory import FeatureMemory
from resight.miners import MINERS
from resight.train import derived_seed


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(step: Callable[[], None], device: torch.device) -> float:
    wait(device)
    began = time.perf_counter()
    step()
    wait(device)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, nargs="+", default=[12_936, 277_797])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 128), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--backbone", default="resnet50")
    options = parser.parse_args()
    device, size = torch.device(options.device), tuple(options.size)
    torch.manual_seed(1)
    model = build_model(BackboneConfig(name=options.backbone, weights="random"), size=size).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4)
    raw = torch.randint(0, 256, (options.batch, 3, *size), dtype=torch.uint8, device=device)
    raw = raw.contiguous(memory_format=torch.channels_last)
    images = torch.randn(options.batch, 3, *size, device=device).contiguous(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(derived_seed(1, 1, "data"))
    miner, criterion, settings = MINERS["gsmlp"](), LOSSES["smlc"](), AugmentConfig()

    def descend(loss: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def bare() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            embeddings = model(images).train.float()
        descend(embeddings.square().sum())

    for n in options.images:
        rows = torch.nn.functional.normalize(torch.randn(n // 17 + 1, model.dim, device=device), dim=1)
        rows = rows.repeat_interleave(17, dim=0)[:n]
        rows = torch.nn.functional.normalize(rows + 0.65 / model.dim**0.5 * torch.randn_like(rows), dim=1)
        memory = FeatureMemory.of(rows)

        def whole(memory: FeatureMemory = memory, n: int = n) -> None:
            index = torch.randperm(n, generator=generator)[: options.batch].to(device)
            shown = augment(raw, draw_augmentation(settings, len(index), size, generator), model.normalisation)
            with torch.no_grad():
                positives = miner(memory, index)
            with torch.autocast(device.type, torch.bfloat16):
                embeddings = model(shown).train.float()
            scores = memory.scores(embeddings)
            descend(criterion(scores, positives))
            memory.update(index, embeddings.detach(), 0.5, scores=scores.detach())

        for step in (bare, whole, bare, whole):
            step()
        times = [(seconds_of(bare, device), seconds_of(whole, device)) for _ in range(options.steps)]
        alone, together = (statistics.median(column) for column in zip(*times, strict=True))
        peak = f", {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB" if device.type == "cuda" else ""
        print(
            f"N = {n:,}: bare {options.batch / alone:.0f} images/s, whole GSMLP step {options.batch / together:.0f} "
            f"images/s = {alone / together:.0%}{peak}",
            flush=True,
        )


if __name__ == "__main__":
    main()
