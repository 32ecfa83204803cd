"""A run and a gallery of what it was trained on, for the tests of the commands."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def model(run: Path, tmp_path: Path) -> Path:
    """A run folder of its own."""
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def crops(people: Path) -> Path:
    return people / "bounding_box_train"


@pytest.fixture(scope="module")
def indexed(run: Path, people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of all images of the drawn people."""
    from resight.gallery.index import IndexRequest, run_index
    from resight.progress import no_bar, silent

    folder = tmp_path_factory.mktemp("galleries")
    run_index(
        IndexRequest(run, people, str(folder / "g"), type="person", cache_dir=folder / "cache", backend="torch"),
        silent,
        no_bar,
    )
    return folder / "g"


@pytest.fixture
def gallery(indexed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(indexed, tmp_path / "g"))
