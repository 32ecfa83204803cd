"""Every miner by loops over its definition, one image at a time, in float64.

`s` is the list of rows of `similarity(features)`. Wherever images are ordered by closeness, the own image comes first,
and equally close ones follow in the order in which they stand.
"""

Rows = list[list[float]]


def similarity(features: Rows) -> Rows:
    """s_ij = m_i · m_j, own products on the diagonal (1, or 0 for a row that is not written)."""
    return [[sum(x * y for x, y in zip(a, b, strict=True)) for b in features] for a in features]


def zero_diagonal(s: Rows) -> Rows:
    """S of the papers."""
    return [[0.0 if i == j else value for j, value in enumerate(row)] for i, row in enumerate(s)]


def reach(s: Rows, i: int, tau: float) -> int:
    """k_i = |{j : s_ij ≥ τ}|."""
    return sum(1 for value in s[i] if value >= tau)


def candidates(s: Rows, i: int, tau: float, least: int, most: int) -> int:
    """K_i = max(k_i, L), bounded by `most` where that is not 0, and by N."""
    count = max(reach(s, i, tau), least)
    if most != 0:
        count = min(count, most)
    return min(count, len(s))


def top(s: Rows, i: int, count: int) -> list[int]:
    """Top(i, count), in order of falling similarity."""
    return sorted(range(len(s)), key=lambda j: (j != i, -s[i][j], j))[:count]


def rank(s: Rows, j: int, i: int) -> int:
    """Position of i in j's own ranking of all images: how many j resembles more than i."""
    return sum(1 for value in s[j] if value > s[j][i])


def row_distances(matrix: Rows, i: int) -> list[float]:
    """Squared distance of row i to each row."""
    return [sum((x - y) ** 2 for x, y in zip(matrix[i], row, strict=True)) for row in matrix]


def nearest_rows(matrix: Rows, i: int, count: int) -> list[int]:
    """The `count` rows nearest to row i."""
    distance = row_distances(matrix, i)
    return sorted(range(len(matrix)), key=lambda j: (j != i, distance[j], j))[:count]


def self_only(s: Rows, i: int) -> set[int]:
    """P(i) = {i}."""
    return {i}


def knn(s: Rows, i: int, k: int = 10) -> set[int]:
    """P(i) = Top(i, k)."""
    return set(top(s, i, k))


def similar(s: Rows, i: int, tau: float = 0.6, min_candidates: int = 10, max_candidates: int = 0) -> set[int]:
    """SS: P(i) = Top(i, K_i)."""
    return set(top(s, i, candidates(s, i, tau, min_candidates, max_candidates)))


def walked(s: Rows, i: int, width: int) -> list[int]:
    """Walk Top(i, K_i) up to the first j that ranks i below place K_i."""
    prefix = []
    for j in top(s, i, width):
        if j != i and rank(s, j, i) > width:
            break
        prefix.append(j)
    return prefix


def mplp(s: Rows, i: int, tau: float = 0.6, min_candidates: int = 10, max_candidates: int = 0) -> set[int]:
    """The walked prefix, cut to k_i items, and i."""
    prefix = walked(s, i, candidates(s, i, tau, min_candidates, max_candidates))
    return {*prefix[: reach(s, i, tau)], i}


def gsmlp(s: Rows, i: int, tau: float = 0.6, min_candidates: int = 10, max_candidates: int = 0) -> set[int]:
    """P(i) = (Top(i, K_i) ∩ Adj(i, K_i + 1)) ∪ {i}, and {i} where k_i is 1 (or 0: a row that is not written)."""
    if reach(s, i, tau) <= 1:
        return {i}
    width = candidates(s, i, tau, min_candidates, max_candidates)
    adjacent = nearest_rows(zero_diagonal(s), i, width + 1)
    return (set(top(s, i, width)) & set(adjacent)) | {i}


def dplm(
    s: Rows, i: int, tau: float = 0.6, min_candidates: int = 10, max_candidates: int = 0, neighbourhood: int = 100
) -> set[int]:
    """P(i) = ((a) ∩ (c) ∪ {i}) ∩ (b), and i."""
    width = candidates(s, i, tau, min_candidates, max_candidates)
    a = set(top(s, i, width))
    b = mplp(s, i, tau, min_candidates, max_candidates)
    # (c): the matrix of the most similar images among themselves; i is its row 0.
    around = top(s, i, neighbourhood)
    own_matrix = zero_diagonal([[s[j][other] for other in around] for j in around])
    c = {around[place] for place in nearest_rows(own_matrix, 0, width)}
    return (((a & c) | {i}) & b) | {i}
