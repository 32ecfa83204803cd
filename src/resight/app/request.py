"""What `resight app` was asked for."""

from dataclasses import dataclass
from pathlib import Path

from resight.data.digests import default_cache_dir
from resight.outputs import check_output
from resight.review.store import FILE


@dataclass(frozen=True)
class AppRequest:
    """All of it.

    `token`: None makes one where others can reach the app, and none elsewhere. `groups`: a Parquet file of groups,
    shown where it is there, and saved to.

    Raises:
        ConfigError: groups cannot be saved there.
    """

    run: Path
    gallery: str | None = None
    groups: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    browser: bool | None = None
    state: Path | None = None
    threshold: float | None = None
    false_match_rate: float | None = None
    backend: str = "auto"
    device: str = "auto"
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        check_output(self.groups, "--groups", suffixes=(".parquet",), overwrite=True)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run if self.run.is_dir() else self.run.parent

    @property
    def state_file(self) -> Path:
        """Where the answers lie."""
        return self.state or self.folder / FILE

    @property
    def cache(self) -> Path:
        """Where what can be made again is kept."""
        return self.cache_dir or default_cache_dir()

    @property
    def decides(self) -> bool:
        """Whether the user has said from which score on a pair counts as a match."""
        return self.threshold is not None or self.false_match_rate is not None
