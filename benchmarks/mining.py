"""Claim: every miner, in both schedules, at the sizes of Market-1501, VeRi-776 and VeRi-Wild, near matmul's own speed.

    python benchmarks/mining.py [--images 12936 37778 277797] [--dim 2048] [--batch 128] [--json FILE]

One memory of clustered unit rows a size, the miners with their published settings. Each line of the table is a process
of its own, so that its peak memory (all of the process, the memory's rows included) is its own, and it measures the
plain product (B, D)·(D, N) just before and just after, so that both meet the same machine.

- per batch: the labels of B images from the memory as it is. "GFLOP/s" counts the products that the miner asked for
  (rows of S, adjacency products, DPLM's 100 × 100 matrices: here every image reaches that test), over all the time it
  took; "of matmul" is that over the plain product's. "update" is the memory's update after the batch, with that of the
  Gram matrix (gsmlp). "by batch" is one build of the Gram matrix and N / B batches with their updates.
- at once: the labels of all N images in one go. Where that takes longer than ten minutes, it is measured on a share
  of the rows against all N, and scaled by rows; the share is given.
- published: what the authors' form needs for a batch: N×N similarities (GSMLP: and the distances of its rows).

The miner cluster is left out: it has no batch of its own, and benchmarks/clustering.py measures it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from identities import IMAGES, identity_rows

import resight.gram
import resight.memory
import resight.storage
from resight.memory import FeatureMemory
from resight.miners import MINERS
from resight.storage import Rows

SIZES = (12_936, 37_778, 277_797)
SHARE_ROWS = 1024

TIMED = [name for name in MINERS if name != "cluster"]


def write_rows(path: Path, images: int, dim: int) -> None:
    """Write the rows as plain float32, so that each process can take them into RAM at once."""
    with path.open("wb") as file:
        for rows in identity_rows(images, dim, identities=481, common=0.6):
            rows.numpy().tofile(file)


class Counted:
    """Counts the floating-point operations of the products that mining asks for."""

    def __init__(self) -> None:
        self.operations, self.plain = 0, resight.storage.product
        for user in (resight.memory, resight.gram):
            user.product = self.product  # type: ignore[attr-defined]

    def product(self, left: torch.Tensor, rows: Rows, *, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Stand in for `storage.product`."""
        self.operations += 2 * len(left) * len(rows) * rows.dim
        return self.plain(left, rows, bias=bias)


def matmul_speed(features: torch.Tensor, batch: int) -> float:
    """GFLOP/s of the plain product, best of three."""
    left, best = features[:batch].clone(), float("inf")
    for _ in range(3):
        began = time.perf_counter()
        left @ features.T
        best = min(best, time.perf_counter() - began)
    return 2 * batch * features.numel() / best / 1e9


def per_batch(name: str, features: torch.Tensor, batch: int, counted: Counted) -> dict[str, float]:
    memory, miner = FeatureMemory.of(features), MINERS[name]()
    images, dim = features.shape
    began = time.perf_counter()
    miner(memory, torch.arange(2))  # builds the Gram matrix where one is needed
    build = time.perf_counter() - began if memory.gram is not None else 0.0
    generator = torch.Generator().manual_seed(2)
    seconds, speed, updates = [], [], []
    for _ in range(3 if images > 100_000 else 6):
        index = torch.randperm(images, generator=generator)[:batch]
        counted.operations = 0
        began = time.perf_counter()
        mined = miner(memory, index)
        seconds.append(time.perf_counter() - began)
        extra = 2 * batch * dim * dim if name == "gsmlp" else 0
        if name == "dplm":
            extra = 2 * batch * 100 * 100 * dim
        speed.append((counted.operations + extra) / seconds[-1] / 1e9)
        same = features[index].clone()  # an update that leaves the rows as they are, at the full cost of one
        scores = memory.scores(same)  # the training step has these already, for its loss
        began = time.perf_counter()
        memory.update(index, same, 0.5, scores=scores)
        updates.append(time.perf_counter() - began)
    best = seconds.index(min(seconds))
    return {
        "seconds": seconds[best],
        "gflops": speed[best],
        "update": min(updates),
        "epoch": build + (sum(seconds) + sum(updates)) / len(seconds) * images / batch,
        "positives": mined.sum().item() / batch,
    }


def per_epoch(name: str, features: torch.Tensor, rows: int, counted: Counted) -> dict[str, float]:
    """Mine the first `rows` images (whole identities) against all, as `train.mine_all` does, and scale by rows."""
    memory, miner, images = FeatureMemory.of(features), MINERS[name](), len(features)
    began = time.perf_counter()
    once = 0.0
    if getattr(miner, "reads_ranks", False):
        # What the walks ask of rows beyond the share is counted directly.
        memory.list_neighbours(miner.list_length, rows=rows)
    if name == "gsmlp":
        memory.adjacency_distance(torch.arange(1))
        once = time.perf_counter() - began
    counted.operations = 0
    for block in torch.arange(rows).split(memory.block_rows):
        miner(memory, block)
    total = time.perf_counter() - began
    return {"epoch": once + (total - once) * images / rows, "rows": rows}


def child(path: Path, images: int, dim: int, batch: int, name: str, schedule: str) -> None:
    features = torch.from_numpy(np.fromfile(path, dtype=np.float32, count=images * dim)).view(images, dim)
    counted = Counted()
    before = matmul_speed(features, batch)
    with torch.no_grad():
        if schedule == "batch":
            line = per_batch(name, features, batch, counted)
        else:
            rows = images if images < 100_000 else SHARE_ROWS // IMAGES * IMAGES
            line = per_epoch(name, features, rows, counted)
    line["matmul"] = max(before, matmul_speed(features, batch))
    line["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(line))


def measured(path: Path, images: int, options: argparse.Namespace, name: str, schedule: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(path), str(images), str(options.dim), str(options.batch)]
    done = subprocess.run([*command, name, schedule], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} per {schedule} at N = {images} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--miners", nargs="+", default=TIMED, choices=TIMED)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = []
    print(f"D = {options.dim}, B = {options.batch}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        "| N | miner | s a batch | GFLOP/s | matmul | of matmul | update | epoch: by batch | at once | rows | peak GB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows"
            write_rows(path, images, options.dim)
            for name in options.miners:
                batch = measured(path, images, options, name, "batch")
                epoch = measured(path, images, options, name, "epoch")
                lines.append({"images": images, "miner": name, "batch": batch, "epoch": epoch})
                share = "all" if epoch["rows"] == images else f"{epoch['rows']:,}"
                ratio = f"{batch['gflops'] / batch['matmul']:.0%}" if batch["gflops"] else "no product"
                print(
                    f"| {images:,} | {name} | {batch['seconds']:.3f} | {batch['gflops']:.0f} | {batch['matmul']:.0f} "
                    f"| {ratio} | {batch['update']:.3f} | {batch['epoch']:.0f} | {epoch['epoch']:.0f} | {share} "
                    f"| {max(batch['peak'], epoch['peak']) / 1e9:.2f} |",
                    flush=True,
                )
        product = 2 * images**2 * options.dim / 1e12
        print(f"published form at N = {images:,}: {images**2 * 4 / 1e9:.2f} GB and {product:.2f} TFLOP for every batch")
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6], sys.argv[7])
    else:
        main()
