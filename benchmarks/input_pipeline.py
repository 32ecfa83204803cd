"""Claim: reading, augmenting and normalising cost at most 15 % of a training step, with a real model.

    python benchmarks/input_pipeline.py [--backbone efficientnet_lite0 --size 128x64 --batch 64 --device auto]

Two loops over the same number of batches, alternating in one process so that both meet the same machine: the whole step
(pixels from the memory-mapped cache, augmentation on the device, model, loss, optimiser, memory) and the same step fed
one ready float batch again and again. Images are random JPEG files written for the purpose.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from resight.backbones import BackboneConfig, build_model
from resight.cli import parse_size
from resight.data.loading import prefetched
from resight.data.pixels import open_pixels
from resight.data.transforms import AugmentConfig, augment, draw_augmentation
from resight.losses import SMLC
from resight.memory import FeatureMemory
from resight.prepare import choose_device, choose_precision


def write_images(folder: Path, count: int, height: int, width: int) -> list[Path]:
    random = np.random.default_rng(1)
    paths = []
    for i in range(count):
        coarse = random.integers(0, 256, (8, 4, 3), dtype=np.uint8)
        path = folder / f"{i:05d}.jpg"
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(path)
        paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", default="128x64")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device)
    height, width = parse_size(args.size)

    model = build_model(BackboneConfig(args.backbone, weights="random"), size=(height, width)).to(device).train()
    precision = choose_precision("auto", model, (height, width), device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    memory, loss_fn, config = FeatureMemory(args.images, model.dim, device=device), SMLC(), AugmentConfig()
    generator = torch.Generator().manual_seed(1)

    def step(index: torch.Tensor, images: torch.Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            embeddings = model(images).train.float()
        scores = memory.scores(embeddings)
        positives = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, index.unsqueeze(1), True)
        loss = loss_fn(scores, positives)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        memory.update(index, embeddings.detach(), 0.5)

    def augmented(raw: torch.Tensor) -> torch.Tensor:
        params = draw_augmentation(config, len(raw), (height, width), generator)
        return augment(raw, params, model.normalisation)

    def timed(work) -> float:  # type: ignore[no-untyped-def]
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        pixels = open_pixels(write_images(Path(folder), args.images, height, width), (height, width), Path(folder))
        order = torch.randperm(args.images, generator=generator).split(args.batch)
        batches = [order[i % len(order)] for i in range(args.steps)]
        batches = [b for b in batches if len(b) == args.batch]
        ready_index = batches[0].to(device)
        ready = augmented(pixels.batch(batches[0]).to(device))

        def whole() -> None:
            for index, raw in prefetched(pixels, batches, device):
                step(index, augmented(raw))

        def bare() -> None:
            for _ in batches:
                step(ready_index, ready)

        bare(), whole()  # warm-up
        times = [(timed(bare), timed(whole)) for _ in range(args.rounds)]

    images = len(batches) * args.batch
    bare_time, whole_time = (sorted(t)[len(times) // 2] for t in zip(*times, strict=True))
    print(
        f"{args.backbone} {args.size}, batch {args.batch}, {precision}, {device}, {torch.get_num_threads()} threads; "
        f"median of {args.rounds} rounds of {len(batches)} steps"
    )
    print(f"model, loss, memory alone: {images / bare_time:8.1f} images/s")
    print(f"with the input pipeline:   {images / whole_time:8.1f} images/s")
    print(f"the pipeline costs {100 * (whole_time - bare_time) / whole_time:.1f} % of the step")


if __name__ == "__main__":
    main()
