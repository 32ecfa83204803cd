"""Nearness in time: rows by hand, what is near told from pairs that look alike, and numbers that are no times."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from resight.nearness import COLUMNS, UNTIMED, columns_of, have_moments, near_in_time, near_rows, reaches
from resight.storage import Rows

NAN = math.nan


def times(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def near(moments: torch.Tensor, width: float) -> torch.Tensor:
    return torch.cat(list(near_rows(moments, width)))


def test_rows_by_hand():
    rows = near(times(0, 15, 20, 40, NAN), 10)
    # 15 lies halfway between the second and the third multiple of 10: (½, ½) / √½.
    half = 0.5**0.5
    wanted = [
        [1, half * 0, 0, 0],
        [0, half, half, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]
    used = rows[:4, rows.any(dim=0)]
    assert torch.allclose(used @ used.T, torch.tensor(wanted) @ torch.tensor(wanted).T)
    assert not rows[4].any()
    assert rows.shape[1] == columns_of(times(0, 15, 20, 40, NAN), 10)[1]


def test_nearness_falls_with_the_time_between_and_ends_at_two_reaches():
    moments = times(*torch.linspace(-3, 9, 240).tolist())
    product = near(moments, 2.0) @ near(moments, 2.0).T
    apart = (moments.unsqueeze(1) - moments).abs()
    assert torch.allclose(product.diagonal(), torch.ones(240))
    assert product[apart >= 4].abs().max() == 0
    assert product[apart <= 0.5].min() > 0.6
    mean = [product[(apart >= low) & (apart < low + 0.5)].mean() for low in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)]
    assert mean == sorted(mean, reverse=True)


def test_far_more_widths_than_columns_share_them():
    moments = torch.arange(3 * COLUMNS, dtype=torch.float64) * 5
    rows = near(moments, 5)
    assert rows.shape == (3 * COLUMNS, COLUMNS)
    assert rows[0] @ rows[COLUMNS] == 1
    assert rows[0] @ rows[COLUMNS // 2] == 0


def test_no_time_at_all_gives_no_columns():
    assert near(times(NAN, NAN), 5).shape == (2, 0)


def test_columns_are_of_the_times_that_are_there():
    # Recordings begin 1,000,000 apart, nearly 1,024 times 1,024: one's 100,000th is not near the next one's 148,576th.
    moments = times(*range(90_000, 110_000, 500), *range(1_138_576, 1_158_576, 500))
    rows = near(moments, 1024)
    assert rows.shape[1] < 50
    assert (rows[:40] @ rows[40:].T).max() == 0


def test_blocks_of_rows_are_those_of_all(monkeypatch: pytest.MonkeyPatch):
    moments = times(*torch.linspace(0, 300, 100).tolist(), NAN, 7, 1e9)
    whole = list(near_rows(moments, 10))
    monkeypatch.setattr("resight.nearness.BLOCK_BYTES", 4 * 32 * 7)
    blocks = list(near_rows(moments, 10))
    assert len(whole) == 1 and len(blocks) > 10
    assert torch.equal(torch.cat(blocks), whole[0])


def test_what_is_near_by_hand():
    generator = torch.Generator().manual_seed(0)
    others = torch.rand(100_000, generator=generator, dtype=torch.float64) * 2**16
    alike = torch.cat([torch.rand(300, generator=generator).double() * 2**8, others[:700]])
    found = reaches(alike, others)
    assert found.widths == (256.0,)
    # 30 % of the alike and 2**8 / 2**16 of their rest, and of the others: (0.3 + 0.7 / 256) / (1 / 256 + 30 / 100,000).
    assert found.oftener == pytest.approx((0.3 + 0.7 / 256) / (1 / 256 + 0.0003), rel=0.1)
    further = torch.cat([alike, torch.rand(300, generator=generator).double() * 2**12])
    assert reaches(further, others).widths == (256.0, 4096.0)


def test_nothing_is_near_where_the_alike_are_as_others():
    generator = torch.Generator().manual_seed(0)
    others = torch.rand(100_000, generator=generator, dtype=torch.float64) * 1000
    assert reaches(others[:1000], others) == UNTIMED
    assert reaches(others[:10] / 1e6, others) == UNTIMED  # too few pairs to believe
    assert reaches(others[:0], others) == UNTIMED
    assert reaches(torch.zeros(50), torch.zeros(50)) == UNTIMED  # one moment only


def passages(count: int, *, lasting: float, seed: int = 0) -> tuple[Rows, torch.Tensor, torch.Tensor]:
    """Rows, cameras and times of `count` identities that three cameras see within `lasting` of 100,000."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(count, 1, 16, generator=generator)
    rows = normalize(centre + 0.5 * torch.randn(count, 3, 16, generator=generator), dim=2).flatten(0, 1)
    begin = torch.rand(count, 1, generator=generator, dtype=torch.float64) * 100_000
    moments = begin + torch.rand(count, 3, generator=generator, dtype=torch.float64) * lasting
    return Rows(rows), torch.arange(3).repeat(count), moments.flatten()


def test_how_long_identities_stay_is_found():
    for lasting in (100.0, 3000.0):
        rows, camids, moments = passages(400, lasting=lasting)
        found = near_in_time(rows, camids, moments)
        assert lasting / 5 <= found.widths[0] <= 2 * lasting
        assert found.oftener > 4
        # Of those that look alike and those that do not the times are the same, but for who has them.
        mixed = moments[torch.randperm(len(moments), generator=torch.Generator().manual_seed(1))]
        assert near_in_time(rows, camids, mixed) == UNTIMED


def test_light_that_makes_strangers_alike_is_no_nearness():
    generator = torch.Generator().manual_seed(0)
    recording = torch.randint(12, (3000,), generator=generator)
    light = 2 * torch.randn(12, 16, generator=generator)
    rows = Rows(normalize(torch.randn(3000, 16, generator=generator) + light[recording], dim=1))
    moments = 10_000.0 * recording + 5_000 * torch.rand(3000, generator=generator, dtype=torch.float64)
    camids = torch.randint(15, (3000,), generator=generator)
    assert near_in_time(rows, camids, moments) == UNTIMED


def test_unknown_times_and_cameras_do_not_count():
    rows, camids, moments = passages(400, lasting=100.0)
    found = near_in_time(rows, camids, moments)
    moments[::7], camids[::11] = NAN, -1
    some = near_in_time(rows, camids, moments)
    assert some.widths[0] == found.widths[0]


def test_numbers_that_most_images_share_are_no_moments():
    _, camids, moments = passages(100, lasting=100.0)
    assert have_moments(camids, moments)
    assert not have_moments(camids, moments % 8 // 1)  # views numbered from 0 to 7
    assert not have_moments(camids, torch.full_like(moments, NAN))
    assert not have_moments(torch.zeros_like(camids), moments)  # one camera
    assert not have_moments(torch.full_like(camids, -1), moments)
