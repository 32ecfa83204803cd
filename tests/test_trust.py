"""The indicators of a model against hand-worked cases, loops over whole matrices, and what must hold of any."""

import pytest
import torch
from torch import Tensor

from resight.errors import ConfigError, ShapeError
from resight.storage import Rows
from resight.trust import ESTIMATE, Indicators, asked, choose, estimate, indicators, spread
from resight.trust_lists import NONE, Neighbours, neighbours, overlap
from resight.types import UNKNOWN_CAMID


def unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1)


def drawn(images: int, dim: int, seed: int, *, cameras: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, views and camids, some cameras unknown; doubles, so that all sums agree."""
    generator = torch.Generator().manual_seed(seed)
    rows = unit(torch.randn(images, dim, generator=generator, dtype=torch.float64))
    views = unit(rows + 0.5 * torch.randn(images, dim, generator=generator, dtype=torch.float64) / dim**0.5)
    camids = torch.randint(-1, cameras, (images,), generator=generator)
    return rows, views, camids


def people(identities: int, dim: int, *, noise: float, shift: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two images of each identity in each of two cameras, which lie `shift` apart."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(identities, dim, generator=generator).repeat_interleave(4, dim=0)
    camids = torch.tensor([0, 0, 1, 1]).repeat(identities)
    apart = torch.randn(dim, generator=generator) * shift * (camids * 2.0 - 1).unsqueeze(1)
    return unit(centres + apart + noise * torch.randn(len(centres), dim, generator=generator)), camids


def nearest_by_loop(query: Tensor, rows: Tensor, own: int, allowed: list[int], k: int) -> list[int]:
    scored = sorted((j for j in allowed if j != own), key=lambda j: (-float(query @ rows[j]), j))
    return scored[:k]


def by_loops(rows: Tensor, views: Tensor, camids: Tensor, index: Tensor, k: int) -> dict[str, float]:
    """Every indicator of lists straight from its words."""
    images, cam = list(range(len(rows))), camids.tolist()
    k = min(k, len(rows) - 1)
    found: dict[str, list[float]] = {n: [] for n in ("rank", "near", "across", "cycle", "reach", "found", "expected")}
    for m, i in enumerate(index.tolist()):
        plain, view = rows[i], views[m]
        near, seen = nearest_by_loop(plain, rows, i, images, k), nearest_by_loop(view, rows, i, images, k)
        found["rank"].append(1 / (1 + sum(float(view @ rows[j]) > float(view @ rows[i]) for j in images)))
        found["near"].append(len(set(near) & set(seen)) / k)
        others = [j for j in images if UNKNOWN_CAMID not in (cam[i], cam[j]) and cam[i] != cam[j]]
        if not others:
            continue
        across, again = nearest_by_loop(plain, rows, i, others, k), nearest_by_loop(view, rows, i, others, k)
        found["across"].append(len(set(across) & set(again)) / len(across))
        best = across[0]
        ahead = sum(float(plain @ rows[j]) > float(plain @ rows[best]) for j in images if j != i)
        found["reach"].append(1 / (1 + ahead))
        home = [j for j in images if cam[j] == cam[i]]
        found["cycle"].append(1 / (1 + sum(float(rows[best] @ rows[j]) > float(rows[best] @ plain) for j in home)))
        known = [j for j in near if cam[j] != UNKNOWN_CAMID]
        found["found"].append(sum(cam[j] != cam[i] for j in known) / max(1, len(known)))
        found["expected"].append(len(others) / (sum(c != UNKNOWN_CAMID for c in cam) - 1))
    means = {name: sum(values) / len(values) for name, values in found.items() if values}
    return means | {"mixing": min(1.0, means["found"] / means["expected"])}


@pytest.mark.parametrize("seed", range(20))
def test_blocks_agree_with_loops_over_every_pair(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, views, camids = drawn(31, 6, seed)
    index = asked(31, most=17, seed=seed)
    monkeypatch.setattr("resight.trust_lists.PRODUCT_ELEMENTS", 31 * 5)  # five images at a time
    found, _ = indicators(rows, camids, index, views=views[index], near=4)
    expected = by_loops(rows, views[index], camids, index, 4)
    for name, word in [("view_rank", "rank"), ("view_near", "near"), ("view_across", "across")]:
        assert getattr(found, name) == pytest.approx(expected[word], abs=1e-6)
    for name in ("cycle", "reach", "mixing"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-6)


def test_four_images_by_hand() -> None:
    # On a circle at 0°, 10°, 40° and 100°; cameras 0 0 1 1. Nearest of each: 1, 0, 1, 2.
    # Best of the other camera: 2, 2, 1, 1. Images ahead of it: for 0 image 1, for 1 image 0, for 2 none, for 3 image 2.
    # Back: from 2 to camera 0, 1 is first and 0 second; from 1 to camera 1, 2 is first and 3 second.
    degrees = torch.tensor([0.0, 10.0, 40.0, 100.0]).deg2rad()
    rows = torch.stack([degrees.cos(), degrees.sin()], dim=1)
    found, lists = indicators(rows, torch.tensor([0, 0, 1, 1]), torch.arange(4), near=1)
    assert lists.near.flatten().tolist() == [1, 0, 1, 2]
    assert lists.across.flatten().tolist() == [2, 2, 1, 1]
    assert found.reach == pytest.approx((1 / 2 + 1 / 2 + 1 + 1 / 2) / 4)
    assert found.cycle == pytest.approx((1 / 2 + 1 + 1 + 1 / 2) / 4)
    assert found.mixing == pytest.approx((1 / 4) / (2 / 3))  # of four nearest one is of another camera; 2 of 3 are
    assert found.reciprocity == pytest.approx(2 / 4)  # 0 and 1 are each other's


def test_a_perfect_model_scores_one() -> None:
    # An identity is one point, and cameras alternate, so that the nearest are all of its images.
    rows = torch.eye(8).repeat_interleave(4, dim=0)
    camids = torch.tensor([0, 1, 0, 1]).repeat(8)
    found, _ = indicators(rows, camids, torch.arange(32), views=rows, near=3)
    assert (found.view_rank, found.view_near, found.view_across) == (1, 1, 1)
    assert (found.cycle, found.reach, found.mixing, found.reciprocity) == (1, 1, 1, 1)
    assert found.spread == pytest.approx(7 / 8)  # eight points span seven directions of the eight there are
    assert estimate(found) is not None and estimate(found).value == pytest.approx(1)


def test_random_rows_score_near_zero() -> None:
    rows, camids = people(100, 32, noise=0)
    noise = unit(torch.randn(2, 400, 32))
    found, _ = indicators(noise[0], camids, torch.arange(400), views=noise[1])
    assert max(found.view_rank, found.view_near, found.view_across) < 0.06
    assert estimate(found).value < 0.2
    perfect = indicators(rows, camids, torch.arange(400), views=rows)[0]
    assert perfect.cycle == 1 > 1.5 * found.cycle  # chance is kind to the way back: it starts at the nearest


@pytest.mark.parametrize("row", [[0.6, 0.8], [float("nan")] * 2])
def test_a_model_to_which_all_images_are_alike_gets_nothing(row: list[float]) -> None:
    rows = torch.tensor(row).expand(20, 2).clone()
    found, _ = indicators(rows, torch.arange(20) % 2, torch.arange(20), views=rows)
    assert found.view_rank == 1 and found.spread == 0  # all are tied, so nothing stands before the own row
    assert estimate(found).value == 0
    seen = Indicators(view_rank=0.1, view_near=0.1, cycle=0.1, mixing=0.1, spread=0.2)
    assert choose([found, seen]) == 1


def test_a_shift_between_cameras_is_seen_by_the_cameras_indicators_alone() -> None:
    together, camids = people(60, 24, noise=0.3)
    apart, _ = people(60, 24, noise=0.3, shift=3)
    index = torch.arange(240)
    near, far = (indicators(rows, camids, index, views=rows)[0] for rows in (together, apart))
    assert near.view_rank == far.view_rank == 1
    assert far.mixing < 0.1 < 0.5 < near.mixing
    assert far.reach < 0.1 < 0.5 < near.reach
    assert choose([far, near]) == 1


@pytest.mark.parametrize("seed", range(10))
def test_renumbering_images_changes_nothing(seed: int) -> None:
    rows, views, camids = drawn(40, 8, seed)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed + 100))
    one, _ = indicators(rows, camids, torch.arange(40), views=views, near=3)
    other, _ = indicators(rows[order], camids[order], torch.arange(40), views=views[order], near=3)
    for name, value in one.record().items():
        if name != "reciprocity":  # of which images are looked at depends on their order
            assert other.record()[name] == pytest.approx(value, abs=1e-4), name


def test_numbers_of_cameras_do_not_matter() -> None:
    rows, views, camids = drawn(40, 8, 1)
    renamed = torch.where(camids == UNKNOWN_CAMID, camids, 50 - 7 * camids)
    index = torch.arange(40)
    assert indicators(rows, camids, index, views=views)[0] == indicators(rows, renamed, index, views=views)[0]


@pytest.mark.parametrize("camid", [UNKNOWN_CAMID, 3])
def test_without_cameras_the_estimate_says_what_it_rests_on(camid: int) -> None:
    rows, views, _ = drawn(30, 6, 0)
    found, lists = indicators(rows, torch.full((30,), camid), torch.arange(30), views=views)
    assert (found.cycle, found.reach, found.mixing, found.view_across) == (None, None, None, None)
    assert bool((lists.across == NONE).all())
    known = estimate(found)
    assert known is not None and known.rests_on == ("view_rank", "view_near")
    assert "without cycle and mixing, which could not be asked" in known.sentence()
    assert known.value == pytest.approx((found.view_rank * found.view_near) ** 0.5)


def test_the_estimate_is_the_geometric_mean() -> None:
    found = Indicators(view_rank=0.5, view_near=0.25, cycle=1.0, mixing=0.125, reach=0.9)
    assert estimate(found).value == pytest.approx((0.5 * 0.25 * 1.0 * 0.125) ** 0.25)
    assert estimate(found).rests_on == ESTIMATE
    assert estimate(Indicators()) is None
    assert estimate(Indicators(view_rank=0.4, mixing=0.0)).value == 0


def test_a_choice_rests_on_what_all_models_have_and_keeps_the_first_of_equals() -> None:
    blind = Indicators(view_rank=0.6)
    seen = Indicators(view_rank=0.5, view_near=0.9, cycle=0.9, mixing=0.9)
    assert choose([seen, blind, blind]) == 1
    for none in ([], [Indicators(), seen]):
        with pytest.raises(ConfigError, match="choosing without labels needs one of view_rank"):
            choose(none)


def test_steady_is_the_share_of_neighbours_that_last() -> None:
    rows, views, camids = drawn(30, 6, 3)
    index = asked(30, most=20)
    _, lists = indicators(rows, camids, index, near=5)
    assert indicators(rows, camids, index, near=5, earlier=lists)[0].steady == 1
    changed, after = indicators(views, camids, index, near=5, earlier=lists)
    shared = [len(set(a) & set(b)) / 5 for a, b in zip(lists.near.tolist(), after.near.tolist(), strict=True)]
    assert changed.steady == pytest.approx(sum(shared) / 20)
    assert 0 < changed.steady < 1


def test_overlap_counts_real_neighbours_only() -> None:
    lists = torch.tensor([[1, 2, 3], [4, NONE, NONE]])
    assert overlap(lists, torch.tensor([[3, 9, 1], [NONE, 4, NONE]])) == pytest.approx((2 / 3 + 1) / 2)


def test_spread_of_a_line_and_of_all_directions() -> None:
    line = unit(torch.stack([torch.ones(6), torch.linspace(-1, 1, 6)], dim=1))
    assert spread(Rows(torch.ones(5, 3)), torch.arange(5)) == 0
    assert spread(Rows(torch.cat([line, torch.zeros(6, 2)], dim=1)), torch.arange(6)) < 0.5
    everywhere = torch.cat([torch.eye(4), -torch.eye(4)])
    assert spread(Rows(everywhere), torch.arange(8)) == pytest.approx(1)


def test_one_image_and_none_give_nothing() -> None:
    for images in (0, 1):
        found, lists = indicators(torch.ones(images, 2), torch.zeros(images, dtype=torch.long), torch.arange(images))
        assert found == Indicators()
        assert isinstance(lists, Neighbours) and lists.near.shape == (images, 0)


def test_the_same_images_are_asked_for_one_seed() -> None:
    assert torch.equal(asked(100, most=9, seed=4), asked(100, most=9, seed=4))
    assert not torch.equal(asked(100, most=9, seed=4), asked(100, most=9, seed=5))
    assert asked(5, most=9).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ConfigError, match="at least 1 image must be asked to judge a model, got 0"):
        asked(5, most=0)


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_does_not_fit_is_one_sentence() -> None:
    rows, views, camids = drawn(12, 4, 0)
    index = torch.arange(6)
    with pytest.raises(ShapeError, match="camids must be 12, one for each image, got 11"):
        indicators(rows, camids[1:], index)
    with pytest.raises(ShapeError, match=r"views must be \(6, 4\), one row for each image asked, got \(12, 4\)"):
        indicators(rows, camids, index, views=views)
    earlier = neighbours(Rows(rows), camids, torch.arange(1, 7))
    with pytest.raises(ShapeError, match="earlier neighbours must be those of the same 6 images"):
        indicators(rows, camids, index, earlier=earlier)
