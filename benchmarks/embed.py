"""Claim: on a CPU the default backend is at least 3 times as fast as torch in float32, with cosine ≥ 0.999 to it.

    python benchmarks/embed.py [--threads 2 --images 32 --rounds 5 --clock wall]

ResNet-50 at 256x128 with random weights, and EfficientNet-Lite0 at 128x64 (with ImageNet's weights where the package
that holds them is installed). The baseline is plain torch: float32, eager, in the memory layout that a model has by
default; "torch float32" is the same in channels-last, as `resight evaluate` runs it. All are called by turns on one
batch of raw images in one process, so that what else the machine does meets them alike, and the best call counts.
Images are drawn, others than those that int8 is calibrated on or the choice was made on. "default" is what `auto`
picks, timed as an entry of its own. On a machine that others use too, `--threads 1 --clock cpu` counts the seconds that
this process computes instead of those that pass.
"""

import argparse
import copy
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from resight.backbones import BackboneConfig, ReidModel, build_model
from resight.backends import COSINE, ConvertedEmbedder, Embedder, TorchEmbedder, open_backend, variants
from resight.backends_converted import Converted
from resight.errors import ResightError
from resight.export.graph import lowest_cosine
from resight.export.samples import drawn_images

CASES = (("resnet50", (256, 128), "random"), ("efficientnet_lite0", (128, 64), "auto"))
LEAST_RATIO = 3.0


class PlainEmbedder:
    """Torch as one would write it: normalise, call, in the default memory layout."""

    name = "baseline"

    def __init__(self, model: ReidModel) -> None:
        self.model = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()
        self.dim = model.dim
        self.mean, self.std = (
            torch.tensor(v).view(1, 3, 1, 1) for v in (model.normalisation.mean, model.normalisation.std)
        )

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Embed."""
        return self.model((images.contiguous().float() - self.mean) / self.std).test


def backends(model: ReidModel, size: tuple[int, int], cache: Path) -> dict[str, Embedder]:
    """Open the baseline, the default, and each backend that there is."""
    found: dict[str, Embedder] = {
        "baseline": PlainEmbedder(model),
        "default": open_backend(model, size, say=print, cache_dir=cache),
    }
    found["torch float32"] = TorchEmbedder(model, torch.device("cpu"))
    for backend, precision in variants(torch.device("cpu")):
        name = f"{backend} {precision}"
        try:
            if backend == "torch":
                found[name] = TorchEmbedder(model, torch.device("cpu"), precision)
            else:
                run = Converted(model, size, cache / "converted", drawn_images(size, 16)).open(backend, precision)
                found[name] = ConvertedEmbedder(name, model.dim, run)
        except ResightError as error:
            print(f"{name}: {error}")
    return found


def measure(embedders: dict[str, Embedder], images: Tensor, args: argparse.Namespace) -> dict[str, float]:
    """Give images a second of each: the best of the rounds, all by turns."""
    best = dict.fromkeys(embedders, float("inf"))
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    for _ in range(args.rounds):
        for name, embedder in embedders.items():
            began = clock()
            embedder(images)
            best[name] = min(best[name], clock() - began)
    return {name: len(images) / seconds for name, seconds in best.items()}


def run_case(name: str, size: tuple[int, int], weights: str, args: argparse.Namespace, cache: Path) -> None:
    try:
        model = build_model(BackboneConfig(name, weights=weights), size=size).eval()
    except ResightError:
        model = build_model(BackboneConfig(name, weights="random"), size=size).eval()
    images = drawn_images(size, 32 + args.images)[32:].contiguous()
    embedders = backends(model, size, cache)
    right = embedders["baseline"](images).numpy()
    cosines = {key: lowest_cosine(embedder(images).numpy(), right) for key, embedder in embedders.items()}
    spread = float((right @ right.T).min())
    rates = measure(embedders, images, args)
    print(f"\n{name} {size[0]}x{size[1]}: {len(images)} images a batch; lowest cosine between two images {spread:.3f}")
    for key, rate in rates.items():
        ratio = rate / rates["baseline"]
        shown = f"default ({embedders[key].name})" if key == "default" else key
        print(f"  {shown:28} {rate:8.1f} images/s   {ratio:5.2f} x baseline   cosine at least {cosines[key]:.6f}")
    ratio = rates["default"] / rates["baseline"]
    holds = ratio >= LEAST_RATIO and cosines["default"] >= COSINE
    print(f"  default / baseline: {ratio:.2f}, claimed {LEAST_RATIO:g}: {'holds' if holds else 'DOES NOT HOLD'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=32, help="images a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--backbone", choices=[case[0] for case in CASES], help="only this one")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as cache:
        for name, size, weights in CASES:
            if args.backbone in (None, name):
                run_case(name, size, weights, args, Path(cache))


if __name__ == "__main__":
    main()
