"""Re-ranking and query expansion against their definitions on whole matrices, hand-worked cases, and what they take."""

import functools
import tracemalloc

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import resight.reciprocal
from memories import KINDS, clustered, drawn, on_circle
from oracles.rerank import SlowReciprocal, slow_expansion
from resight.errors import ConfigError, DataError, ShapeError
from resight.reciprocal import Stacked, encode, expanded, half, jaccard_graph, list_nearest, members, reciprocal
from resight.rerank import KReciprocal, expand_queries
from resight.sparse_rows import SparseRows, summed


def reranked(query: Tensor, gallery: Tensor, **parameters) -> Tensor:
    return KReciprocal.of(query, gallery, **parameters).rescore(0, query @ gallery.T)


def dense(rows: SparseRows, fill: float = 0.0) -> np.ndarray:
    full = np.full((len(rows), rows.width), fill)
    full[rows.row_of_entries(), rows.columns] = rows.values
    return full


def encoded(features: Tensor, k1: int, k2: int, *, expand: bool = True, scale: bool = True) -> SparseRows:
    rows = Stacked(features)
    lists, lowest = list_nearest(rows, k1 + 1)
    return encode(lists, rows, expand_by=half(k1) + 1 if expand else None, k2=k2, lowest=lowest if scale else None)


# A query at 0° and a gallery at 10°, 25° and 90°; k1 = 1. Lists: 0 [0, 1], 1 [1, 0], 2 [2, 1], 3 [3, 2]: only rows 0
# and 1 have each other. Squared distances of row 0: 0, .030385, .187384, 2; the one of row 1 to its farthest: 1.652704.
CIRCLE = on_circle(0, 10, 25, 90)


def test_a_case_worked_by_hand():
    # Row 0 weighs 1 and exp(−.030385 / 2) = .984923, divided by their sum: (.503798, .496202).
    # Row 1 weighs exp(−.030385 / 1.652704) = .981783 and 1: (.495404, .504596).
    # Σ min = .495404 + .496202 = .991606; Jaccard = 1 − .991606 / (2 − .991606) = .016648.
    # Final: .7 · .016648 + .3 · .015192 = .016211; rows 2 and 3 share nothing: .7 + .3 · .093692 and .7 + .3 · 1.
    scores = reranked(CIRCLE[:1], CIRCLE[1:], k1=1, k2=1)
    assert scores[0].tolist() == pytest.approx([-0.016211, -0.728108, -1.0], abs=1e-6)


def test_the_vectors_of_the_nearest_are_averaged():
    # k2 = 2: rows 0 and 1 both become the mean of their two vectors, (.499601, .500399); row 2 the mean of its own,
    # (0, 0, 1, 0), and row 1's: (.247702, .252298, .5, 0), so that Σ min with row 0 is .5 and Jaccard 1 − .5 / 1.5.
    scores = reranked(CIRCLE[:1], CIRCLE[1:], k1=1, k2=2, lambda_=0.0)
    assert scores[0].tolist() == pytest.approx([0.0, -2 / 3, -1.0], abs=1e-6)


def test_a_neighbour_is_reciprocal_if_both_lists_have_it():
    index = np.array([[0, 1, 2], [1, 2, 3], [2, 0, 3], [3, 2, 1]], dtype=np.int32)
    assert reciprocal(index).tolist() == [[True, False, True], [True, False, True], [True, True, True], [True] * 3]
    assert reciprocal(index[:, :2]).tolist() == [[True, False], [True, False], [True, False], [True, False]]


@pytest.mark.parametrize(
    ("close", "union"),
    [
        ([1, 0, 2], [0, 1]),  # two of three lie in R(0): not more than ⅔
        ([1, 0, 4], [0, 1, 4]),  # all three
        ([1, 0, 4, 3], [0, 1, 3, 4]),  # three of four: row 3 is new
        ([1, 2, 4, 3], [0, 1, 4]),  # two of four
    ],
)
def test_a_set_expands_by_what_shares_more_than_two_thirds_with_it(close: list[int], union: list[int]):
    inside = [0, 1, 4] if 4 in union else [0, 1]
    marks = np.zeros((1, 5), dtype=bool)
    marks[0, inside] = True
    lists = np.arange(5, dtype=np.int32)[:, None].repeat(len(close), axis=1)
    lists[1] = close
    mutual = np.zeros(lists.shape, dtype=bool)
    mutual[:, 0] = mutual[1] = True  # the other sets hold only themselves
    places = members(np.arange(5, dtype=np.int32)[None], marks, 5)
    assert expanded(places, lists, mutual).tolist() == union


@pytest.mark.parametrize(("k1", "expected"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4), (20, 10), (21, 10)])
def test_half_of_k1_rounds_to_the_even_number(k1: int, expected: int):
    assert half(k1) == expected == int(np.around(k1 / 2))


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_definition(kind: str, seed: int):
    generator = torch.Generator().manual_seed(seed)
    images = drawn(generator, 2, 60)
    features = KINDS[kind](images, seed, generator)
    queries, k1 = drawn(generator, 1, images - 1), drawn(generator, 1, 25)
    k2, lambda_ = drawn(generator, 1, min(7, k1 + 1)), drawn(generator, 0, 10) / 10
    expected = -SlowReciprocal(features).final(queries, k1, k2, lambda_)
    scores = reranked(features[:queries], features[queries:], k1=k1, k2=k2, lambda_=lambda_)
    assert np.allclose(scores.numpy(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_definition_with_the_published_parameters(seed: int):
    features = clustered(300, 16, 12, 0.5, seed)
    scores = reranked(features[:40], features[40:])
    assert np.allclose(scores.numpy(), -SlowReciprocal(features).final(40, 20, 6, 0.3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [(5, 1, 1), (7, 5, 3), (13, 64, 50)])
@pytest.mark.parametrize("kind", ["random_clusters", "tied", "duplicated"])
def test_sizes_of_blocks_do_not_change_the_result(kind: str, sizes: tuple, monkeypatch: pytest.MonkeyPatch):
    features = KINDS[kind](70, 1, torch.Generator().manual_seed(5))
    whole = reranked(features[:30], features[30:], k1=8, k2=3)
    for name, size in zip(("ROWS_AT_A_TIME", "COLUMNS_AT_A_TIME", "ENTRIES_AT_A_TIME"), sizes, strict=True):
        monkeypatch.setattr(resight.reciprocal, name, size)
    assert torch.allclose(reranked(features[:30], features[30:], k1=8, k2=3), whole, atol=1e-6)


def test_queries_are_rescored_in_any_order_and_number():
    features = clustered(80, 8, 6, 0.4, 0)
    query, gallery = features[:30], features[30:]
    reranking = KReciprocal.of(query, gallery, k1=8, k2=3)
    whole = reranking.rescore(slice(None), query @ gallery.T)
    index = torch.tensor([7, 0, 29, 7])
    assert torch.allclose(reranking.rescore(index, query[index] @ gallery.T), whole[index], atol=1e-6)
    assert torch.allclose(reranking.rescore(11, query[11:20] @ gallery.T), whole[11:20], atol=1e-6)
    assert torch.allclose(reranking.rescore(slice(5, 6), query[5:6] @ gallery.T), whole[5:6], atol=1e-6)
    assert reranking.rescore(slice(0, 0), query[:0] @ gallery.T).shape == (0, 50)


def test_scores_are_changed_in_place():
    scores = CIRCLE[:1] @ CIRCLE[1:].T
    assert KReciprocal.of(CIRCLE[:1], CIRCLE[1:]).rescore(0, scores) is scores


@pytest.mark.parametrize("seed", range(10))
def test_a_gallery_in_another_order_gives_the_scores_in_that_order(seed: int):
    features = clustered(70, 8, 6, 0.4, seed).double()
    query, gallery = features[:20], features[20:]
    order = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(reranked(query, gallery[order]), reranked(query, gallery)[:, order], atol=1e-6)


def test_with_lambda_1_the_gallery_ranks_as_by_cosine():
    features = clustered(200, 8, 6, 0.4, 0).double()
    query, gallery = features[:50], features[50:]
    scores = reranked(query, gallery, lambda_=1.0)
    assert torch.equal(scores.argsort(dim=1, descending=True), (query @ gallery.T).argsort(dim=1, descending=True))


def test_what_shares_neighbours_with_the_query_comes_before_what_is_only_near():
    # Query 0 and rows 1 to 4 stand close together. Row 5 is nearer to the query than row 4, but of another group.
    rows = on_circle(0, 4, 5, 6, 9.5, -9, -10, -11, -12, -13)
    query, gallery = rows[:1], rows[1:]
    assert (query @ gallery.T)[0, 4] > (query @ gallery.T)[0, 3]
    scores = reranked(query, gallery, k1=4, k2=1)[0]
    assert scores[3] > scores[4]


@pytest.mark.parametrize("kind", ["identical", "unwritten"])
def test_images_that_do_not_differ_get_finite_scores(kind: str):
    features = KINDS[kind](40, 0, torch.Generator().manual_seed(0))
    scores = reranked(features[:10], features[10:])
    assert scores.isfinite().all() and scores.min() >= -1 and scores.max() <= 1e-6


def test_more_neighbours_than_images_are_all_of_them():
    features = clustered(12, 4, 3, 0.5, 0)
    asked, all_of_them = (reranked(features[:5], features[5:], k1=k1, k2=12, lambda_=0.5) for k1 in (50, 25))
    assert asked.isfinite().all()
    assert torch.allclose(asked, all_of_them)  # of 12 images both list all, and expand by lists of all


@functools.cache
def thousand() -> tuple[Tensor, SlowReciprocal]:
    features = clustered(1000, 16, 40, 0.4, 0).double()
    return features, SlowReciprocal(features)


@pytest.mark.parametrize(("k2", "expand", "scale"), [(1, False, False), (6, True, True), (6, True, False)])
def test_the_graph_of_jaccard_distances_is_the_dense_one(k2: int, *, expand: bool, scale: bool):
    features, slow = thousand()
    vectors = encoded(features, 12, k2, expand=expand, scale=scale)
    expected = slow.vectors(12, k2, expand=expand, scale=scale)
    assert np.allclose(dense(vectors), expected, atol=1e-6)
    graph = jaccard_graph(vectors)
    distances = dense(graph, 1.0)
    assert np.allclose(distances, slow.jaccard(expected), atol=1e-5)
    assert len(graph.values) < 0.2 * 1000**2  # it is sparse
    near = jaccard_graph(vectors, most=0.5)
    assert np.array_equal(near.values, distances[distances < 0.5])
    assert 1000 < len(near.values) < len(graph.values)


def test_the_vectors_sum_to_one():
    vectors = encoded(clustered(500, 16, 10, 0.5, 0), 20, 6)
    sums = np.add.reduceat(vectors.values.astype(float), vectors.offsets[:-1])
    assert np.allclose(sums, 1, atol=1e-6)


def test_a_matrix_is_turned():
    rows = SparseRows(np.array([0, 2, 2, 4]), np.array([0, 3, 0, 1], np.int32), np.array([1, 2, 3, 4], np.float32), 5)
    assert np.array_equal(dense(rows.turned()), dense(rows).T)
    assert np.array_equal(dense(rows.turned(1)), dense(rows)[1:].T)
    assert np.array_equal(dense(rows.take(np.array([2, 0, 2]))), dense(rows)[[2, 0, 2]])


def test_values_of_one_place_are_summed_in_the_same_order_whatever_order_they_come_in():
    generator = np.random.default_rng(0)
    places = generator.integers(0, 2**32, 50)[generator.integers(0, 50, 2000)]
    values = generator.random(2000, dtype=np.float32)
    order = generator.permutation(2000)
    first, second = summed(places, values), summed(places[order], values[order])
    assert np.array_equal(first[0], np.unique(places)) and np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert np.allclose(first[1], [values[places == place].sum() for place in first[0]])
    assert len(summed(places[:0], values[:0])[0]) == 0


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_what_it_takes_grows_as_the_images_do_not_as_their_square(monkeypatch: pytest.MonkeyPatch):
    for name, size in (("ROWS_AT_A_TIME", 100), ("COLUMNS_AT_A_TIME", 400), ("ENTRIES_AT_A_TIME", 2**12)):
        monkeypatch.setattr(resight.reciprocal, name, size)
    taken = []
    for images in (800, 3200):
        features = clustered(images, 8, images // 20, 0.3, 0)
        with Largest() as largest:
            torch.arange(1)  # what the mode itself takes
            tracemalloc.start()
            reranking = KReciprocal.of(features[:100], features[100:])
            reranking.rescore(0, features[:10] @ features[100:].T)
            taken.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert largest.elements <= max(100 * 400, images * 21)
    assert taken[1] < 4.4 * taken[0]
    assert taken[1] < 4 * 3200**2 / 8  # bytes


def test_progress_is_told_rows_of_all():
    told: list[tuple[int, int]] = []
    KReciprocal.of(CIRCLE[:1], CIRCLE[1:], progress=lambda *at: told.append(at))
    assert told == [(1, 4), (4, 4)]


def test_embeddings_are_taken_by_their_direction_and_unit_rows_where_they_lie():
    features = clustered(60, 8, 6, 0.4, 0)
    lengths = torch.linspace(0.1, 9, 60).unsqueeze(1)
    long = (features * lengths)[:20], (features * lengths)[20:]
    scores = features[:20] @ features[20:].T
    given = KReciprocal.of(*long).rescore(0, scores.clone())
    assert torch.allclose(given, reranked(features[:20], features[20:]), atol=1e-5)
    assert resight.rerank.unit_rows(features, "query").data_ptr() == features.data_ptr()
    wide = KReciprocal.of(features[:20].double(), features[20:]).rescore(0, scores.clone())
    assert torch.allclose(wide, given, atol=1e-5)


@pytest.mark.parametrize("seed", range(60))
def test_queries_expand_as_defined(seed: int):
    generator = torch.Generator().manual_seed(seed)
    kind = list(KINDS)[seed % len(KINDS)]
    features = KINDS[kind](drawn(generator, 2, 40), seed, generator).double()
    queries, k, alpha = drawn(generator, 1, len(features) - 1), drawn(generator, 1, 12), drawn(generator, 0, 6) / 2
    query, gallery = features[:queries], features[queries:]
    given = expand_queries(query, gallery, k=k, alpha=alpha)
    assert np.allclose(given.numpy(), slow_expansion(query, gallery, k, alpha), atol=1e-9)
    given = expand_queries(features, features, k=k, alpha=alpha, own=torch.arange(len(features)))
    assert np.allclose(given.numpy(), slow_expansion(features, features, k, alpha, own=True), atol=1e-9)


def test_a_query_that_stands_in_the_gallery_is_encoded_once():
    features = clustered(80, 8, 8, 0.5, 1)
    gallery, queries = features[20:], torch.cat([features[25:35], features[:20], features[60:65]])
    own = torch.tensor([*range(5, 15), *[-1] * 20, *range(40, 45)])
    scores = queries @ gallery.T
    once = KReciprocal.of(queries, gallery, k1=7, k2=3, own=own).rescore(0, scores.clone())
    # The same as a search among the 80 images, each there once: of its rows take those of the queries, of its columns
    # those of the gallery.
    slow = SlowReciprocal(features)
    whole = -(0.7 * slow.jaccard(slow.vectors(7, 3)) + 0.3 * slow.scaled())
    at = [*range(25, 35), *range(20), *range(60, 65)]
    assert np.allclose(once.numpy(), whole[at][:, 20:], atol=1e-5)
    twice = KReciprocal.of(queries, gallery, k1=7, k2=3).rescore(0, scores.clone())
    assert not torch.allclose(twice, once, atol=1e-3)


def test_an_own_row_is_not_added_and_makes_room_for_the_next():
    query, gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6]])
    given = expand_queries(query, gallery, k=1, alpha=0, own=torch.tensor([1, -1]))
    # The first query takes (.8, .6): (1.8, .6), of length 1.897367; the second takes (1, 0) and stays.
    assert given[0].tolist() == pytest.approx([0.948683, 0.316228], abs=1e-5)
    assert given[1].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_an_expansion_worked_by_hand():
    # (1, 0) with its two nearest, (.8, .6) and (.6, .8), at cosines .8 and .6. α = 0: the sum (2.4, 1.4), of length
    # 2.778489. α = 1: (1 + .64 + .36, .48 + .48) = (2, .96), of length 2.218468. The third, at −1, is never added.
    query, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [-1.0, 0.0], [0.8, 0.6]])
    assert expand_queries(query, gallery, k=2, alpha=0)[0].tolist() == pytest.approx([0.863779, 0.503871], abs=1e-5)
    assert expand_queries(query, gallery, k=2, alpha=1)[0].tolist() == pytest.approx([0.901523, 0.432731], abs=1e-5)
    assert torch.equal(expand_queries(query, gallery, k=9, alpha=0), expand_queries(query, gallery, k=2, alpha=0))


def test_expansion_leaves_what_it_is_given_alone():
    features = clustered(60, 8, 6, 0.4, 0)
    before = features.clone()
    expand_queries(features[:20], features[20:], k=3, alpha=1)
    assert torch.equal(features, before)


ROWS = clustered(6, 4, 2, 0.3, 0)
NAN = ROWS.clone()
NAN[2, 1] = torch.nan


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: KReciprocal.of(ROWS, ROWS, k1=0), ConfigError, "k1 of re-ranking must be 1 or more neighbours, got 0"),
        (lambda: KReciprocal.of(ROWS, ROWS, k1=3, k2=5), ConfigError, "k2 .* must lie in .* here 1..4, got 5"),
        (lambda: KReciprocal.of(ROWS, ROWS, k2=0), ConfigError, "k2 .* got 0"),
        (lambda: KReciprocal.of(ROWS, ROWS, lambda_=1.1), ConfigError, r"lambda .* must lie in \[0, 1\], got 1.1"),
        (lambda: KReciprocal.of(ROWS, ROWS, lambda_=float("nan")), ConfigError, "lambda .* got nan"),
        (lambda: KReciprocal.of(NAN, ROWS), DataError, "query embeddings must be finite, .* in row 2"),
        (lambda: KReciprocal.of(ROWS, NAN), DataError, "gallery embeddings must be finite, .* in row 2"),
        (lambda: KReciprocal.of(ROWS, ROWS[:0]), DataError, "at least one gallery embedding, got none"),
        (lambda: KReciprocal.of(ROWS[:0], ROWS), DataError, "at least one query embedding, got none"),
        (lambda: KReciprocal.of(ROWS, ROWS).rescore(0, ROWS), ShapeError, r"must be \(6, 6\), .* got \(6, 4\)"),
        (lambda: KReciprocal.of(ROWS, ROWS).rescore(4, ROWS @ ROWS.T), ShapeError, r"must be \(2, 6\)"),
        (lambda: expand_queries(ROWS, ROWS, k=0, alpha=1), ConfigError, "must add 1 or more neighbours, got 0"),
        (lambda: expand_queries(ROWS, ROWS, k=2, alpha=-1), ConfigError, "alpha .* got -1"),
        (lambda: expand_queries(ROWS, NAN, k=2, alpha=1), DataError, "gallery embeddings must be finite"),
        (lambda: expand_queries(ROWS, ROWS, k=2, alpha=float("inf")), ConfigError, "alpha .* got inf"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(build, error: type, words: str):
    with pytest.raises(error, match=words) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_embeddings_of_two_models_are_refused(unchecked_shapes: None):
    with pytest.raises(ShapeError, match="as many dimensions, got 4 and 3"):
        KReciprocal.of(ROWS, ROWS[:, :3])
