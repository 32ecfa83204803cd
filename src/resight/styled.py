"""CamStyle in a run: which folder, what is said of it, and how it comes into the parts."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from resight.config import Recipe
from resight.data.camstyle import Styles, camstyle_beside, find_styles, open_styles
from resight.data.leaks import find_leaks, refuse_leaks
from resight.errors import CheckpointError
from resight.prepare import Progress
from resight.progress import Say
from resight.train import Parts
from resight.types import Dataset, Sample, Split


def with_camstyle(recipe: Recipe, folder: Path | None) -> Recipe:
    """Put the folder asked for into the recipe, absolute, so that a resumed run finds it from anywhere."""
    wanted = folder or recipe.data.camstyle
    camstyle = str(Path(wanted).resolve()) if wanted else ""
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, camstyle=camstyle))


def wanted_styles(recipe: Recipe, dataset: Dataset, say: Say) -> Styles | None:
    """Find the CamStyle images asked for, and tell; where none are asked for but some lie at hand, say how to.

    Raises:
        DataError: see `find_styles`.
    """
    if recipe.data.camstyle:
        styles = find_styles(Path(recipe.data.camstyle), dataset.train.paths)
        say(styles.sentence())
        return styles
    beside = camstyle_beside(dataset)
    if beside is not None:
        say(f"CamStyle images lie in {beside} and are not used; to use them: --camstyle {shlex.quote(str(beside))}")
    return None


def refuse_style_leaks(styles: Styles, dataset: Dataset, cache_dir: Path) -> None:
    """Refuse styles whose exact content also stands in query or gallery, as training images are.

    Raises:
        DataError: there are some.
    """
    shown = Split("train", tuple(Sample(path) for path in styles.paths))
    refuse_leaks(find_leaks(dataclasses.replace(dataset, train=shown), cache_dir), kind="CamStyle image")


def add_styles(
    parts: Parts,
    styles: Styles,
    cache_dir: Path,
    *,
    skip_broken: bool,
    progress: Progress | None = None,
) -> tuple[str, dict[str, Any]]:
    """Decode the styles into the parts; give their digest for the checkpoints and a record for the log.

    Raises:
        DataError: see `open_styles`.
    """
    parts.styles = open_styles(styles, parts.pixels, cache_dir, skip_broken=skip_broken, progress=progress)
    return styles.digest(cache_dir), styles.record()


def refuse_other_styles(checkpoint: Path, stored: str | None, found: str | None) -> None:
    """Refuse to resume with CamStyle images that are not those of the checkpoint.

    Raises:
        CheckpointError: as said.
    """
    if stored != found:
        raise CheckpointError(
            f"{checkpoint} was trained with other CamStyle images than there are now; put back those that the run "
            "began with, or name the folder that holds them with --camstyle"
        )
