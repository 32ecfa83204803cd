"""Nearness in time: of two who look alike, those whom cameras saw within minutes of each other are the likelier one.

Timestamps come with most footage and are no labels. How near is near differs (how long people stay, how far cameras are
apart, whether their clocks agree), so it is measured: pairs that look alike are more often near in time than any two.

Source: that times between cameras tell identities, and can be learnt from pairs that look alike: Lv et al., CVPR 2018
(TFusion); with true identities, Wang et al., AAAI 2019 (st-ReID). Both learn a distribution for each pair of cameras
and multiply scores; here one width or two for all, as columns beside the features, so that no N × N is needed.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.storage import BLOCK_BYTES, Rows
from resight.types import UNKNOWN_CAMID

COLUMNS = 1024
"""Most columns of one width: of longer footage every 1,024th width that holds anything shares one."""

ASKED = 2_000
"""Most images whose most similar one is looked for."""

LEAST_PAIRS = 30
"""Pairs that look alike and are near in time, from which nearness is believed; as many are added to the others'."""

OFTENER = 4.0
"""How much oftener pairs that look alike must be near in time than others, at least, for times to be made use of."""

NEARLY = 0.6
"""Share of the greatest frequency that counts as about the greatest."""

STILL = 2.0
"""How much oftener they must be in a longer reach, for that to count as near in the second place."""

SOMEWHAT = (0.01, 0.05)
"""Shares of all images between which those rank that look somewhat like one, but are hardly the same."""

DRAWN = 100
"""Such images drawn for each."""


class Near(NamedTuple):
    """What is near in time: one width or two, in the timestamps' unit; none where times tell nothing.

    `oftener`: how much oftener pairs that look alike lie within the first width than others that look somewhat alike.
    """

    widths: tuple[float, ...] = ()
    oftener: float = 1.0


UNTIMED = Near()


def near_rows(timestamps: Float[Tensor, " n"], width: float) -> Iterator[Float[Tensor, "b d"]]:
    """Give rows, block by block, of unit length whose product is 1 at one time and 0 from two widths apart on, or less.

    Each time counts to the two multiples of `width` that it lies between, in proportion. Rows of unknown times (NaN)
    are zero.
    """
    share = timestamps.double() / width
    share = share - share.floor()
    ends, columns = columns_of(timestamps, width)
    for block in torch.arange(len(timestamps), device=timestamps.device).split(
        max(1, BLOCK_BYTES // (4 * max(1, columns)))
    ):
        rows = torch.zeros(len(block), columns, device=timestamps.device)
        known = (~timestamps[block].isnan()).nonzero().squeeze(1)
        at = block[known]
        for column, weight in zip(ends, (1 - share, share), strict=True):
            rows[known, column[at]] += weight[at].float()
        yield torch.nn.functional.normalize(rows, dim=1)


def columns_of(timestamps: Float[Tensor, " n"], width: float) -> tuple[Int[Tensor, "2 n"], int]:
    """Give the two columns that each time counts to (-1: unknown), and how many columns there are, at most `COLUMNS`.

    Only multiples of `width` that some time lies at have a column; where they are too many, they share.
    """
    known = ~timestamps.isnan()
    lower = (timestamps[known].double() / width).floor().long()
    distinct, ends = torch.stack([lower, lower + 1]).unique(return_inverse=True)
    columns = torch.full((2, len(timestamps)), -1, device=timestamps.device)
    columns[:, known] = ends % COLUMNS
    return columns, min(len(distinct), COLUMNS)


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
    pairs count that are each other's. They are held against others that look somewhat like them, so that what an hour's
    light or a day's weather makes alike does not count.
    """
    usable = timed(camids, timestamps).nonzero().squeeze(1)
    generator = torch.Generator().manual_seed(0)
    asked = usable[torch.randperm(len(usable), generator=generator)[:ASKED].to(usable.device)]
    nearest, others = most_alike(rows, camids, usable, asked)
    mutual = most_alike(rows, camids, usable, nearest)[0] == asked
    drawn = torch.randint(max(1, others.shape[1]), (len(asked), DRAWN), generator=generator).to(usable.device)
    others = others.gather(1, drawn)[mutual] if others.shape[1] else others[mutual]
    asked, nearest = asked[mutual], nearest[mutual]
    return reaches(
        (timestamps[asked] - timestamps[nearest]).abs(),
        (timestamps[asked].unsqueeze(1) - timestamps[others]).abs().flatten(),
    )


def most_alike(
    rows: Rows, camids: Int[Tensor, " n"], usable: Int[Tensor, " u"], asked: Int[Tensor, " q"]
) -> tuple[Int[Tensor, " q"], Int[Tensor, "q r"]]:
    """Give for each asked image the most similar usable one of other cameras, and those that are `SOMEWHAT` like it."""
    first, last = (int(share * len(usable)) for share in SOMEWHAT)
    nearest, others = [asked[:0]], [asked.new_zeros(0, last - first)]
    whole = rows.read(usable)
    for part in asked.split(256):
        score = (rows.read(part) @ whole.T).masked_fill(camids[part].unsqueeze(1) == camids[usable], -torch.inf)
        place = score.topk(max(1, last), dim=1).indices
        nearest.append(usable[place[:, 0]])
        others.append(usable[place[:, first:last]])
    return torch.cat(nearest), torch.cat(others)


def reaches(apart: Float[Tensor, " p"], usual: Float[Tensor, " q"]) -> Near:
    """Tell from how far apart in time pairs that look alike are, and others usually, what is near.

    The first width is the greatest power of 2 within which pairs that look alike are about the most frequent against
    others; the second is that up to which they stay `STILL` times as frequent.
    """
    above = usual[usual > 0]
    if not len(apart) or not len(above):
        return UNTIMED
    lowest, highest = (int(value.log2().floor()) for value in (above.min(), above.max()))
    edges = 2.0 ** torch.arange(lowest + 1, highest + 1, dtype=torch.float64, device=apart.device)
    pairs = torch.searchsorted(apart.double().sort().values, edges)
    chance = (torch.searchsorted(usual.double().sort().values, edges) + LEAST_PAIRS) / len(usual)
    oftener = pairs / len(apart) / chance * (pairs >= LEAST_PAIRS)
    if not len(edges) or oftener.max() < OFTENER:
        return UNTIMED
    first = int((oftener >= NEARLY * oftener.max()).nonzero().max())
    more = (pairs.diff() / len(apart) / chance.diff().clamp_min(1 / len(usual)))[first:]
    further = len(list(takewhile(lambda times: times >= STILL, more.tolist())))
    found = (float(edges[first]), float(edges[first + further]))
    return Near(found[: 1 + (further > 0)], float(oftener[first]))
