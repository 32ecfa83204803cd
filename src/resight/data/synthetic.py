"""Data sets drawn from a seed: crops of people or vehicles, several cameras, in a public data set's layout.

Every image is a function of the configuration, its identity, camera and view alone, so the order in which images are
drawn does not matter and the same configuration gives the same bytes.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from resight.data.synthetic_crops import DEMOS, KINDS, Kind, SyntheticConfig, draw_crop
from resight.errors import DataError

__all__ = ["DEMOS", "Shot", "SyntheticConfig", "contact_sheet", "draw_crop", "shots", "write_synthetic"]

SYNTHETIC_VERSION = 1
"""Changes whenever the same configuration would give other images."""

RECORD = "synthetic.json"
"""The file in a data set's folder that says what was drawn there."""


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
    found = _read_record(root)
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


def _read_record(root: Path) -> dict[str, Any] | None:
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
    images of one size. `gap`: pixels between images.

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
    record = _read_record(root)
    if record is None or record.pop("synthetic_version", None) != SYNTHETIC_VERSION:
        raise DataError(
            f"{root} must hold a data set drawn by this version to show it, and its {RECORD} says otherwise"
        )
    config = SyntheticConfig(**record)
    rows: dict[int, list[Image.Image]] = {}
    for shot in shots(config):
        if shot.split == 0 and shot.pid <= identities and shot.view < views:
            with Image.open(root / shot.path(KINDS[config.kind])) as image:
                rows.setdefault(shot.pid, []).append(image.convert("RGB"))
    return list(rows.values())
