"""One run, one gallery and one opened workplace for all tests of the app."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app_cases import fill_gallery


@pytest.fixture(scope="package")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the `people` of all tests, for this folder's at once."""
    from small_runs import write_people

    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="package")
def run(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on them, for reading only."""
    from small_runs import train_run

    return train_run(people, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="package")
def stored(run: Path, people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of all their images, to be copied: one process has it open at a time."""
    return fill_gallery(run, people, tmp_path_factory.mktemp("stored"))


@pytest.fixture
def gallery(stored: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(stored, tmp_path / "crops.db")


@pytest.fixture(scope="package")
def place(run: Path, stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A workplace with a gallery; its answers are shared."""
    from resight.app.request import AppRequest
    from resight.app.workplace import Workplace

    folder = tmp_path_factory.mktemp("place")
    gallery = shutil.copytree(stored, folder / "crops.db")
    with Workplace(AppRequest(run, str(gallery), device="cpu", state=folder / "review.sqlite")) as opened:
        yield opened
