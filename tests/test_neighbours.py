"""Neighbour lists against sorted rows, the same labels by lists and by counts, and that nothing sorts N."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import resight.neighbours
from memories import KINDS, clustered
from resight.memory import FeatureMemory
from resight.miners import MINERS
from resight.neighbours import ROUNDING, among_closest, best, exact_where_close, largest, rank_counts, top_k
from resight.storage import Rows


def test_the_own_column_comes_first_and_equals_keep_their_order():
    scores = torch.tensor([[0.5, 0.9, 0.5, 0.2, 0.5]])
    values, columns = top_k(scores, torch.tensor([3]), 3)
    # own column 3 (0.2), then 0.9 in column 1, then the first of the three 0.5s
    assert columns.tolist() == [[3, 1, 0]]
    assert values[0].tolist() == pytest.approx([0.2, 0.9, 0.5])
    assert scores[0].tolist() == pytest.approx([0.5, 0.9, 0.5, 0.2, 0.5])  # given back as they came


@pytest.mark.parametrize("seed", range(60))
def test_the_largest_are_those_of_a_stable_sort(seed: int):
    generator = torch.Generator().manual_seed(seed)
    n, count = int(torch.randint(1, 3000, (), generator=generator)), int(torch.randint(1, 40, (), generator=generator))
    scores = torch.randn(9, n, generator=generator)
    if seed % 3:  # many equals, at the edge too, and rows in order
        scores = (scores * [1, 4, 20][seed % 5 % 3]).round()
        scores[0], scores[1] = 0, scores[1].sort().values
        scores[2, n // 2] = torch.inf
    scores = scores.to([torch.float32, torch.float64, torch.bfloat16][seed % 4 % 3])
    values, columns = largest(scores, count)
    expected = scores.sort(dim=1, descending=True, stable=True)
    assert torch.equal(columns, expected.indices[:, :count]) and torch.equal(values, expected.values[:, :count])


def test_the_first_of_equal_scores_are_marked():
    assert best(torch.tensor([[1.0, 2.0, 1.0, 1.0]]), torch.tensor([3])).tolist() == [[True, True, True, False]]


def test_ranks_count_what_scores_more():
    scores = torch.tensor([[0.9, 0.5, 0.5, 0.1]])
    ranks = rank_counts(scores, torch.tensor([0, 0, 0]), torch.tensor([0, 2, 3]))
    assert ranks.tolist() == [0, 1, 3]  # of two equal scores neither is above the other


def test_more_equals_at_the_edge_than_room():
    distance = torch.tensor([[0.0, 1.0, 1.0, 1.0, 2.0]])
    inside = among_closest(distance, torch.tensor([[0, 2, 3, 1]]), torch.tensor([3]))
    assert inside.tolist() == [[True, True, False, True]]  # columns 0, 1, 2


@pytest.mark.parametrize("length", [1, 2, 5, 12, 30])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MINERS)
def test_labels_from_lists_equal_labels_from_products(name: str, kind: str, length: int):
    generator = torch.Generator().manual_seed(length)
    features = KINDS[kind](30, length, generator)
    miner = MINERS[name](k=4) if name == "knn" else MINERS[name]() if name == "self_only" else MINERS[name](0.5, 3)
    everyone = torch.arange(30)
    listed = FeatureMemory.of(features)
    listed.list_neighbours(length)
    assert torch.equal(miner(listed, everyone), miner(FeatureMemory.of(features), everyone))


def test_lists_of_some_rows_serve_those_and_leave_the_others_to_be_counted():
    features, everyone = clustered(60, 8, 5, 0.5, 3), torch.arange(60)
    some = FeatureMemory.of(features)
    some.list_neighbours(20, rows=25)
    assert torch.equal(MINERS["mplp"](0.5)(some, everyone), MINERS["mplp"](0.5)(FeatureMemory.of(features), everyone))


def test_lists_are_dropped_when_a_row_changes():
    memory = FeatureMemory.of(clustered(20, 8, 3, 0.5, 0))
    memory.list_neighbours(5)
    memory.update(torch.tensor([1]), memory.read(torch.tensor([2])), 0.5)
    assert memory.lists is None


@pytest.mark.parametrize("dim", [8, 64, 512])
@pytest.mark.parametrize("spread", [0.05, 0.6])
def test_lists_looked_for_in_bfloat16_are_those_of_float32(dim: int, spread: float):
    features = clustered(700, dim, 20, spread, dim)
    lists = []
    for precision in ("float32", "bfloat16"):
        memory = FeatureMemory.of(features)
        memory.list_neighbours(12, precision=precision)
        assert memory.lists is not None
        lists.append(memory.lists)
    assert torch.allclose(lists[0].scores, lists[1].scores, atol=1e-6)
    exact = (features @ features.T).gather(1, lists[1].index.long())
    assert torch.allclose(exact, lists[0].scores, atol=1e-6)  # the columns are right, but for equals in the last digit
    assert all(len(set(row)) == 12 for row in lists[1].index.tolist())


def test_products_in_bfloat16_are_off_by_no_more_than_the_bound():
    features = clustered(2000, 256, 20, 0.5, 0)
    rough = (features.bfloat16() @ features.bfloat16().T).float()
    assert (rough - features @ features.T).abs().max() < ROUNDING


def test_a_column_that_bfloat16_puts_too_low_is_found():
    # Exact scores .900 and .901 in columns 1 and 2; the rough ones, each off by less than the bound, in reverse order.
    rows = torch.tensor([[1.0, 0.0], [0.9, (1 - 0.81) ** 0.5], [0.901, (1 - 0.901**2) ** 0.5], [0.0, 1.0]])
    rough = torch.tensor([[1.0, 0.905, 0.896, 0.0]])
    values, columns = exact_where_close(rough, rows[:1], torch.tensor([0]), 2, Rows(rows))
    assert columns.tolist() == [[0, 2]]
    assert values[0].tolist() == pytest.approx([1.0, 0.901])


def test_a_row_with_too_much_within_reach_is_given_a_whole_product_and_the_others_are_not(monkeypatch):
    rows = torch.nn.functional.normalize(clustered(2000, 64, 100, 0.1, 0), dim=1)
    rows[:900] = rows[0]  # of image 0 all of these are equally close
    index, asked = torch.tensor([0, 1500]), []
    plain = resight.neighbours.product
    monkeypatch.setattr(resight.neighbours, "product", lambda left, of: (asked.append(len(left)), plain(left, of))[1])
    rough = (rows[index].bfloat16() @ rows.bfloat16().T).clone()
    values, columns = exact_where_close(rough, rows[index], index, 5, Rows(rows))
    expected, places = top_k(rows[index] @ rows.T, index, 5)
    assert asked == [1]
    assert columns[0].tolist() == places[0].tolist() == [0, 1, 2, 3, 4]
    assert torch.allclose(values, expected, atol=1e-6)


class Sorted(TorchDispatchMode):
    """Records the length of every axis that is sorted, and how many every selection takes."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "sort" in func.__name__:
            self.lengths.append(args[0].shape[-1])
        if "topk" in func.__name__:
            self.lengths.append(args[1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["mplp", "dplm", "gsmlp"])
@pytest.mark.parametrize("listed", [False, True])
def test_nothing_as_long_as_the_memory_is_sorted(name: str, listed: bool):
    memory = FeatureMemory.of(clustered(3000, 16, 150, 0.3, 1))
    miner, index = MINERS[name](), torch.arange(0, 3000, 100)
    with Sorted() as sorts:
        if listed:
            memory.list_neighbours(100)
        mined = miner(memory, index)
    assert int(mined.sum()) > len(index)  # there was something to rank
    assert sorts.lengths and max(sorts.lengths) <= 300


class Products:
    """Counts the rows whose products with the memory are asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import resight.memory

        self.rows, plain = 0, resight.memory.product

        def product(left: Tensor, *given, **options) -> Tensor:
            self.rows += len(left)
            return plain(left, *given, **options)

        monkeypatch.setattr(resight.memory, "product", product)


@pytest.mark.parametrize("name", ["mplp", "dplm"])
def test_the_rows_that_a_batch_asks_for_do_not_grow_with_n(name: str, monkeypatch: pytest.MonkeyPatch):
    products, asked = Products(monkeypatch), []
    for images in (1000, 4000):
        rows = clustered(1000, 16, 100, 0.05, 1)
        far = -rows.mean(dim=0, keepdim=True) + 0.01 * torch.randn(
            images - 1000, 16, generator=torch.Generator().manual_seed(0)
        )
        features = torch.cat([rows, torch.nn.functional.normalize(far, dim=1)])
        products.rows = 0
        MINERS[name](0.9)(FeatureMemory.of(features), torch.arange(20))
        asked.append(products.rows)
    assert asked[0] == asked[1] > 20  # products of so many rows with all N: linear in N
