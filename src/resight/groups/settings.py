"""How crops are compared, and how far apart the members of a group may be: settings, and how they follow from the data.

What was chosen, and on which images, stands in docs/grouping.md. No label is read.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from resight.by_camera import standardise_by_camera
from resight.clustering import Graph, check_eps, jaccard_of
from resight.config import Recipe
from resight.errors import ConfigError
from resight.linkage import MEAN_REACH
from resight.looking import SEEN_ONCE, own_camera_first
from resight.memory import FeatureMemory
from resight.score_counts import Progress
from resight.storage import Rows
from resight.types import UNKNOWN_CAMID

FEW = 2_000
"""Images below which lists are short."""

MAYBE_ONCE = 0.5
"""Share of images whose most similar one is of the own camera, below which each camera may have seen everybody once.

Chance alone gives a half; a trained model goes below it where the own camera holds nobody's second image.
"""


@dataclass(frozen=True)
class Asked:
    """What the user has set; None is left to the data.

    `neighbours`: images of a neighbour list, itself counted; where each camera saw everybody once, of each camera's.
    `distance`: mean Jaccard distance of two clusters up to which they are one group, between 0 and 1; larger gives
    fewer and larger groups. `by_camera`: standardise per camera first. `camera_once`: each camera saw an identity at
    most once. `strict`: cut groups where no pair is a match.
    """

    neighbours: int | None = None
    distance: float | None = None
    by_camera: bool | None = None
    camera_once: bool | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        if self.neighbours is not None and self.neighbours < 2:
            raise ConfigError(f"--neighbours must be 2 or more, the image itself counted, got {self.neighbours}")
        if self.distance is not None:
            check_eps(self.distance)


@dataclass(frozen=True)
class Rules:
    """The settings that a grouping runs with; `said` is why, in sentences."""

    k1: int
    k2: int
    eps: float
    by_camera: bool
    camera_once: bool
    strict: bool = False
    said: tuple[str, ...] = ()


def trained_once(recipe: Recipe) -> bool:
    """Say whether a model was trained under the rule that each camera saw everybody once."""
    return recipe.miner.name == "cluster" and bool(recipe.miner.options.get("once_per_camera", False))


def settled(
    asked: Asked, embeddings: Float[Tensor, "n d"], camids: Int[Tensor, " n"], *, trained_once: bool = False
) -> Rules:
    """Fill in what the user has left open.

    `trained_once`: of the model's recipe; what it says was found on the training images before training, when it can
    be told best.

    Raises:
        ConfigError: cameras are asked to be told apart, and fewer than two are known.
    """
    cameras = len(set(camids.tolist()) - {UNKNOWN_CAMID})
    for flag, name in ((asked.by_camera, "--by-camera"), (asked.camera_once, "--camera-once")):
        if flag and cameras < (2 if name == "--by-camera" else 1):
            raise ConfigError(f"{name} needs images of known cameras, and there are {cameras} cameras; leave it out")
    by_camera = cameras > 1 if asked.by_camera is None else asked.by_camera
    once, said = asked.camera_once, []
    if once is None:
        share = own_camera_first(embeddings.cpu(), camids) if cameras > 1 else None
        once = trained_once and cameras > 1 and (share is None or share <= SEEN_ONCE)
        if once:
            said.append(
                "the model was trained on cameras that saw everybody once, so no group holds two images of one camera; "
                "if these did not, give --no-camera-once"
            )
        elif share is not None and share < MAYBE_ONCE:
            said.append(
                f"{share:.0%} of the images find their like in the own camera, fewer than by chance: if each "
                "camera saw everybody at most once, --camera-once makes better groups"
            )
    k1 = 2 if once else (11 if len(embeddings) < FEW else 21)
    k1, eps = asked.neighbours or k1, asked.distance or (0.8 if once else 0.9)
    return Rules(k1, 2 if once else min(3, k1), eps, by_camera, once, asked.strict, tuple(said))


def compared(
    embeddings: Float[Tensor, "n d"],
    camids: Int[Tensor, " n"],
    rules: Rules,
    *,
    progress: Progress | None = None,
) -> Graph:
    """Compute the Jaccard distances that groups are made by; `progress` is told rows searched and rows in all.

    Nothing grows with the square of the number of images but the search, whose products come by blocks.
    """
    rows = Rows(embeddings.float())
    if rules.by_camera:
        rows = Rows(embeddings.float().clone())
        standardise_by_camera(rows, camids.to(rows.device), rows)
    memory = FeatureMemory.over(rows)
    across = rules.camera_once and bool((camids != UNKNOWN_CAMID).any())
    if not across:
        done = 0
        for searched in memory.listing(rules.k1):
            done += searched
            if progress is not None:
                progress(done, len(memory))
    reach = max(rules.eps, MEAN_REACH)
    return jaccard_of(memory, k1=rules.k1, k2=rules.k2, reach=reach, camids=camids if across else None)
