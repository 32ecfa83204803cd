"""What to draw, and one drawn crop: a function of the configuration, its identity, camera and view alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from resight.data.synthetic_cameras import Camera, backdrop, compose, expose, make_cameras, occlude, to_jpeg
from resight.data.synthetic_people import draw_person, make_person
from resight.data.synthetic_vehicles import draw_vehicle, make_vehicle
from resight.errors import ConfigError, no_such_name

_IDENTITY, _CAMERA, _TRACKLET, _VIEW = range(4)


@dataclass(frozen=True)
class Kind:
    """How to draw one kind of thing, and the layout its data set is written in.

    `folders`: of train, query and gallery. `lists`: text files that name the images of each, or none. `turned_away`:
    share of tracklets that show the side opposite to the camera's usual one. `roundness`: see `compose`.
    """

    make: Callable[..., Any]
    draw: Callable[..., Image.Image]
    folders: tuple[str, str, str]
    lists: tuple[str, ...]
    name: str
    turned_away: float
    roundness: float


KINDS: dict[str, Kind] = {
    "people": Kind(
        make=make_person,
        draw=draw_person,
        folders=("bounding_box_train", "query", "bounding_box_test"),
        lists=(),
        name="{pid:04d}_c{camera}s1_{frame:06d}_00.jpg",
        turned_away=0.3,
        roundness=0.45,
    ),
    "vehicles": Kind(
        make=make_vehicle,
        draw=draw_vehicle,
        folders=("image_train", "image_query", "image_test"),
        lists=("name_train.txt", "name_query.txt", "name_test.txt"),
        name="{pid:04d}_c{camera:03d}_{frame:08d}_0.jpg",
        turned_away=0.1,
        roundness=0.15,
    ),
}


@dataclass(frozen=True)
class SyntheticConfig:
    """What to draw. `images_per_camera`: views of one identity in one camera. `height`, `width`: pixels of a crop.

    Raises:
        ConfigError: An unknown kind, or a number out of its range.
    """

    kind: str = "people"
    seed: int = 1
    train_identities: int = 60
    test_identities: int = 30
    cameras: int = 3
    images_per_camera: int = 6
    height: int = 128
    width: int = 64

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise no_such_name("kind of synthetic data", self.kind, KINDS)
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} of synthetic data must lie in {low}..{high}, got {value}")

    @property
    def pids(self) -> range:
        """Every identity: those of the training split first, then those of the test splits; 0 is not used."""
        return range(1, 1 + self.train_identities + self.test_identities)


_RANGES = (
    ("seed", 0, 2**63 - 1),
    ("train_identities", 1, 5000),
    ("test_identities", 1, 4999),
    ("cameras", 2, 9),
    ("images_per_camera", 2, 99),
    ("height", 32, 1024),
    ("width", 32, 1024),
)

DEMOS: dict[str, SyntheticConfig] = {
    "people": SyntheticConfig("people"),
    "vehicles": SyntheticConfig("vehicles", width=128),
}
"""The data sets of the demo: small enough to draw and train on two cores in minutes."""


def _generator(config: SyntheticConfig, *purpose: int) -> np.random.Generator:
    """Make a generator of random numbers for one purpose, independent of all others."""
    return np.random.default_rng([config.seed, sorted(KINDS).index(config.kind), *purpose])


@lru_cache(maxsize=8)
def _cameras(config: SyntheticConfig) -> tuple[Camera, ...]:
    """Set up the cameras of a configuration once."""
    return make_cameras(_generator(config, _CAMERA), config.cameras, config.height, config.width)


def draw_crop(config: SyntheticConfig, pid: int, camera: int, view: int) -> bytes:
    """Draw one image as JPEG bytes; `camera` and `view` count from 0, `pid` from 1."""
    kind, device = KINDS[config.kind], _cameras(config)[camera]
    size = config.width, config.height
    tracklet = _generator(config, _TRACKLET, pid, camera)
    yaw = device.yaw + tracklet.normal(0, 0.35) + (np.pi if tracklet.random() < kind.turned_away else 0)
    place = float(tracklet.random())
    rng = _generator(config, _VIEW, pid, camera, view)
    identity = kind.make(_generator(config, _IDENTITY, pid))
    figure = _shift(kind.draw(identity, rng, float(yaw + rng.normal(0, 0.15)), device.pitch, size), rng)
    scene = compose(backdrop(device, rng, place, size), figure, device, roundness=kind.roundness)
    if rng.random() < 0.08:
        scene = _add_stranger(scene, config, device, rng)
    light = occlude(scene, rng) if rng.random() < 0.15 else scene
    return to_jpeg(expose(device, light, rng), device.quality - int(rng.integers(0, 20)))


def _shift(figure: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut a figure off, as a badly placed crop box does: one in ten by up to a fifth."""
    if rng.random() >= 0.1:
        return figure
    right, down = (int(s * rng.uniform(-0.2, 0.2)) for s in figure.size)
    return figure.crop((right, down, right + figure.width, down + figure.height))


def _add_stranger(
    scene: Float[np.ndarray, "h w 3"], config: SyntheticConfig, device: Camera, rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
    """Let another identity of the kind pass in front, at the crop's edge."""
    kind = KINDS[config.kind]
    size = config.width, config.height
    other = kind.draw(kind.make(rng), rng, float(rng.uniform(-np.pi, np.pi)), device.pitch, size)
    right = int(config.width * rng.uniform(0.45, 0.7)) * (1 if rng.random() < 0.5 else -1)
    down = -config.height // 12
    moved = other.crop((right, down, right + config.width, down + config.height))
    return compose(scene, moved, device, roundness=kind.roundness)
