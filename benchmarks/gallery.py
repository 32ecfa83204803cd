"""A gallery of drawn embeddings: how fast it is filled and searched, beside a plain matmul in memory in the same run.

    python benchmarks/gallery.py [--entries 100000] [--dim 1280] [--queries 100] [--gallery FOLDER-OR-ADDRESS]

One query at a time, as a person asks, with and without a filter that a fifth of the entries meet, and all at once.
`recall@10`: share of the ten best by exact search that are found. Memory is the peak of this process, the embedded
engine and the drawn embeddings (4 bytes a number) included. The rows have clusters of ten, as crops of one identity.
"""

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from resight.gallery import Entry, Gallery, Where

BATCH = 1024
CAMERAS = 5


def drawn(count: int, dim: int) -> Tensor:
    """Unit rows, ten around each of many centres."""
    draw = torch.Generator().manual_seed(1)
    centres = torch.randn(-(-count // 10), dim, generator=draw)
    rows = torch.empty(count, dim)
    for first in range(0, count, BATCH):
        part = rows[first : first + BATCH]
        part.copy_(centres[torch.arange(first, first + len(part)) // 10])
        part += torch.randn(part.shape, generator=draw)
        part /= part.norm(dim=1, keepdim=True)
    return rows


def timed(ask: Callable[[Tensor], object], queries: Tensor) -> str:
    """p50 and p95 of one query at a time, in ms; the first, which warms up, does not count."""
    seconds = []
    for query in queries:
        began = time.perf_counter()
        ask(query.unsqueeze(0))
        seconds.append(time.perf_counter() - began)
    middle, high = torch.tensor(seconds[1:]).quantile(torch.tensor([0.5, 0.95])).tolist()
    return f"p50 {1000 * middle:.1f} ms, p95 {1000 * high:.1f} ms"


def peak() -> str:
    """Most memory that the process has had."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"


def fill(gallery: Gallery, rows: Tensor) -> float:
    """Add all rows; gives the seconds it took."""
    began = time.perf_counter()
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        entries = [Entry(f"{n:032x}", Path(f"/crops/{n}.jpg"), camid=n % CAMERAS, timestamp=float(n))
                   for n in range(first, first + len(part))]  # fmt: skip
        gallery.add(entries, part)
    return time.perf_counter() - began


def recall(gallery: Gallery, rows: Tensor, queries: Tensor, where: Where, allowed: Tensor) -> float:
    """Share of the exact ten best that the gallery gives."""
    scores = (queries @ rows.T).masked_fill(~allowed, -2)
    exact = scores.topk(10, dim=1).indices.tolist()
    found = [{int(hit.entry.id, 16) for hit in hits} for hits in gallery.search(queries, 10, where)]
    return sum(len(set(best) & hits) for best, hits in zip(exact, found, strict=True)) / (10 * len(queries))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--gallery", help="a place that does not exist yet; default: a temporary folder")
    options = parser.parse_args()
    rows = drawn(options.entries, options.dim)
    queries = torch.nn.functional.normalize(rows[:: max(1, len(rows) // options.queries)][: options.queries]
                                            + 0.5 * torch.randn(1, options.dim) / options.dim**0.5)  # fmt: skip
    print(f"{len(rows):,} × {options.dim} float32, {len(queries)} queries, {torch.get_num_threads()} threads; "
          f"memory with the rows drawn: {peak()}")  # fmt: skip
    print(f"in memory, matmul and top-k: {timed(lambda q: (q @ rows.T).topk(10), queries)}; memory {peak()}")
    temporary = Path(tempfile.mkdtemp())
    uri = options.gallery or str(temporary / "gallery.db")
    where, allowed = Where(camids=(1,)), torch.arange(len(rows)) % CAMERAS == 1
    try:
        with Gallery.create(uri, fingerprint="benchmark", dim=options.dim) as gallery:
            seconds = fill(gallery, rows)
            print(f"added {len(rows) / seconds:,.0f} entries/s; memory {peak()}")
            began = time.perf_counter()
            gallery.search(queries[:1])
            print(f"first search: {time.perf_counter() - began:.2f} s")
            print(f"search: {timed(lambda q: gallery.search(q, 10), queries)}")
            print(f"search with a filter: {timed(lambda q: gallery.search(q, 10, where), queries)}")
            began = time.perf_counter()
            gallery.search(queries, 10)
            print(f"{len(queries)} queries at once: {1000 * (time.perf_counter() - began) / len(queries):.1f} ms each")
            whole = recall(gallery, rows, queries, Where(), torch.ones_like(allowed))
            part = recall(gallery, rows, queries, where, allowed)
            print(f"recall@10: {whole:.4f}, with the filter {part:.4f}; memory {peak()}")
        began = time.perf_counter()
        with Gallery.open(uri) as gallery:
            gallery.search(queries[:1])
            print(f"opened again and searched: {time.perf_counter() - began:.2f} s")
            size = gallery.folder and sum(f.stat().st_size for f in gallery.folder.rglob("*") if f.is_file())
            print(f"on the disk: {(size or 0) / 1e9:.2f} GB")
    finally:
        shutil.rmtree(temporary)


if __name__ == "__main__":
    main()
