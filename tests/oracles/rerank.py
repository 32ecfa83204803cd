"""k-reciprocal re-ranking and query expansion straight from their definitions, on whole N×N matrices."""

import numpy as np
from torch import Tensor


class SlowReciprocal:
    """Everything of N rows: rankings, reciprocal sets, vectors, distances. Equal scores rank by row, own row first."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows.double().numpy()
        self.scores = self.rows @ self.rows.T
        self.n = len(self.rows)
        self.distance = np.maximum(0, 2 - 2 * self.scores)
        self.ranking = [
            sorted(range(self.n), key=lambda j, i=i: (j != i, -self.scores[i, j], j)) for i in range(self.n)
        ]

    def scaled(self) -> np.ndarray:
        """Distances, each row divided by its largest; a row of zeros stays so."""
        return np.stack([row / row.max() if row.max() > 0 else row for row in self.distance])

    def reciprocal(self, i: int, k: int) -> list[int]:
        """R(i, k), the row itself counted."""
        return [j for j in self.ranking[i][: k + 1] if i in self.ranking[j][: k + 1]]

    def expanded(self, i: int, k1: int) -> set[int]:
        """R*(i, k1)."""
        members = set(self.reciprocal(i, k1))
        result = set(members)
        for j in members:
            candidates = set(self.reciprocal(j, int(np.around(k1 / 2))))
            if 3 * len(candidates & members) > 2 * len(candidates):
                result |= candidates
        return result

    def vectors(self, k1: int, k2: int, *, expand: bool = True, scale: bool = True) -> np.ndarray:
        """V, averaged over the k2 nearest."""
        distance = self.scaled() if scale else self.distance
        vectors = np.zeros((self.n, self.n))
        for i in range(self.n):
            for j in self.expanded(i, k1) if expand else self.reciprocal(i, k1):
                vectors[i, j] = np.exp(-distance[i, j])
            vectors[i] /= vectors[i].sum()
        return np.stack([np.mean([vectors[j] for j in self.ranking[i][:k2]], axis=0) for i in range(self.n)])

    @staticmethod
    def jaccard(vectors: np.ndarray) -> np.ndarray:
        """1 − Σ min / Σ max of all pairs of rows."""
        result = []
        sums = vectors.sum(axis=1)
        for row, total in zip(vectors, sums, strict=True):
            least = np.minimum(vectors.T[row > 0], row[row > 0, None]).sum(axis=0)
            result.append(1 - least / (sums + total - least))
        return np.stack(result)

    def final(self, queries: int, k1: int, k2: int, lambda_: float) -> np.ndarray:
        """Distances of the first rows, the queries, to the others."""
        distance = (1 - lambda_) * self.jaccard(self.vectors(k1, k2)) + lambda_ * self.scaled()
        return distance[:queries, queries:]


def slow_expansion(query: Tensor, gallery: Tensor, k: int, alpha: float, *, own: bool = False) -> np.ndarray:
    """normalise(q + Σ max(s, 0)ᵅ g) over the k nearest g; `own`: query i is gallery row i and does not count."""
    result = []
    for i, q in enumerate(query.double().numpy()):
        scores = gallery.double().numpy() @ q
        order = sorted((j for j in range(len(gallery)) if not (own and j == i)), key=lambda j: (-scores[j], j))
        total = q.copy()
        for j in order[:k]:
            if scores[j] > 0:
                total += scores[j] ** alpha * gallery[j].double().numpy()
        norm = np.linalg.norm(total)
        result.append(total / norm if norm > 0 else total)
    return np.stack(result)
