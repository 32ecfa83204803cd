"""The default recipe looks at the data: what there is to see without any label, and which settings follow from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.by_camera import standardise_by_camera
from resight.data.pixels import PixelSource
from resight.nearness import UNTIMED, Near
from resight.storage import Rows
from resight.types import UNKNOWN_CAMID

LOOKING = "auto"
"""The recipe that looks at the data."""

LOOKED_AT = 20_000
"""Most images that are embedded to look at them."""

ASKED = 2_000
"""Most images whose nearest ones are looked for."""

SEEN_ONCE = 0.65
"""Share of images whose own camera holds the most similar one, up to which no camera seems to have seen anybody twice.

By chance it is about half; 0.59 was seen where each camera saw each vehicle once, 0.82 and 0.84 of people whom it saw
several times.
"""

CAMERA_VOTES = 40
"""Least images of a camera that has a say in it: in a smaller one standardising drives its own images apart."""

MANY_ON_A_CPU = 5_000
"""Images from which the backbone's first stages, where half of the work is, keep their start weights on a CPU."""

LARGE = 2_000
"""Images from which a set is taken for one of many identities."""

GREY = 1.0
"""Mean difference of an image's highest and lowest channel, of 255, up to which it has no colours, as infrared ones."""

VOTES = 100
"""Least images that must be asked."""


BELONGS_TO = {
    "backbone.last_stride": "backbone.name",
    "backbone.frozen_stages": "backbone.name",
    "miner.eps": "miner.algorithm",
    "train.decay_at": "train.epochs",
}
"""Settings that are picked for another one's value, and mean nothing with a value that the user gives that one."""


@dataclass(frozen=True)
class Facts:
    """What can be seen of training images without labels.

    `cameras`: how many are known. `tracklets`: images that are in one. `own_first`: share of images whose most similar
    one is of the own camera rather than among as many images of other cameras; None: less than two cameras. `tall`:
    whether the network's input is. `across`: whether neighbours are looked for in each camera; `across_given`: because
    the user says so. `once`: what the user says of whether each camera saw an identity once; None: nothing. `gpu`:
    whether training runs on one. `grey`: share of the images that have no colours. `near`: what is near in time.
    """

    images: int
    cameras: int = 0
    tracklets: int = 0
    own_first: float | None = None
    tall: bool = True
    across: bool = True
    across_given: bool = False
    once: bool | None = None
    gpu: bool = False
    grey: float = 0.0
    near: Near = UNTIMED

    @property
    def seen_once(self) -> bool:
        """Whether each camera seems to have seen an identity once, or did so by what the user says."""
        if self.once is not None:
            return self.once
        return self.own_first is not None and self.own_first <= SEEN_ONCE and not self.tracklets


@dataclass(frozen=True)
class Choice:
    """A setting that was picked, and why, in words."""

    key: str
    value: Any
    reason: str

    @property
    def section(self) -> str:
        """The recipe's section that it is a setting of."""
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        """Its name in that section."""
        return self.key.partition(".")[2]

    @property
    def override(self) -> str:
        """The choice as one of --set's."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.key}={value}"

    def __str__(self) -> str:
        return f"{self.override} ({self.reason})"


def first_choices(facts: Facts) -> list[Choice]:
    """Pick what must be settled before any image is opened: the backbone and how long to train."""
    picked = []
    if facts.gpu:
        picked = [
            Choice("backbone.name", "resnet50", "a GPU is at hand"),
            Choice("backbone.last_stride", 1, "a GPU is at hand"),
            Choice("input.long_side", 256, "a GPU is at hand"),
        ]
    elif facts.images >= MANY_ON_A_CPU:
        why = f"{facts.images:,} images on a CPU: training takes half the time"
        picked = [Choice("backbone.frozen_stages", 3, why)]
    if facts.images < LARGE:
        return [*picked, Choice("train.epochs", 30, f"few images: {facts.images:,}")]
    if facts.images < 20_000:
        epochs, said = 20 if facts.gpu else 14, "some thousand"
    else:
        epochs, said = 15 if facts.gpu else 12, "many"
    return [
        *picked,
        Choice("train.epochs", epochs, f"{said} images: {facts.images:,}"),
        Choice("train.decay_at", [epochs - 3], f"the last three of {epochs} epochs settle what was learnt"),
    ]


def choices(facts: Facts) -> list[Choice]:
    """Pick what depends on cameras and on how images of one identity lie in them, and on the images' shape."""
    picked = []
    if facts.grey > 0.5:
        picked.append(Choice("miner.colours", [0.0, 0.0], f"{facts.grey:.0%} of the images have no colours"))
    elif facts.images >= LARGE:
        picked.append(Choice("miner.colours", [2.0, 0.6], "many identities: colours find most of them"))
    if facts.near.widths:
        why = f"of images that look alike {facts.near.oftener:.0f} times as many are that near in time as of others"
        picked += [
            Choice("miner.times", [0.4, 0.15], "nearness in time tells identities here, first of all"),
            Choice("miner.times_within", list(facts.near.widths), why),
        ]
    if not facts.tall:
        picked.append(Choice("augment.crop_aspect", [0.75, 1.33], "images are not tall, so crops are wider or taller"))
    if facts.cameras < 2:
        why = "one camera" if facts.cameras else "no cameras known"
        picked += [Choice("miner.across_cameras", False, why), Choice("miner.by_camera", False, why)]
    if facts.seen_once:
        why = "you say that each camera saw everybody once"
        if facts.once is None:
            why = f"each camera seems to have seen all once: {facts.own_first:.0%} find their like in the own camera"
        return [
            *picked,
            Choice("miner.once_per_camera", True, why),
            Choice("miner.k1", 2, "there is one right neighbour a camera"),
            Choice("miner.k2", 2, "an identity has one image a camera"),
            Choice("train.per_identity", max(2, min(4, facts.cameras)), "one image a camera"),
            *(
                [Choice("train.epochs", 12, "with one image a camera its labels settle early")]
                if facts.images < LARGE
                else []
            ),
        ]
    if facts.across and (facts.cameras == 2 or (facts.cameras > 2 and facts.across_given)):
        return [*picked, Choice("miner.k1", 5, "neighbours of each camera")]
    if facts.cameras > 2 and facts.across:
        why = (
            f"{facts.cameras} cameras: an identity was seen by some of them, so lists of each would fill with strangers"
        )
        picked.append(Choice("miner.across_cameras", False, why))
    if facts.images < LARGE:
        return [*picked, Choice("miner.k1", 11, f"{facts.images:,} images")]
    longer = [Choice("miner.k1", 25, "nearness in time holds longer lists together")] if facts.near.widths else []
    return [
        *picked,
        *(longer or [Choice("miner.k1", 15, f"{facts.images:,} images")]),
        Choice("miner.eps", [0.7, 0.8], "many identities: more of them look alike"),
        Choice("train.learning_rate", 3.5e-4, "many images: they are not soon learnt by heart"),
    ]


def all_choices(facts: Facts) -> list[Choice]:
    """Pick everything; of two picks of one setting the later, which has seen more, stands."""
    return list({choice.key: choice for choice in (*first_choices(facts), *choices(facts))}.values())


def settings_of(overrides: Iterable[str]) -> set[str]:
    """Give the settings that overrides ("section.key=value") name."""
    return {text.partition("=")[0].strip() for text in overrides}


def without(picked: Iterable[Choice], given: Iterable[str]) -> list[Choice]:
    """Leave out what the user has set, and what was picked for something else than what the user has set."""
    keys = settings_of(given)
    return [choice for choice in picked if not keys & {choice.key, BELONGS_TO.get(choice.key)}]


def own_camera_first(features: Float[Tensor, "n d"], camids: Int[Tensor, " n"], *, seed: int = 0) -> float | None:
    """Share of images whose most similar one is of the own camera, against as many images of other cameras.

    Features are standardised per camera first, or the own camera would always win. About ½ where a camera saw
    an identity once; far more where it saw it several times. None where fewer than two cameras of `CAMERA_VOTES` images
    are known, or fewer than `VOTES` images of such could be asked.
    """
    distinct, which, count = camids.unique(return_inverse=True, return_counts=True)
    known = ((distinct != UNKNOWN_CAMID) & (count >= CAMERA_VOTES))[which].nonzero().squeeze(1)
    camids = camids[known]
    cameras = camids.unique()
    if len(cameras) < 2:
        return None
    rows = Rows(features[known].clone())
    standardise_by_camera(rows, camids, rows)
    unit = rows.data
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randperm(len(unit), generator=generator)[:ASKED]
    won, total = 0, 0
    for camera in cameras:
        own, others = ((camids == camera).nonzero().squeeze(1), (camids != camera).nonzero().squeeze(1))
        mine = asked[camids[asked] == camera]
        size = min(len(own) - 1, len(others))
        if size < 1 or not len(mine):
            continue
        own = own[torch.randperm(len(own), generator=generator)[: size + 1]]
        others = others[torch.randperm(len(others), generator=generator)[:size]]
        same = (unit[mine] @ unit[own].T).masked_fill(mine.unsqueeze(1) == own, -torch.inf)
        won += int((same.amax(dim=1) > (unit[mine] @ unit[others].T).amax(dim=1)).sum())
        total += len(mine)
    return won / total if total >= VOTES else None


def share_grey(pixels: PixelSource) -> float:
    """Share of images, 0..1, that have no colours: those of a camera that sees infrared, or stored in grey."""
    grey = 0
    for index in torch.arange(len(pixels)).split(256):
        images = pixels.batch(index).float()
        grey += int(((images.amax(dim=1) - images.amin(dim=1)).mean((1, 2)) <= GREY).sum())
    return grey / max(1, len(pixels))
