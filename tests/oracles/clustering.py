"""Jaccard distances, DBSCAN and the doubts about members straight from their definitions, on whole N×N matrices."""

import numpy as np
from torch import Tensor

OUTLIER = -1


def similarities(rows: Tensor) -> np.ndarray:
    """All cosines."""
    rows = rows.double().numpy()
    return rows @ rows.T


def ranking(scores: np.ndarray, i: int, among: list[int]) -> list[int]:
    """The images `among`, nearest to i first: i itself, then by falling score, ties by number."""
    return sorted(among, key=lambda j: (j != i, -scores[i, j], j))


def lists_of_all(scores: np.ndarray, k: int) -> list[list[int]]:
    """The k nearest of each image, itself counted."""
    return [ranking(scores, i, list(range(len(scores))))[:k] for i in range(len(scores))]


def lists_of_cameras(scores: np.ndarray, camids: list[int], k: int) -> list[list[int]]:
    """The k nearest of each camera; the best of each first, by score, then the second best."""
    result = []
    for i in range(len(scores)):
        placed = []
        for camid in sorted(set(camids)):
            here = [j for j, other in enumerate(camids) if other == camid]
            placed += [(place, j) for place, j in enumerate(ranking(scores, i, here)[:k])]
        place_of = {j: place for place, j in placed}
        result.append(sorted(place_of, key=lambda j: (place_of[j], j != i, -scores[i, j], camids[j], j)))
    return result


def jaccard(scores: np.ndarray, lists: list[list[int]], half_lists: list[list[int]], k2: int) -> np.ndarray:
    """Distances of k-reciprocal sets, expanded by half-length sets, weighed by exp(−(2 − 2s)), averaged over k2."""
    n = len(scores)
    full = [[j for j in lists[i] if i in lists[j]] for i in range(n)]
    half = [[j for j in half_lists[i] if i in half_lists[j]] for i in range(n)]
    vectors = np.zeros((n, n))
    for i in range(n):
        members = set(full[i])
        for j in full[i]:
            if 3 * len(set(half[j]) & set(full[i])) > 2 * len(half[j]):
                members |= set(half[j])
        for j in members:
            vectors[i, j] = np.exp(-max(0.0, 2 - 2 * scores[i, j]))
        vectors[i] /= vectors[i].sum()
    vectors = np.stack([np.mean([vectors[j] for j in lists[i][:k2]], axis=0) for i in range(n)])
    result = np.empty((n, n))
    for i in range(n):
        result[i] = 1 - np.minimum(vectors[i], vectors).sum(axis=1) / np.maximum(vectors[i], vectors).sum(axis=1)
    return result


def jaccard_of(rows: Tensor, k1: int, k2: int) -> np.ndarray:
    """Lists of k1 images, itself counted; those that expand hold round(k1 / 2) and itself."""
    scores = similarities(rows)
    return jaccard(scores, lists_of_all(scores, k1), lists_of_all(scores, int(np.around(k1 / 2)) + 1), k2)


def dbscan(distance: np.ndarray, eps: float, min_samples: int) -> list[int]:
    """Grow clusters from dense images one by one; what is not dense then joins its nearest dense image."""
    n = len(distance)
    near = [[j for j in range(n) if distance[i, j] <= eps] for i in range(n)]
    dense = [len(near[i]) >= min_samples for i in range(n)]
    label = [OUTLIER] * n
    count = 0
    for start in range(n):
        if not dense[start] or label[start] != OUTLIER:
            continue
        reached = [start]
        while reached:
            i = reached.pop()
            if label[i] == OUTLIER:
                label[i] = count
                reached += [j for j in near[i] if dense[j]]
        count += 1
    joined = list(label)
    for i in range(n):
        close = [j for j in near[i] if dense[j]]
        if not dense[i] and close:
            joined[i] = label[min(close, key=lambda j: (distance[i, j], j))]
    return numbered(joined)


def numbered(labels: list[int]) -> list[int]:
    """Clusters by their first member."""
    number: dict[int, int] = {OUTLIER: OUTLIER}
    for label in labels:
        number.setdefault(label, len(number) - 1)
    return [number[label] for label in labels]


def mates(pseudo_pid: list[int], i: int) -> list[int]:
    """The others of i's cluster."""
    if pseudo_pid[i] == OUTLIER:
        return []
    return [j for j, other in enumerate(pseudo_pid) if other == pseudo_pid[i] and j != i]


def adjacency_doubt(scores: np.ndarray, pseudo_pid: list[int]) -> list[float]:
    """Share of one's mates that are not among the m images with the nearest rows of S (diagonal 0), itself first."""
    s = scores.copy()
    np.fill_diagonal(s, 0)
    result = []
    for i in range(len(s)):
        others = mates(pseudo_pid, i)
        distance = ((s - s[i]) ** 2).sum(axis=1)
        nearest = sorted(range(len(s)), key=lambda j: (j != i, distance[j], j))[: len(others) + 1]
        result.append(sum(j not in nearest for j in others) / max(1, len(others)))
    return result


def rank_doubt(scores: np.ndarray, pseudo_pid: list[int]) -> list[float]:
    """Share of one's mates j with rank_j(i) = |{n : s_jn > s_ji}| beyond the size of the cluster."""
    result = []
    for i in range(len(scores)):
        others = mates(pseudo_pid, i)
        low = [int((scores[j] > scores[j, i]).sum()) > len(others) + 1 for j in others]
        result.append(sum(low) / max(1, len(others)))
    return result


def agreement(one: list[int], other: list[int]) -> list[float]:
    """|I ∩ I'| / |I ∪ I'|."""
    sets = [[{i, *mates(labels, i)} for i in range(len(labels))] for labels in (one, other)]
    return [len(a & b) / len(a | b) for a, b in zip(*sets, strict=True)]
