"""Evaluation at the sizes of Market-1501 and VeRi-Wild's large test, and re-ranking without its N×N matrices.

Unit rows of random identities seen by random cameras stand in for features, so that mAP is neither 0 nor 1. Each size
is a process of its own; its peak memory counts the embeddings and the interpreter. At Market's size the plain form
follows in the same process: all scores at once, and for each query an argsort of the gallery, in NumPy.

    python benchmarks/evaluation.py                 # metrics at both sizes, the reference at Market's
    python benchmarks/evaluation.py --rerank        # re-ranking too, at both sizes: many minutes
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from resight.scoring import Scoring, score
from resight.types import Sample, Split

SIZES = {"market": (3_368, 15_913, 750, 6), "veriwild": (10_000, 128_517, 10_000, 174)}


def drawn_set(sizes: tuple[int, int, int, int], dim: int) -> list[tuple[torch.Tensor, Split]]:
    """Rows near their identity's centre and their camera's; every query's identity is in the gallery."""
    queries, gallery, identities, cameras = sizes
    random = np.random.default_rng(1)
    centres = torch.from_numpy(random.standard_normal((identities, dim), dtype=np.float32))
    colours = torch.from_numpy(random.standard_normal((cameras, dim), dtype=np.float32))
    splits = []
    for name, count in (("query", queries), ("gallery", gallery)):
        pids, camids = np.arange(count) % identities, random.integers(0, cameras, count)
        rows = torch.from_numpy(random.standard_normal((count, dim), dtype=np.float32)).mul_(3.0)
        for part in torch.arange(count).split(4096):
            rows[part] += centres[pids[part]] + 0.5 * colours[camids[part]]
            rows[part] = torch.nn.functional.normalize(rows[part], dim=1)
        facts = enumerate(zip(pids.tolist(), camids.tolist(), strict=True))
        splits.append((rows, Split(name, tuple(Sample(Path(f"{name}/{i}.jpg"), *known) for i, known in facts))))
    return splits


def plain(queries: Split, gallery: Split, scores: np.ndarray) -> list[tuple[float, float, float]]:
    """AP, CMC@1 and INP of each query by an argsort."""
    pids, camids = np.array(gallery.pids), np.array(gallery.camids)
    found = []
    for row, (pid, camid) in enumerate(zip(queries.pids, queries.camids, strict=True)):
        order = np.argsort(-scores[row], kind="stable")
        kept = ~((pids[order] == pid) & (camids[order] == camid))
        ranks = (pids[order][kept] == pid).nonzero()[0] + 1
        nan = float("nan")
        precision = (np.arange(1, len(ranks) + 1) / ranks).mean() if len(ranks) else nan
        found.append((precision, ranks[0] == 1, len(ranks) / ranks[-1]) if len(ranks) else (nan, nan, nan))
    return found


def child(what: str, size: str, dim: int) -> None:
    (q, query), (g, gallery) = drawn_set(SIZES[size], dim)
    drawn = peak()
    began = time.perf_counter()
    scoring = Scoring(rerank=what == "re-ranking")
    result = score((q, g), query, gallery, scoring=scoring, progress=tell)
    line = {"seconds": time.perf_counter() - began, "peak": peak(), "drawn": drawn}
    line["figures"] = (result.mAP, result.cmc[1], result.mINP)
    if what == "metrics" and size == "market":
        began = time.perf_counter()
        found = np.array(plain(query, gallery, (q @ g.T).numpy()))
        line["plain"] = {"seconds": time.perf_counter() - began, "peak": peak()}
        line["plain"]["figures"] = np.nanmean(found, axis=0).tolist()
        line["off"] = float(np.nanmax(np.abs(found[:, 0] - result.ap.numpy())))
        assert (np.isnan(found[:, 0]) == result.ap.isnan().numpy()).all()
    print(json.dumps(line))


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tell(done: int, total: int) -> None:
    print(f"\r{done / total:.0%}", end="", file=sys.stderr, flush=True)


def show(size: str, what: str, found: dict) -> None:
    queries, gallery, *_ = SIZES[size]
    print(
        f"| {queries:,} × {gallery:,} | {what} | {found['seconds']:.1f} | {found['peak'] / 2**30:.2f} | "
        f"{' / '.join(f'{100 * figure:.3f}' for figure in found['figures'])} |",
        flush=True,
    )


def line(what: str, size: str, dim: int) -> None:
    command = [sys.executable, __file__, "--child", what, "--size", size, "--dim", str(dim)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    show(size, what, found)
    if "plain" in found:
        show(size, "plain NumPy", found["plain"])
        ratio = found["plain"]["seconds"] / found["seconds"]
        print(f"{ratio:.1f} times as fast as plain; AP of a query differs by {found['off']:.1e} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rerank", action="store_true", help="re-ranking too")
    parser.add_argument("--sizes", default="market,veriwild")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.size, options.dim)
        return
    print(f"D = {options.dim}, {torch.get_num_threads()} threads")
    print("| queries × gallery | what | seconds | peak, GiB | mAP / CMC@1 / mINP, % |\n|---|---|---|---|---|")
    for size in options.sizes.split(","):
        for what in ("metrics", "re-ranking") if options.rerank else ("metrics",):
            line(what, size, options.dim)


if __name__ == "__main__":
    main()
