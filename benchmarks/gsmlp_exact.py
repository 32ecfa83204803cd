"""Claim: GSMLP without the N×N matrix mines the sets of the direct form, at least 25 times faster, in little memory.

    python benchmarks/gsmlp_exact.py [--images 12936 --dim 2048 --batch 128]

One memory of random clustered unit rows. Direct form, as published: for every batch the N×N matrix S with zero
diagonal, `cdist(S[t], S)` and the two selections. Ours: `FeatureMemory` with its Gram matrix kept. Each form runs in a
process of its own, so that its peak memory is its own; both write the mined sets, which are then compared. Ours is
timed with and without the kept Gram's share of a training step (the rank-B update); the build is given beside it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from resight.memory import FeatureMemory
from resight.miners.gsmlp import GSMLP

TAU, LEAST = 0.6, 10


def clustered_rows(images: int, dim: int) -> torch.Tensor:
    """About 17 images an identity, as on Market-1501; cosine about 0.7 within one."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(max(1, images // 17), dim, generator=generator)
    spread = 0.65 * torch.randn(images, dim, generator=generator)
    common = 0.6 * torch.randn(1, dim, generator=generator)  # all crops resemble each other a little
    rows = centres[torch.randint(len(centres), (images,), generator=generator)] + spread + common
    return torch.nn.functional.normalize(rows, dim=1)


def direct(features: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """GSMLP as published: N×N for every batch."""
    s = features @ features.T
    similarity = s[index]
    s.fill_diagonal_(0)
    distance = torch.cdist(s[index], s)
    distance.scatter_(1, index.unsqueeze(1), 0.0)
    positives = torch.zeros_like(similarity, dtype=torch.bool)
    for row, (own, scores, apart) in enumerate(zip(index.tolist(), similarity, distance, strict=True)):
        k = int((scores >= TAU).sum())
        width = min(max(k, LEAST), len(features))
        top = scores.argsort(descending=True)[:width]
        adjacent = apart.argsort()[: width + 1]
        positives[row, top[torch.isin(top, adjacent)] if k > 1 else own] = True
        positives[row, own] = True
    return positives


def run_direct(features: torch.Tensor, batches: list[torch.Tensor]) -> dict:
    sets, seconds = [], []
    for index in batches:
        began = time.perf_counter()
        sets.append(direct(features, index).nonzero().tolist())
        seconds.append(time.perf_counter() - began)
    return {"sets": sets, "seconds": min(seconds)}


def run_ours(features: torch.Tensor, batches: list[torch.Tensor]) -> dict:
    memory, miner = FeatureMemory.of(features), GSMLP(TAU, LEAST)
    began = time.perf_counter()
    memory.adjacency_distance(batches[0][:1])
    build = time.perf_counter() - began
    sets, mining, update = [], [], []
    for index in [*batches, *batches]:
        began = time.perf_counter()
        marks = miner(memory, index)
        mining.append(time.perf_counter() - began)
        sets.append(marks.nonzero().tolist())
        same = features[index].clone()  # an update that leaves the rows as they are, at the full cost of one
        scores = memory.scores(same)  # the training step has these already, for its loss
        began = time.perf_counter()
        memory.update(index, same, 0.5, scores=scores)
        update.append(time.perf_counter() - began)
    return {"sets": sets[: len(batches)], "seconds": min(mining), "update": min(update), "build": build}


def child(form: str, images: int, dim: int, batch: int, batches: int) -> None:
    features = clustered_rows(images, dim)
    generator = torch.Generator().manual_seed(2)
    drawn = [torch.randperm(images, generator=generator)[:batch] for _ in range(batches)]
    torch.randn(256, 256) @ torch.randn(256, 256)  # threads up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {"direct": run_direct, "ours": run_ours}[form](features, drawn)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result |= {"peak_gb": peak / 2**20, "beyond_rows_gb": (peak - before) / 2**20}
    Path(sys.argv[-1]).write_text(json.dumps(result))


def measure(form: str, args: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        sizes = [str(v) for v in (args.images, args.dim, args.batch, args.batches)]
        subprocess.run([sys.executable, __file__, "--child", form, *sizes, str(out)], check=True)
        return json.loads(out.read_text())


def main() -> None:
    if "--child" in sys.argv:
        form, *sizes = sys.argv[2:-1]
        child(form, *(int(s) for s in sizes))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12_936)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, default=3)
    args = parser.parse_args()
    ours, published = measure("ours", args), measure("direct", args)
    equal = ours["sets"] == published["sets"]
    pairs = sum(len(s) for s in ours["sets"]) / (args.batches * args.batch)
    total = ours["seconds"] + ours["update"]
    print(
        f"N = {args.images}, D = {args.dim}, B = {args.batch}, {args.batches} batches, "
        f"{torch.get_num_threads()} threads, {pairs:.1f} positives an image"
    )
    print(f"mined sets equal: {equal}")
    print(f"{'':22}{'direct N×N':>12}{'ours':>12}{'ratio':>9}")
    print(
        f"{'mining, s a batch':22}{published['seconds']:12.3f}{ours['seconds']:12.3f}"
        f"{published['seconds'] / ours['seconds']:8.1f}×"
    )
    print(f"{'mining + update':22}{published['seconds']:12.3f}{total:12.3f}{published['seconds'] / total:8.1f}×")
    print(
        f"{'peak beyond rows, GB':22}{published['beyond_rows_gb']:12.2f}{ours['beyond_rows_gb']:12.2f}"
        f"{published['beyond_rows_gb'] / max(ours['beyond_rows_gb'], 1e-9):8.1f}×"
    )
    print(f"Gram built once an epoch: {ours['build']:.2f} s")
    if not equal:
        sys.exit("the mined sets differ")


if __name__ == "__main__":
    main()
