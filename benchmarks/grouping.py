"""How good are groups of crops of unknown identities? Identities are read here, by the score alone.

    python benchmarks/grouping.py halves RUN DATA.csv [RUN DATA.csv ...] [--camera-once]
    python benchmarks/grouping.py test RUN DATA [--camera-once]
    python benchmarks/grouping.py large [--images 100000] [--dim 1280]

`halves`: what settings may be chosen on. DATA.csv is the manifest of `label_free.py --fold`, which RUN was trained on:
one half of the *training* identities is trained on (and calibrated on, from the images alone), the crops of the other
half are grouped. It compares average linkage of k-reciprocal Jaccard distances, which `resight group` uses, with
average linkage of calibrated log-odds and with connected pairs above the calibrated threshold, each at its own setting
and at the best there is, which nobody knows without labels. "open": of every second identity one crop is kept, drawn
with a seed, which then should be alone.

`test`: groups query and gallery of a data set, each content once, by `resight group`'s defaults, and scores that once.

`large`: time and memory of grouping drawn unit rows; the target is 24 GB.

Scores are of pairs of crops: F1, precision and recall of "in one group"; ARI is the adjusted Rand index (Hubert, Arabie
1985). "sure": how often, of a rightly and a wrongly placed crop, the right one has the higher confidence (a crop is
rightly placed where most others of its group are of its identity, or it is alone and so in the truth).
"""

import argparse
import dataclasses
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from identities import identity_rows
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from resight.artifacts import load_model
from resight.calibrate import load_calibration
from resight.calibration_sources import Learnt, from_images
from resight.calibration_sources import Scored as Images
from resight.data.digests import content_digests, default_cache_dir
from resight.data.formats import read_dataset
from resight.groups.grouping import Grouping, group_crops
from resight.groups.linkage import by_first
from resight.groups.links import NO_GROUP
from resight.groups.settings import Asked, settled, trained_once
from resight.matching import Thresholds
from resight.run_images import embed_split
from resight.types import Dataset, Split

Labels = np.ndarray
HEAD = "| {} | F1 | precision | recall | ARI | groups of several | alone | sure |\n|---|---|---|---|---|---|---|---|"
RATE = 1e-3


def pair_counts(one: Labels, other: Labels | None = None) -> int:
    """How many pairs share a label (in both)."""
    codes = one if other is None else one * (int(other.max()) + 1) + other
    count = np.unique(codes, return_counts=True)[1]
    return int((count * (count - 1) // 2).sum())


def truth_of(pid: Labels) -> str:
    count = np.unique(pid, return_counts=True)[1]
    return f"{len(pid)} crops, {(count > 1).sum()} identities of several, {(count == 1).sum()} of one"


def line(name: str, cluster: Labels, pid: Labels, confidence: np.ndarray | None = None) -> str:
    """One row of a table."""
    cluster = by_first(cluster)
    both, found, true = pair_counts(cluster, pid), pair_counts(cluster), pair_counts(pid)
    size = np.bincount(cluster)
    sure = ""
    if confidence is not None:
        right = rightly(cluster, pid)
        sure = f"{roc_auc_score(right, confidence):.2f}" if 0 < right.sum() < len(right) else "–"
    return (
        f"| {name} | {2 * both / max(1, found + true):.3f} | {both / max(1, found):.3f} | {both / max(1, true):.3f} | "
        f"{adjusted_rand_score(pid, cluster):.3f} | {(size > 1).sum()} | {(size == 1).sum()} | {sure} |"
    )


def f1(cluster: Labels, pid: Labels) -> float:
    return 2 * pair_counts(cluster, pid) / max(1, pair_counts(cluster) + pair_counts(pid))


def rightly(cluster: Labels, pid: Labels) -> np.ndarray:
    """Which crops are placed rightly."""
    inside = cluster[:, None] == cluster
    same = inside & (pid[:, None] == pid)
    many = inside.sum(1) > 1
    alone = (pid[:, None] == pid).sum(1) == 1
    return np.where(many, 2 * (same.sum(1) - 1) > inside.sum(1) - 1, alone)


def clusters_of(grouping: Grouping) -> Labels:
    """A label for each crop: of its group, or its own."""
    alone = grouping.group == NO_GROUP
    return np.where(alone, grouping.group.max(initial=0) + 1 + np.arange(len(grouping)), grouping.group)


def merged(similarity: np.ndarray, least: float, camids: Labels | None) -> Labels:
    """Average linkage of a whole matrix, one merge after the other."""
    n = len(similarity)
    total, size, label = similarity.astype(np.float64).copy(), np.ones(n), np.arange(n)
    bad = np.eye(n, dtype=bool) if camids is None else camids[:, None] == camids
    mean = np.where(bad, -np.inf, total)
    while True:
        one, other = np.unravel_index(mean.argmax(), mean.shape)
        if not mean[one, other] >= least:
            return by_first(label)
        label[label == other] = one
        total[one] += total[other]
        total[:, one] += total[:, other]
        size[one] += size[other]
        bad[one] |= bad[other]
        bad[:, one] |= bad[:, other]
        bad[other] = bad[:, other] = True
        row = np.where(bad[one], -np.inf, total[one] / (size[one] * size))
        mean[one], mean[:, one] = row, row
        mean[other] = mean[:, other] = -np.inf


def connected(reached: np.ndarray) -> Labels:
    return connected_components(coo_array(reached), directed=False)[1]


def embedded(run: Path, split: Split) -> tuple[torch.Tensor, Split]:
    model, recipe = load_model(run)
    split, rows = embed_split(
        *(model, recipe.input.height_width, split),
        cache_dir=None,
        skip_broken=False,
        say=print,
        bar=lambda title: lambda done, total: None,
    )
    return rows, split


def opened(pid: Labels) -> np.ndarray:
    """Positions of the crops that are kept where every second identity has but one."""
    rare = set(np.unique(pid)[1::2].tolist())
    order = np.random.default_rng(0).permutation(len(pid))
    drawn = set(order[np.unique(pid[order], return_index=True)[1]].tolist())
    return np.flatnonzero([p not in rare or at in drawn for at, p in enumerate(pid.tolist())])


def best(cuts: Iterator[float], make: Callable[[float], Labels], pid: Labels) -> tuple[float, Labels]:
    """The cut with the highest F1."""
    tried = [(cut, make(cut)) for cut in cuts]
    return max(tried, key=lambda one: f1(one[1], pid))


def compare(rows: torch.Tensor, split: Split, learnt: Learnt, *, camera_once: bool) -> list[str]:
    """All candidates on one half."""
    camids, pid = torch.tensor(split.camids), np.array(split.pids)
    cameras = camids.numpy() if camera_once else None
    scores = rows @ rows.T
    odds = learnt.overall.log_odds(scores.double()).numpy()
    rules = settled(Asked(camera_once=camera_once), rows, camids)
    limit = Thresholds(learnt.overall.threshold, learnt.overall.threshold, RATE)
    said = []
    for name, by_camera in (("Jaccard, average linkage", True), ("… not by camera", False)):
        used = dataclasses.replace(rules, by_camera=by_camera)
        found = group_crops(rows, camids, used, thresholds=limit)
        said.append(line(f"{name}, {used.eps:g}", clusters_of(found), pid, found.confidence))
        cut, labels = best(
            (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93),
            lambda eps, used=used: clusters_of(group_crops(rows, camids, dataclasses.replace(used, eps=eps))),
            pid,
        )
        said.append(line(f"… at its best, {cut:g}", labels, pid))
    strict = group_crops(rows, camids, dataclasses.replace(rules, strict=True), thresholds=limit)
    said.append(
        line(f"… strict at rate {RATE:g}, cosine {limit.across:.3f}", clusters_of(strict), pid, strict.confidence)
    )
    said.append(line("log-odds, average linkage, 0", merged(odds, 0.0, cameras), pid))
    cuts = np.quantile(odds, np.linspace(0.5, 0.999, 25))
    cut, labels = best(cuts, lambda least: merged(odds, least, cameras), pid)
    said.append(line(f"… at its best, {cut:.1f}", labels, pid))
    said.append(line(f"connected, cosine {limit.across:.3f}", connected((scores >= limit.across).numpy()), pid))
    cuts = np.quantile(scores.numpy(), 1 - np.logspace(-1, -4.5, 40))
    cut, labels = best(cuts, lambda least: connected((scores >= least).numpy()), pid)
    said.append(line(f"… at its best, {cut:.3f}", labels, pid))
    return said


def halves(options: argparse.Namespace) -> None:
    for run, data in zip(options.pairs[::2], options.pairs[1::2], strict=True):
        dataset = read_dataset(Path(data), None)
        training, trained = embedded(Path(run), dataset.train)
        learnt = from_images(Images(training, trained), RATE)
        rows, split = embedded(Path(run), dataset.gallery)
        every = np.arange(len(split))
        for name, kept in (("all crops", every), ("open", opened(np.array(split.pids)))):
            part = split.at(tuple(kept.tolist()))
            print(f"\n{run}: {name}, {truth_of(np.array(part.pids))}\n")
            print(HEAD.format("groups by"))
            print("\n".join(compare(rows[kept], part, learnt, camera_once=options.camera_once)), flush=True)


def test_crops(dataset: Dataset) -> Split:
    """Query and gallery, each content once."""
    both = {s.picture: s for split in (dataset.query, dataset.gallery) for s in split if (s.pid or 0) >= 0}
    whole = Split("test", tuple(both.values()))
    first = dict.fromkeys(zip(content_digests(whole.pictures, default_cache_dir()), range(len(whole)), strict=True))
    seen: dict[str, int] = {}
    for digest, at in first:
        seen.setdefault(digest, at)
    return whole.at(tuple(seen.values()))


def test(options: argparse.Namespace) -> None:
    split = test_crops(read_dataset(options.data, None))
    rows, split = embedded(options.run, split)
    camids, pid = torch.tensor(split.camids), np.array(split.pids)
    asked = Asked(camera_once=True if options.camera_once else None)
    recipe = load_model(options.run)[1]
    rules = settled(asked, rows, camids, trained_once=trained_once(recipe))
    found = group_crops(rows, camids, rules, calibration=load_calibration(options.run))
    print(f"\n{options.run} (recipe {recipe.name}, seed {recipe.train.seed}) on {options.data}: {truth_of(pid)}")
    print(f"{rules}\n")
    print(HEAD.format("run"))
    print(line(options.run.name, clusters_of(found), pid, found.confidence))


def large(options: argparse.Namespace) -> None:
    rows = torch.cat(list(identity_rows(options.images, options.dim, identities=481, common=0.6)))
    camids = torch.arange(len(rows)) % 6
    began = time.perf_counter()
    rules = settled(Asked(), rows, camids)
    found = group_crops(rows, camids, rules)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(rows):,} crops of {rows.shape[1]} dimensions: {time.perf_counter() - began:.0f} s, peak {peak:.1f} GiB, "
        f"{found.groups:,} groups, {found.alone:,} alone, {torch.get_num_threads()} threads"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    for make in (halves, test, large):
        kind = kinds.add_parser(make.__name__)
        kind.set_defaults(run_it=make)
        if make is large:
            kind.add_argument("--images", type=int, default=100_000)
            kind.add_argument("--dim", type=int, default=1280)
            continue
        kind.add_argument("--camera-once", action="store_true")
        if make is halves:
            kind.add_argument("pairs", nargs="+", metavar="RUN DATA.csv")
        else:
            kind.add_argument("run", type=Path)
            kind.add_argument("data", type=Path)
    options = parser.parse_args()
    options.run_it(options)


if __name__ == "__main__":
    main()
