"""Labels of all images at once, once an epoch: what is looked at, the miner or the clustering, and what refines it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from resight.by_camera import standardise_by_camera
from resight.cluster_constraints import keep_tracklets, obey
from resight.clustering import OUTLIER, Graph, numbered, sizes
from resight.constraints import Constraints
from resight.memory import FeatureMemory
from resight.miners.cluster import Cluster, positives_of
from resight.refiners import adjacency_doubt, rank_doubt, refine
from resight.runlog import RunLog
from resight.schedules import between
from resight.sparse_rows import SparseRows
from resight.storage import BLOCK_BYTES, Rows
from resight.types import UNKNOWN_CAMID, SparsePositives

if TYPE_CHECKING:
    from resight.train import Parts

MINING_EVERY = 5  # seconds

DOUBT = {"ranks": rank_doubt, "adjacency": adjacency_doubt}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Mined:
    """Labels of an epoch.

    Attributes:
        positives: of each image.
        pseudo_pid: cluster of each image; None where the loss compares with images and none was needed.
        weights: what each image counts, 0..1; None: all the same.
    """

    positives: SparsePositives
    pseudo_pid: Int[Tensor, " n"] | None = None
    weights: Float[Tensor, " n"] | None = None

    def record(self) -> dict[str, int]:
        """Give the counts, for the log."""
        if self.pseudo_pid is None:
            return {}
        count = sizes(self.pseudo_pid)
        return {
            "clusters": len(count),
            "outliers": int((self.pseudo_pid == OUTLIER).sum()),
            "largest_cluster": int(count.max()) if len(count) else 0,
        }


def mine_all(parts: "Parts", progress: Progress, *, passed: float = 0.0) -> Mined:
    """Mine every image once, from the memory as it is now.

    `progress` is told rows done and rows in all; `passed`: share of the epochs that have passed, for what changes over
    them.
    """
    settings = parts.recipe.miner
    memory = looked_at(parts, passed)
    weights, done = None, 0
    if isinstance(parts.miner, Cluster):
        if parts.miner.list_length:
            for rows_listed in memory.listing(parts.miner.list_length, precision=settings.precision):
                done += rows_listed
                progress(done, len(memory))
        pseudo_pid = clustered(parts.miner, memory, parts.camids, parts.constraints)
        if settings.refine != "none":
            doubt = DOUBT[settings.refine](memory, pseudo_pid)
            pseudo_pid, weights = refine(pseudo_pid, doubt, settings.refine_how)
            pseudo_pid = keep_tracklets(pseudo_pid, parts.constraints)
        mined = Mined(positives_of(pseudo_pid), pseudo_pid, weights if settings.refine_how == "weigh" else None)
    else:
        positives = mined_in_blocks(parts, memory, progress)
        grouped = parts.recipe.memory.rows != "instance"
        mined = Mined(positives, groups_of(positives, parts.constraints) if grouped else None)
    memory.forget()
    parts.memory.forget()
    return mined


def clustered(
    miner: Cluster, memory: FeatureMemory, camids: Int[Tensor, " n"], constraints: Constraints
) -> Int[Tensor, " n"]:
    """Cluster the memory; cameras are made use of where any is known."""
    known = camids if bool((camids != UNKNOWN_CAMID).any()) else None
    return miner.cluster(memory, known, constraints)


def mined_in_blocks(parts: "Parts", memory: FeatureMemory, progress: Progress) -> SparsePositives:
    """Ask a miner for the positives of all images, block by block."""
    miner, settings = parts.miner, parts.recipe.miner
    wanted = getattr(miner, "reads_ranks", False) or settings.precision == "bfloat16"
    length = getattr(miner, "list_length", 0) if wanted else 0
    done, total = 0, len(memory) * (2 if length else 1)
    if length:
        for rows_listed in memory.listing(length, precision=settings.precision):
            done += rows_listed
            progress(done, total)

    def blocks() -> Iterator[Bool[Tensor, "b n"]]:
        for number, block in enumerate(torch.arange(len(memory), device=parts.device).split(memory.block_rows)):
            yield parts.constraints.apply(miner(memory, block), block)
            progress(done + number * memory.block_rows + len(block), total)

    return SparsePositives.from_blocks(blocks())


def looked_at(parts: "Parts", passed: float) -> FeatureMemory:
    """Give the memory to mine from: the rows as they are, or standardised per camera, with what is beside them."""
    memory = parts.memory
    beside = [(rows, weight) for rows, ends in parts.beside if (weight := between(ends, passed))]
    if not beside and not bool((parts.standard_camids != UNKNOWN_CAMID).any()):
        return memory
    # They are standardised over all images where cameras are not told apart; so must be what they stand beside.
    standardise_by_camera(memory.rows, parts.standard_camids, memory.spare())
    return FeatureMemory.over(joined(memory.spare(), beside) if beside else memory.spare())


def joined(rows: Rows, beside: Sequence[tuple[Rows, float]]) -> Rows:
    """Put other kinds of unit rows, each with a weight, beside `rows`; of unit length, zero stays zero."""
    both = rows.like(rows.dim + sum(kind.dim for kind, _ in beside))
    step = max(1, BLOCK_BYTES // (both.dim * 4))
    for block in torch.arange(len(rows), device=rows.device).split(step):
        piece = rows.read(block)
        others = [weight**0.5 * kind.read(block).to(piece) for kind, weight in beside]
        written = piece.any(dim=1, keepdim=True)
        both.write(block, normalize(torch.cat([piece, *others], dim=1), dim=1) * written)
    return both


def groups_of(positives: SparsePositives, constraints: Constraints | None = None) -> Int[Tensor, " n"]:
    """Give the clusters that positives form: images that are each other's positives, and theirs in turn, share one.

    Through others, images may come together that `constraints` keep apart: the less tied of the two leaves.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n = len(positives)
    marks = torch.ones(len(positives.columns), dtype=torch.int8).numpy()
    links = csr_array((marks, positives.columns.numpy(), positives.offsets.numpy()), shape=(n, n))
    mutual = csr_array(links.multiply(links.T))
    label = torch.from_numpy(connected_components(mutual, directed=False)[1]).long()
    pseudo_pid = numbered(label.masked_fill(label.bincount()[label] == 1, OUTLIER).numpy())
    if constraints is None or not constraints.binding:
        return pseudo_pid
    mutual.sort_indices()
    offsets, columns = mutual.indptr.astype(np.int64), mutual.indices.astype(np.int32)
    graph = Graph(SparseRows(offsets, columns, np.zeros(len(columns), dtype=np.float32), n), 0.5)
    return obey(pseudo_pid, graph, constraints)


def mining_progress(log: RunLog, epoch: int) -> Progress:
    """Log how far the mining of an epoch has come, every few seconds where it takes that long."""
    told = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > MINING_EVERY:
            told = time.monotonic()
            log.event("mining", epoch=epoch, done=done, total=total)

    return progress
