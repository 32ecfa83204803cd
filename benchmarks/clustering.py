"""Claim: one clustering of Market-1501's size takes 30 s at most on two cores after the search, 120,000 images 12 GiB.

    python benchmarks/clustering.py [--images 12936 37778 120000] [--dim 2048] [--equal 3000] [--json FILE]

Clustered unit rows, 17 of an identity, the published settings (k1 30, k2 6, eps 0.6, min_samples 4). First, at
`--equal` images, the sparse graph against the whole matrix of Jaccard distances, computed as published by loops over
rows (0: leave that out). Then a line for each size, in a process of its own so that its peak memory is its own:

- search: each row's 30 nearest; what the N×N products cost, in blocks.
- Jaccard: k-reciprocal encoding and the graph up to eps. DBSCAN, Infomap (where it is installed): the clusters.
- peak: of the whole process; "beyond": that less what it held once the rows were read (they and the interpreter).
- clusters, outliers, and the share of the identities that are exactly one cluster (rows' order tells identities).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import torch
from identities import IMAGES, identity_rows

from resight.clustering import OUTLIER, dbscan, infomap, jaccard_of, sizes
from resight.memory import FeatureMemory

SIZES = (12_936, 37_778, 120_000)
K1, K2, EPS, MIN_SAMPLES = 30, 6, 0.6, 4


def write_rows(path: Path, images: int, dim: int) -> None:
    """Write the rows as plain float32, so that the process that clusters them reads them and holds nothing else."""
    with path.open("wb") as file:
        for rows in identity_rows(images, dim, identities=481, common=0.6):
            rows.numpy().tofile(file)


def whole_matrix(features: np.ndarray) -> np.ndarray:
    """Jaccard distances as published: V, its average and the distances as N×N matrices, row by row."""
    n = len(features)
    scores = features @ features.T
    np.fill_diagonal(scores, 2)  # nothing comes before the image itself
    ranking = np.argsort(-scores, axis=1, kind="stable")
    np.fill_diagonal(scores, 1)
    mutual = [[r[np.any(ranking[r, :k] == i, axis=1)] for i, r in enumerate(ranking[:, :k])] for k in (K1, K1 // 2 + 1)]
    vectors = np.zeros((n, n), dtype=np.float32)
    for i, members in enumerate(mutual[0]):
        kept = [members]
        for j in members:
            offered = mutual[1][j]
            if len(np.intersect1d(offered, members)) > 2 / 3 * len(offered):
                kept.append(offered)
        union = np.unique(np.concatenate(kept))
        weights = np.exp(-(2 - 2 * scores[i, union]))
        vectors[i, union] = weights / weights.sum()
    vectors = np.stack([vectors[near].mean(axis=0) for near in ranking[:, :K2]])
    holders = [np.flatnonzero(column) for column in vectors.T]
    result = np.empty((n, n), dtype=np.float32)
    for i, row in enumerate(vectors):
        shared = np.zeros(n, dtype=np.float32)
        for j in np.flatnonzero(row):
            shared[holders[j]] += np.minimum(row[j], vectors[holders[j], j])
        result[i] = (1 - shared / (2 - shared)).clip(min=0)
    return result


def compare(images: int, dim: int) -> dict[str, float]:
    """Time both forms, and find where they differ most, neighbour search counted in both."""
    features = torch.cat(list(identity_rows(images, dim, identities=481, common=0.6)))
    began = time.perf_counter()
    whole = whole_matrix(features.numpy())
    direct = time.perf_counter() - began
    began = time.perf_counter()
    graph = jaccard_of(FeatureMemory.of(features), k1=K1, k2=K2, reach=0.99)
    ours = time.perf_counter() - began
    given, rows = np.ones_like(whole), graph.distances
    given[rows.row_of_entries(), rows.columns] = rows.values
    at = (given < 1) | (whole < 0.99 - 1e-5)
    return {"images": images, "direct": direct, "ours": ours, "difference": float(np.abs(given - whole)[at].max())}


def clustered_once(path: Path, images: int, dim: int) -> dict[str, float]:
    """Cluster the rows in a file once, step by step."""
    features = torch.from_numpy(np.fromfile(path, dtype=np.float32, count=images * dim)).view(images, dim)
    line, held = {}, psutil.Process().memory_info().rss
    memory = FeatureMemory.of(features)
    began = time.perf_counter()
    memory.list_neighbours(K1)
    line["search"] = time.perf_counter() - began
    began = time.perf_counter()
    graph = jaccard_of(memory, k1=K1, k2=K2, reach=EPS)
    line["jaccard"] = time.perf_counter() - began
    began = time.perf_counter()
    pseudo_pid = dbscan(graph, EPS, MIN_SAMPLES)
    line["dbscan"] = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line |= {"peak": peak, "beyond": peak - held, "edges": len(graph.distances.values) / images}
    if find_spec("infomap"):
        began = time.perf_counter()
        line["infomap_clusters"] = int(infomap(graph, EPS).max()) + 1
        line["infomap"] = time.perf_counter() - began
    identity = torch.arange(images) // IMAGES
    count = sizes(pseudo_pid)
    inside = pseudo_pid != OUTLIER
    pairs, members = torch.stack([pseudo_pid[inside], identity[inside]]).unique(dim=1, return_counts=True)
    exact = (members == count[pairs[0]]) & (members == identity.bincount()[pairs[1]])
    return line | {
        "clusters": len(count),
        "outliers": int((~inside).sum()) / images,
        "exact": int(exact.sum()) / (int(identity.max()) + 1),
    }


def measured(path: Path, images: int, dim: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(path), str(images), str(dim)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"clustering at N = {images} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="*", default=SIZES)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--equal", type=int, default=3000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"D = {options.dim}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    lines: list[dict[str, float]] = []
    if options.equal:
        lines.append(compare(options.equal, options.dim))
        line = lines[-1]
        print(
            f"N = {options.equal:,}: whole matrix {line['direct']:.1f} s, sparse {line['ours']:.2f} s "
            f"({line['direct'] / line['ours']:.0f}×), largest difference {line['difference']:.1e}"
        )
        if line["difference"] > 1e-5:
            sys.exit("the sparse graph differs from the whole matrix by more than 1e-5")
    print(
        "| N | search s | Jaccard s | DBSCAN s | Infomap s | peak GiB | beyond | edges | clusters | outliers | exact |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows"
            write_rows(path, images, options.dim)
            line = measured(path, images, options.dim)
        lines.append({"images": images, **line})
        print(
            f"| {images:,} | {line['search']:.1f} | {line['jaccard']:.1f} | {line['dbscan']:.2f} "
            f"| {line.get('infomap', float('nan')):.1f} | {line['peak'] / 2**30:.2f} | {line['beyond'] / 2**30:.2f} "
            f"| {line['edges']:.1f} | {line['clusters']:,} | {line['outliers']:.1%} | {line['exact']:.1%} |",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(clustered_once(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
