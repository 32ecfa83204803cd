"""Nearness in time: rows by hand, what is near told from pairs that look alike, and numbers that are no times."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from resight.nearness import COLUMNS, UNTIMED, columns_of, have_moments, near_in_time, near_rows, widths
from resight.storage import Rows

NAN = math.nan


def times(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_rows_by_hand():
    rows = near_rows(times(0, 15, 20, 40, NAN), 10)
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


def test_nearness_falls_with_the_time_between_and_ends_at_two_widths():
    moments = times(*torch.linspace(-3, 9, 240).tolist())
    product = near_rows(moments, 2.0) @ near_rows(moments, 2.0).T
    apart = (moments.unsqueeze(1) - moments).abs()
    assert torch.allclose(product.diagonal(), torch.ones(240))
    assert product[apart >= 4].abs().max() == 0
    assert product[apart <= 0.5].min() > 0.6
    mean = [product[(apart >= low) & (apart < low + 0.5)].mean() for low in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)]
    assert mean == sorted(mean, reverse=True)


def test_far_more_widths_than_columns_share_them():
    moments = torch.arange(3 * COLUMNS, dtype=torch.float64) * 5
    rows = near_rows(moments, 5)
    assert rows.shape == (3 * COLUMNS, COLUMNS)
    assert rows[0] @ rows[COLUMNS] == 1
    assert rows[0] @ rows[COLUMNS // 2] == 0


def test_no_time_at_all_gives_no_columns():
    assert near_rows(times(NAN, NAN), 5).shape == (2, 0)


def test_what_is_near_by_hand():
    generator = torch.Generator().manual_seed(0)
    any_two = torch.rand(100_000, generator=generator, dtype=torch.float64) * 2**16
    alike = torch.cat([torch.rand(300, generator=generator).double() * 2**8, any_two[:700]])
    found = widths(alike, any_two)
    assert found.widths == (256.0,)
    # 30 % of the alike, and 2**8 / 2**16 of the others and of any two: (0.3 + 0.7 / 256) / (1 / 256), about 77.
    assert found.oftener == pytest.approx(0.3 * 256 + 0.7, rel=0.1)
    further = torch.cat([alike, torch.rand(300, generator=generator).double() * 2**12])
    assert widths(further, any_two).widths == (256.0, 4096.0)


def test_nothing_is_near_where_the_alike_are_as_any_two():
    generator = torch.Generator().manual_seed(0)
    any_two = torch.rand(100_000, generator=generator, dtype=torch.float64) * 1000
    assert widths(any_two[:1000], any_two) == UNTIMED
    assert widths(any_two[:10] / 1e6, any_two) == UNTIMED  # too few pairs to believe
    assert widths(any_two[:0], any_two) == UNTIMED
    assert widths(torch.zeros(50), torch.zeros(50)) == UNTIMED  # one moment only


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
        mixed = moments[torch.randperm(len(moments), generator=torch.Generator().manual_seed(1))]
        assert near_in_time(rows, camids, mixed) == UNTIMED


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
