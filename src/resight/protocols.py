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

_PEOPLE = (
    EvaluationProtocol(
        "market1501",
        # Junk is among the images of the gallery; its identities are 750 people and the distractors' 0000.
        official={"train": (12_936, 751), "query": (3_368, 750), "gallery": (19_732, 751)},
        source="readme.txt of Market-1501-v15.09.15 and Zheng et al. 2015",
    ),
    EvaluationProtocol(
        "dukemtmc",
        # 408 of the gallery's identities are strangers that no query has.
        official={"train": (16_522, 702), "query": (2_228, 702), "gallery": (17_661, 1_110)},
        source="README of DukeMTMC-reID and Zheng et al. 2017",
    ),
    EvaluationProtocol(
        "msmt17",
        official={"train": (32_621, 1_041), "query": (11_659, 3_060), "gallery": (82_161, 3_060)},
        source="Wei et al. 2018; train is list_train (30,248) and list_val (2,373)",
    ),
    EvaluationProtocol(
        "cuhk03np",
        official={"train": (7_368, 767), "query": (1_400, 700), "gallery": (5_328, 700)},
        source="README of CUHK03-NP, labeled (Zhong et al. 2017)",
    ),
    EvaluationProtocol(
        "cuhk03np-detected",
        official={"train": (7_365, 767), "query": (1_400, 700), "gallery": (5_332, 700)},
        source="README of CUHK03-NP, detected (Zhong et al. 2017)",
    ),
    EvaluationProtocol(
        "cuhk03",
        cameras="all",
        shots=1,
        draws=10,
        source="Li et al. 2014, drawn 10 times as in open-reid's cuhk03 rule, which draws for each query anew and has "
        "its mAP over the whole gallery; its 20 splits are not CUHK03-NP's one",
    ),
)

_VEHICLES = (
    EvaluationProtocol(
        "veri776",
        official={"train": (37_778, 576), "query": (1_678, 200), "gallery": (11_579, 200)},
        source="ReadMe.txt that VeRi ships with",
    ),
    EvaluationProtocol(
        "veriwild",
        official={
            "train": (277_797, 30_671),
            "small query": (3_000, 3_000),
            "small gallery": (38_861, 3_000),
            "medium query": (5_000, 5_000),
            "medium gallery": (64_389, 5_000),
            "large query": (10_000, 10_000),
            "large gallery": (128_517, 10_000),
        },
        source="README of VERI-Wild for the rule; train as FastReID's loader counts it, tests as SSML-FD's log does",
    ),
    EvaluationProtocol(
        "vehicleid",
        cameras="none",
        shots=1,
        draws=10,
        # Of the lists, before the draw; a paper's gallery is its identities' count, its queries the rest.
        official={
            "train": (113_346, 13_164),
            "small query": (6_493, 800),
            "small gallery": (6_493, 800),
            "medium query": (13_377, 1_600),
            "medium gallery": (13_377, 1_600),
            "large query": (19_777, 2_400),
            "large gallery": (19_777, 2_400),
        },
        source="Liu et al., CVPR 2016, for the rule; counts of VehicleID_V1.0's lists as in FastReID's loader",
    ),
)

_ANIMALS = (
    EvaluationProtocol(
        "wildlife",
        cameras="none",
        source="the evaluation of WildlifeDatasets (Čermák et al. 2024), which knows no cameras",
    ),
)

PROTOCOLS: dict[str, EvaluationProtocol] = {
    "general": GENERAL,
    **{protocol.name: protocol for protocol in (*_PEOPLE, *_VEHICLES, *_ANIMALS)},
}
