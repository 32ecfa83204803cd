"""Nearness in time: of two who look alike, those whom cameras saw within minutes of each other are the likelier one.

Timestamps come with most footage and are no labels. How near is near differs (how long people stay, how far cameras are
apart, whether their clocks agree), so it is measured: pairs that look alike are more often near in time than any two.

Source: that times between cameras tell identities, and can be learnt from pairs that look alike: Lv et al., CVPR 2018
(TFusion); with true identities, Wang et al., AAAI 2019 (st-ReID). Both learn a distribution for each pair of cameras
and multiply scores; here one width or two for all, as columns beside the features, so that no N × N is needed.
"""

from itertools import takewhile
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.storage import Rows
from resight.types import UNKNOWN_CAMID

COLUMNS = 1024
"""Most columns of one width: what lies so many widths apart, or a multiple, falls into the same ones."""

ASKED = 2_000
"""Most images whose most similar one is looked for."""

LEAST_PAIRS = 30
"""Pairs that look alike and are near in time, from which nearness is believed."""

OFTENER = 4.0
"""How much oftener pairs that look alike must be near in time than any two, at least, for times to be made use of."""

NEARLY = 0.6
"""Share of the greatest frequency that counts as about the greatest."""

STILL = 2.0
"""How much oftener they must be in a longer reach, for that to count as near in the second place."""

DRAWN = 1_000_000
"""Pairs drawn to know how near in time any two are."""


class Near(NamedTuple):
    """What is near in time: one width or two, in the timestamps' unit; none where times tell nothing.

    `oftener`: how much oftener pairs that look alike lie within the first width than any two of different cameras.
    """

    widths: tuple[float, ...] = ()
    oftener: float = 1.0


UNTIMED = Near()


def near_rows(timestamps: Float[Tensor, " n"], width: float) -> Float[Tensor, "n d"]:
    """Give rows of unit length whose product is 1 at one time and falls to 0 at two widths apart or before.

    Each time counts to the two multiples of `width` that it lies between, in proportion. Rows of unknown times (NaN)
    are zero.
    """
    known = (~timestamps.isnan()).nonzero().squeeze(1)
    share = timestamps[known].double() / width
    share = share - share.floor()
    ends, columns = columns_of(timestamps, width)
    rows = torch.zeros(len(timestamps), columns, device=timestamps.device)
    for column, weight in zip(ends, (1 - share, share), strict=True):
        rows[known, column] += weight.float()
    return torch.nn.functional.normalize(rows, dim=1)


def columns_of(timestamps: Float[Tensor, " n"], width: float) -> tuple[Int[Tensor, "2 k"], int]:
    """Give the columns that each known time counts to, and how many columns there are, at most `COLUMNS`."""
    lower = (timestamps[~timestamps.isnan()].double() / width).floor().long()
    distinct, ends = torch.stack([lower % COLUMNS, (lower + 1) % COLUMNS]).unique(return_inverse=True)
    return ends, len(distinct)


def have_moments(camids: Int[Tensor, " n"], timestamps: Float[Tensor, " n"]) -> bool:
    """Tell whether timestamps can say anything: of two cameras or more, and not shared by most images of a camera.

    Numbers that most share are of views or of frames in a tracklet, not moments.
    """
    usable = timed(camids, timestamps)
    moments = torch.stack([camids[usable].double(), timestamps[usable].double()], dim=1)
    return len(camids[usable].unique()) > 1 and len(moments.unique(dim=0)) >= len(moments) / 2


def timed(camids: Int[Tensor, " n"], timestamps: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Tell which images have a known time and a known camera."""
    return ~timestamps.isnan() & (camids != UNKNOWN_CAMID)


def near_in_time(rows: Rows, camids: Int[Tensor, " n"], timestamps: Float[Tensor, " n"]) -> Near:
    """Measure how near in time those are that look alike and that different cameras saw.

    `rows`: unit rows, standardised per camera. For some of them the most similar one in other cameras is looked for;
    pairs count that are each other's.
    """
    usable = timed(camids, timestamps)
    asked = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:ASKED].to(camids.device)
    one, other = alike(rows, camids, usable, asked)
    drawn = torch.randint(len(camids), (2, DRAWN), generator=torch.Generator().manual_seed(0)).to(camids.device)
    drawn = drawn[:, usable[drawn].all(dim=0) & (camids[drawn[0]] != camids[drawn[1]])]
    return widths((timestamps[one] - timestamps[other]).abs(), (timestamps[drawn[0]] - timestamps[drawn[1]]).abs())


def alike(
    rows: Rows, camids: Int[Tensor, " n"], usable: Bool[Tensor, " n"], asked: Int[Tensor, " q"]
) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
    """Give pairs of images of different cameras each of which is the other's most similar one in other cameras."""

    def nearest(index: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        found = []
        for part in index.split(256):
            score = rows.read(part) @ rows.data.to(rows.device).T
            own = camids[part].unsqueeze(1) == camids
            found.append(score.masked_fill(own | ~usable, -torch.inf).argmax(dim=1))
        return torch.cat(found)

    asked = asked[usable[asked]]
    found = nearest(asked)
    mutual = nearest(found) == asked
    return asked[mutual], found[mutual]


def widths(apart: Float[Tensor, " p"], any_two: Float[Tensor, " q"]) -> Near:
    """Tell from how far apart in time pairs that look alike are, and any two, what is near.

    The first width is the greatest power of 2 within which pairs that look alike are about the most frequent against
    any two; the second is that up to which they stay `STILL` times as frequent.
    """
    above = any_two[any_two > 0]
    if not len(apart) or not len(above):
        return UNTIMED
    lowest, highest = (int(value.log2().floor()) for value in (above.min(), above.max()))
    edges = torch.tensor([2.0**power for power in range(lowest + 1, highest + 1)], dtype=torch.float64)
    inside, usual = ((times.double().sort().values, len(times)) for times in (apart, any_two))
    pairs = torch.searchsorted(inside[0], edges)
    chance = (torch.searchsorted(usual[0], edges) + 1) / usual[1]
    oftener = (pairs / inside[1] / chance) * (pairs >= LEAST_PAIRS)
    if not len(edges) or oftener.max() < OFTENER:
        return UNTIMED
    first = int((oftener >= NEARLY * oftener.max()).nonzero().max())
    more = (pairs.diff() / inside[1] / chance.diff().clamp_min(1 / usual[1]))[first:]
    further = len(list(takewhile(lambda times: times >= STILL, more.tolist())))
    found = (float(edges[first]), float(edges[first + further]))
    return Near(found[: 1 + (further > 0)], float(oftener[first]))
