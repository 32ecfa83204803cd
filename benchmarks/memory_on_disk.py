"""Claim: a memory of 1,000,000 × 512 on disk is mined with less than 1 GiB of RAM beyond the interpreter's own.

    python benchmarks/memory_on_disk.py [--images 1000000 --dim 512 --rows 10000 --miner gsmlp]

The same rows (clusters of 17, in which every image's own identity is to be found) are mined once from a memory-mapped
file and once from RAM, `rows` images against all of them, each in a process of its own. Resident memory is VmRSS of
/proc/self/status, read every 20 ms by a thread, less what it was once Python, torch and resight were loaded and before
the memory was made; pages of the mapped file count in it for as long as they are mapped. The labels must be equal.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from identities import identity_rows

from resight.memory import FeatureMemory
from resight.miners import MINERS
from resight.storage import DiskRows, Rows


def resident() -> int:
    """Bytes of this process in RAM."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this benchmark needs /proc (Linux)")


class Watch:
    """The highest resident memory while it is open."""

    def __enter__(self) -> "Watch":
        self.peak, self.open = 0, True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self) -> None:
        """Look, again and again."""
        while self.open:
            self.peak = max(self.peak, resident())
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self.open = False
        self.thread.join()


def fill(rows: Rows) -> None:
    first = 0
    for part in identity_rows(len(rows), rows.dim, identities=1000):
        rows.write(torch.arange(first, first + len(part)), part)
        first += len(part)


def child(place: str, folder: str, options: argparse.Namespace) -> None:
    base = resident()
    shape = (options.images, options.dim)
    with Watch() as watch, torch.no_grad():
        rows = DiskRows(Path(folder), *shape) if place == "disk" else Rows(torch.zeros(*shape))
        fill(rows)
        memory, miner = FeatureMemory.over(rows), MINERS[options.miner]()
        generator = torch.Generator().manual_seed(2)
        chosen = torch.randperm(options.images, generator=generator)[: options.rows].sort().values
        digest, positives = hashlib.sha256(), 0
        began = time.perf_counter()
        for block in chosen.split(memory.block_rows):
            found = miner(memory, block).nonzero()
            positives += len(found)
            digest.update(found.to(torch.int32).numpy().tobytes())
        seconds = time.perf_counter() - began
    line = {"seconds": seconds, "extra": watch.peak - base, "labels": digest.hexdigest(), "positives": positives}
    print(json.dumps(line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--miner", choices=MINERS, default="gsmlp")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the file may lie")
    options = parser.parse_args()
    if options.child:
        return child(options.child, str(options.folder), options)
    lines = {}
    for place in ("disk", "ram"):
        command = [sys.executable, __file__, *sys.argv[1:], "--child", place]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{place} failed:\n{done.stderr}")
        lines[place] = json.loads(done.stdout)
        print(
            f"{place:5s} {lines[place]['seconds']:8.1f} s, {lines[place]['extra'] / 2**20:7.0f} MiB resident beyond "
            f"the interpreter's own, {lines[place]['positives'] / options.rows:.1f} positives an image",
            flush=True,
        )
    disk, ram = lines["disk"], lines["ram"]
    print(
        f"{options.miner}, {options.rows:,} rows against all {options.images:,} x {options.dim}: the disk takes "
        f"{disk['seconds'] / ram['seconds']:.2f} times as long; labels equal: {disk['labels'] == ram['labels']}"
    )
    return None


if __name__ == "__main__":
    main()
