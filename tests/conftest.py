"""Shared by all tests: one thread, no user cache."""

from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep decoded images of tests out of the user's cache."""
    monkeypatch.setenv("RESIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Switch the shape checks off, as users run without them, to meet the errors that users meet."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training images of 3 people in 2 cameras, and a test of 2 people, drawn."""
    from small_runs import write_people

    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def run(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch on them."""
    from small_runs import train_run

    return train_run(people, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def resight(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `resight words…` as the shell would; gives exit code, what was printed, and the errors."""
    from resight import cli

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["resight", *map(str, words)])
        monkeypatch.setattr(cli, "console", cli.Console(highlight=False, soft_wrap=True))
        monkeypatch.setattr(cli, "errors", cli.Console(stderr=True, highlight=False, soft_wrap=True))
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return command
