"""GSMLP by loops over its definition: the N×N matrix, its rows' distances, sorted lists."""

from torch import Tensor


def similarity_matrix(features: Tensor) -> Tensor:
    """S with its diagonal set to 0, in float64."""
    s = features.double() @ features.double().T
    return s.fill_diagonal_(0)


def mined(features: Tensor, i: int, tau: float, least: int, most: int = 0) -> set[int]:
    """P(i) of GSMLP."""
    n = len(features)
    s = similarity_matrix(features)
    own = float(features[i].double() @ features[i].double())
    similarity = [own if j == i else float(s[i, j]) for j in range(n)]
    k = sum(value >= tau for value in similarity)
    if k <= 1:
        return {i}
    width = min(max(k, least), most or n)
    others = sorted((j for j in range(n) if j != i), key=lambda j: (-similarity[j], j))
    top = {i, *others[: width - 1]}
    distance = [float(((s[i] - s[j]) ** 2).sum()) for j in range(n)]
    adjacent = sorted(range(n), key=lambda j: (j != i, distance[j], j))[: width + 1]
    return (top & set(adjacent)) | {i}
