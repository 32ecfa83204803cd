"""The rules by which the authors of a data set score a ranking, and what their descriptions count in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from resight.errors import ConfigError

CAMERA_RULES = ("own", "all", "none")


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """How one data set is evaluated.

    Always left out for a query, that is neither right nor wrong: junk (pid -1), its own image, and what else is of its
    own tracklet.

    Attributes:
        name: the name in `PROTOCOLS`.
        cameras: what else is left out: "own": images of the query's identity by its camera; "all": all images by its
            camera, strangers too; "none": nothing. A camera that is not known is nobody's camera.
        seconds: images of the query's identity within so many seconds (or frames, where these are the timestamps) of
            it, by the same camera or where cameras are not known, are left out too; 0: none.
        shots: gallery images of each identity, drawn at random; 0: all.
        draws: how often they are drawn, from fixed seeds; figures are means over the draws.
        official: images and identities by what they are of: "train", "query", "gallery", or, where there are several
            tests, "small query" and so on; None where the source does not say. Junk counts as images only.
        source: where these rules and counts stand.
    """

    name: str
    cameras: str = "own"
    seconds: float = 0.0
    shots: int = 0
    draws: int = 1
    official: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        if self.cameras not in CAMERA_RULES:
            raise ConfigError(f"a protocol's cameras must be one of {', '.join(CAMERA_RULES)}, got '{self.cameras}'")
        if self.seconds < 0 or self.shots < 0 or self.draws < 1:
            raise ConfigError(
                "a protocol must have seconds and shots of 0 or more and at least one draw, got "
                f"{self.seconds:g}, {self.shots} and {self.draws}"
            )


GENERAL = EvaluationProtocol("general")
"""Of data that no published protocol belongs to: the camera rule where cameras are known, all gallery images."""

PROTOCOLS: dict[str, EvaluationProtocol] = {"general": GENERAL}
