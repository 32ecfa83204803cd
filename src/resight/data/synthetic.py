"""Data sets drawn from a seed: crops of people or vehicles, several cameras, in a public data set's layout.

Every image is a function of the configuration, its identity, camera and view alone, so the order in which images are
drawn does not matter and the same configuration gives the same bytes.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from resight.data.synthetic_cameras import Camera, backdrop, compose, expose, make_cameras, occlude, to_jpeg
from resight.data.synthetic_people import draw_person, make_person
from resight.data.synthetic_vehicles import draw_vehicle, make_vehicle
from resight.errors import ConfigError, DataError, no_such_name

SYNTHETIC_VERSION = 1
"""Changes whenever the same configuration would give other images."""

RECORD = "synthetic.json"
"""The file in a data set's folder that says what was drawn there."""

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
        turned_away=0.2,
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


@dataclass(frozen=True)
class Shot:
    """One image of the data set. `split`: 0 train, 1 query, 2 gallery; `camera` and `view` count from 0."""

    split: int
    pid: int
    camera: int
    view: int

    def path(self, kind: Kind) -> str:
        """Where it is written, from the data set's folder."""
        frame = (self.pid * 37 + self.camera * 11) % 4000 * 100 + self.view
        name = kind.name.format(pid=self.pid, camera=self.camera + 1, frame=frame)
        return f"{kind.folders[self.split]}/{name}"


def shots(config: SyntheticConfig) -> Iterator[Shot]:
    """List every image: a test identity's first view in each camera is a query, its other views are the gallery."""
    for pid in config.pids:
        for camera in range(config.cameras):
            for view in range(config.images_per_camera):
                test = pid > config.train_identities
                yield Shot((1 if view == 0 else 2) if test else 0, pid, camera, view)


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
    yaw = device.yaw + tracklet.normal(0, 0.4) + (np.pi if tracklet.random() < kind.turned_away else 0)
    place = float(tracklet.random())
    rng = _generator(config, _VIEW, pid, camera, view)
    identity = kind.make(_generator(config, _IDENTITY, pid))
    figure = _shift(kind.draw(identity, rng, float(yaw + rng.normal(0, 0.15)), device.pitch, size), rng)
    scene = compose(backdrop(device, rng, place, size), figure, device, roundness=kind.roundness)
    if rng.random() < 0.12:
        scene = _add_stranger(scene, config, device, rng)
    light = occlude(scene, rng) if rng.random() < 0.22 else scene
    return to_jpeg(expose(device, light, rng), device.quality - int(rng.integers(0, 20)))


def _shift(figure: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut a figure off, as a badly placed crop box does: one in eight by up to a fifth."""
    if rng.random() >= 0.125:
        return figure
    right, down = (int(s * rng.uniform(-0.2, 0.2)) for s in figure.size)
    return figure.crop((right, down, right + figure.width, down + figure.height))


def _add_stranger(
    scene: Float[np.ndarray, "h w 3"], config: SyntheticConfig, device: Camera, rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
    """Let somebody else pass in front, at the crop's edge."""
    kind = KINDS[config.kind]
    size = config.width, config.height
    other = kind.draw(kind.make(rng), rng, float(rng.uniform(-np.pi, np.pi)), device.pitch, size)
    right = int(config.width * rng.uniform(0.45, 0.7)) * (1 if rng.random() < 0.5 else -1)
    down = -config.height // 12
    moved = other.crop((right, down, right + config.width, down + config.height))
    return compose(scene, moved, device, roundness=kind.roundness)


def write_synthetic(root: Path, config: SyntheticConfig) -> None:
    """Draw a data set into the folder `root`; where it holds the very same one already, do nothing.

    People are laid out as Market-1501, vehicles as VeRi-776. The folder appears whole or not at all.

    Raises:
        DataError: `root` is a file, or a folder that holds something else.
    """
    if _is_drawn(root, config):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write_images(part, config)
        part.chmod(0o755)  # mkdtemp makes a folder that only its owner may read
        _move_in(part, root, config)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _move_in(part: Path, root: Path, config: SyntheticConfig) -> None:
    """Rename a finished folder to its place, unless another process put the same data set there first."""
    try:
        part.replace(root)
    except OSError:
        if not _is_drawn(root, config):
            raise


def _write_images(root: Path, config: SyntheticConfig) -> None:
    """Write the images, the lists of their names and the record."""
    kind = KINDS[config.kind]
    for folder in kind.folders:
        (root / folder).mkdir()
    names: tuple[list[str], ...] = ([], [], [])
    for shot in shots(config):
        path = root / shot.path(kind)
        path.write_bytes(draw_crop(config, shot.pid, shot.camera, shot.view))
        names[shot.split].append(path.name)
    for file, listed in zip(kind.lists, names, strict=False):
        (root / file).write_text("".join(f"{name}\n" for name in sorted(listed)), encoding="utf-8")
    (root / RECORD).write_text(json.dumps(_record(config), indent=2) + "\n", encoding="utf-8")


def _record(config: SyntheticConfig) -> dict[str, Any]:
    """Say what was drawn."""
    return {"synthetic_version": SYNTHETIC_VERSION, **asdict(config)}


def _is_drawn(root: Path, config: SyntheticConfig) -> bool:
    """Tell whether `root` holds this data set, or, if not, whether it is free to take."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    if root.is_file():
        raise DataError(f"the folder to draw a data set into must not be a file, got {root}; choose another name")
    found = read_record(root)
    wanted = _record(config)
    if found is None:
        raise DataError(
            f"{root} must be empty to draw a data set into it, and holds other files; choose another folder"
        )
    if found != wanted:
        other = ", ".join(f"{k} {found.get(k)} (not {v})" for k, v in wanted.items() if found.get(k) != v)
        raise DataError(f"{root} holds a drawn data set with {other}; delete it or choose another folder")
    lost = [path for path in (shot.path(KINDS[config.kind]) for shot in shots(config)) if not (root / path).is_file()]
    if lost:
        raise DataError(
            f"{root} has lost {len(lost)} of its images, {lost[0]} first; delete the folder to draw it again"
        )
    return True


def read_record(root: Path) -> dict[str, Any] | None:
    """Read what `synthetic.json` says was drawn in a folder; None where there is no such file or it cannot be read."""
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def contact_sheet(
    source: Path | Sequence[Sequence[Image.Image]], *, identities: int = 8, views: int = 3, gap: int = 2
) -> Image.Image:
    """Lay images out to look at: a row an identity, its views in the first camera, then in the next.

    `source`: the folder of a drawn data set, whose first training identities are shown, or the rows themselves, all
    images of one size. `gap`: pixels between images; between cameras twice that.

    Raises:
        DataError: The folder holds no drawn data set, or there are no images.
    """
    rows = _rows_of(source, identities, views) if isinstance(source, Path) else [list(row) for row in source]
    if not rows or not rows[0]:
        raise DataError("a contact sheet must have at least one image, got none")
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (len(rows[0]) * (width + gap) + gap, len(rows) * (height + gap) + gap), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (gap + x * (width + gap), gap + y * (height + gap)))
    return sheet


def _rows_of(root: Path, identities: int, views: int) -> list[list[Image.Image]]:
    """Open the first images of a drawn data set."""
    record = read_record(root)
    if record is None:
        raise DataError(f"{root} must hold a drawn data set to show it, and has no readable {RECORD}")
    record.pop("synthetic_version")
    config = SyntheticConfig(**record)
    rows: dict[int, list[Image.Image]] = {}
    for shot in shots(config):
        if shot.split == 0 and shot.pid <= identities and shot.view < views:
            with Image.open(root / shot.path(KINDS[config.kind])) as image:
                rows.setdefault(shot.pid, []).append(image.convert("RGB"))
    return list(rows.values())
