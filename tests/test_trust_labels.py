"""Indicators of pseudo labels against hand-worked cases and loops."""

import pytest
import torch

from resight.errors import ShapeError
from resight.trust_labels import compactness, inside, labels_kept, miners_agree
from resight.types import SparsePositives


def test_renumbered_clusters_are_the_same_and_outliers_are_alone() -> None:
    before, after = torch.tensor([0, 0, 1, 1, -1, -1]), torch.tensor([1, 1, 0, 0, -1, -1])
    assert labels_kept(after, before) == pytest.approx(1)
    assert labels_kept(torch.tensor([1, 1, 0, 0, 2, 2]), before) < 1  # the outliers have become a group
    assert inside(before) == pytest.approx(4 / 6)


def test_an_adjusted_rand_index_by_hand() -> None:
    # Pairs together: {01}, {23} before; {01} after. Both: 1. Expected by chance 2 · 1 / 6; (1 − 1/3) / (3/2 − 1/3).
    assert labels_kept(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1])) == pytest.approx((2 / 3) / (7 / 6))


def test_compactness_by_hand() -> None:
    # Two images at one point, two at right angles to it, an outlier: a = 0 and b = 1 for each.
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.6, 0.8]])
    labels = torch.tensor([0, 0, 1, 1, -1])
    assert compactness(rows, labels, torch.arange(5)) == pytest.approx(1)
    # Crossed clusters: the other member is at right angles (a = 1), the other centre at 45° (b = 1 − √½).
    crossed = torch.tensor([0, 1, 0, 1, -1])
    assert compactness(rows, crossed, torch.arange(5)) == pytest.approx((1 - 0.5**0.5) - 1, abs=1e-6)
    assert compactness(rows, torch.tensor([0, 0, 0, 0, -1]), torch.arange(5)) is None
    assert compactness(rows, torch.tensor([0, 1, 2, 3, -1]), torch.arange(5)) is None  # nobody has company


def test_miners_agree_is_the_share_of_pairs_in_common() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(20, 20, generator=generator) < 0.2 for _ in range(2))
    pairs = [{(i, j) for i, j in marks.nonzero().tolist() if i != j} for marks in (one, other)]
    sparse = [SparsePositives.from_blocks([marks | torch.eye(20, dtype=torch.bool)]) for marks in (one, other)]
    assert miners_agree(*sparse) == pytest.approx(len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1]))
    assert miners_agree(sparse[0], sparse[0]) == 1
    alone = SparsePositives.from_blocks([torch.eye(20, dtype=torch.bool)])
    assert miners_agree(alone, alone) is None


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(ShapeError, match="groupings must be of the same images"):
        labels_kept(torch.zeros(3, dtype=torch.long), torch.zeros(4, dtype=torch.long))
    few, more = (SparsePositives.from_blocks([torch.eye(n, dtype=torch.bool)]) for n in (2, 3))
    with pytest.raises(ShapeError, match="positives must be of the same images"):
        miners_agree(few, more)
