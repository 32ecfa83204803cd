"""What an evaluation found, checked, for the screen and for JSON."""

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from resight.errors import DataError

CAMERA_PAIRS_SHOWN = 60
"""Most pairs of cameras on the screen; all are in the JSON."""


@dataclass(frozen=True)
class CameraPair:
    """Queries of one camera against the gallery images of one camera: how many have an answer there, and the scores."""

    query_camid: int
    gallery_camid: int
    queries: int
    mAP: float  # noqa: N815
    cmc1: float


@dataclass(frozen=True)
class RetrievalResult:
    """What an evaluation found; all figures are fractions, larger is better.

    `mAP_trapezoid`: mean of the trapezoid AP (see `metrics.retrieval_metrics`). `cmc`: CMC@k by k, all gallery images
    of an identity taking part (multi-shot). `single_shot`: CMC@k with one gallery image of each identity, drawn at
    random; None where not asked for. `intervals`: bounds of the 95 % bootstrap interval over queries, by the figure's
    name. `camera_pairs`: empty where not asked for. `queries`: how many count. `left_out`: how many do not, having no
    right answer. `draws`: over how many drawn galleries the figures are means. `ap`: of each query, NaN where left out.
    `scoring`: what was done beside a plain search by cosine, such as re-ranking, with its settings.
    `first_rank`: rank of each query's first right answer, 0 where left out; in the first draw, where there are draws.

    Raises:
        DataError: a figure is not a fraction, CMC falls with k, or the counts do not add up.
    """

    mAP: float  # noqa: N815
    mINP: float  # noqa: N815
    cmc: dict[int, float]
    queries: int
    left_out: int
    ap: Float[Tensor, " q"] = field(compare=False, repr=False)
    first_rank: Int[Tensor, " q"] = field(compare=False, repr=False)
    mAP_trapezoid: float = 0.0  # noqa: N815
    protocol: str = "general"
    draws: int = 1
    single_shot: dict[int, float] | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    camera_pairs: tuple[CameraPair, ...] = ()
    scoring: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        figures = {"mAP": self.mAP, "trapezoid mAP": self.mAP_trapezoid, "mINP": self.mINP}
        figures |= {f"CMC@{k}": share for k, share in self.cmc.items()}
        figures |= {f"single-shot CMC@{k}": share for k, share in (self.single_shot or {}).items()}
        for name, value in figures.items():
            if not 0.0 <= value <= 1.0:
                raise DataError(f"{name} must be a fraction between 0 and 1, got {value}")
        shares = [self.cmc[k] for k in sorted(self.cmc)]
        if shares != sorted(shares):
            raise DataError(f"CMC must not fall as k grows, got {self.cmc}")
        if self.queries + self.left_out != len(self.ap):
            raise DataError(f"{self.queries} queries and {self.left_out} left out must make {len(self.ap)} queries")

    def to_json(self) -> dict[str, Any]:
        """Give the figures as fractions and whole numbers, ready for `json.dump`."""
        figures: dict[str, Any] = {
            "mAP": self.mAP,
            "mAP_trapezoid": self.mAP_trapezoid,
            "mINP": self.mINP,
            "cmc": {str(k): self.cmc[k] for k in sorted(self.cmc)},
            "queries": self.queries,
            "left_out": self.left_out,
            "protocol": self.protocol,
        }
        if self.scoring:
            figures["scoring"] = self.scoring
        if self.draws > 1:
            figures["draws"] = self.draws
        if self.single_shot is not None:
            figures["cmc_single_shot"] = {str(k): self.single_shot[k] for k in sorted(self.single_shot)}
        if self.intervals:
            figures["intervals_95"] = {name: list(bounds) for name, bounds in self.intervals.items()}
        if self.camera_pairs:
            figures["camera_pairs"] = [
                {
                    "query": pair.query_camid,
                    "gallery": pair.gallery_camid,
                    "queries": pair.queries,
                    "mAP": pair.mAP,
                    "cmc1": pair.cmc1,
                }
                for pair in self.camera_pairs
            ]
        return figures

    def lines(self) -> list[str]:
        """Give the figures for the screen, in percent, one line each."""
        named = {"mAP": self.mAP, "mINP": self.mINP} | {f"CMC@{k}": self.cmc[k] for k in sorted(self.cmc)}
        lines = [f"{name:<8} {100 * value:6.2f} %{self._interval(name)}" for name, value in named.items()]
        lines.insert(1, f"mAP by trapezoids {100 * self.mAP_trapezoid:.2f} %")
        if self.scoring:
            lines.insert(0, "; ".join(f"{name} {_settings(value)}".strip() for name, value in self.scoring.items()))
        if self.single_shot is not None:
            shares = ", ".join(f"@{k} {100 * self.single_shot[k]:.2f} %" for k in sorted(self.single_shot))
            lines.append(f"single-shot CMC {shares}")
        counts = f"{self.queries:,} queries, {self.left_out:,} left out (no right answer)"
        drawn = f", mean of {self.draws} drawn galleries" if self.draws > 1 else ""
        return [*lines, *self._camera_lines(), counts + drawn]

    def _interval(self, name: str) -> str:
        if name not in self.intervals:
            return ""
        low, high = self.intervals[name]
        return f"  (95 % interval {100 * low:.1f} to {100 * high:.1f})"

    def _camera_lines(self) -> list[str]:
        if not self.camera_pairs:
            return []
        shown = self.camera_pairs[:CAMERA_PAIRS_SHOWN]
        more = len(self.camera_pairs) - len(shown)
        rows = [
            f"{p.query_camid:>6} {p.gallery_camid:>8} {p.queries:>8,} {100 * p.mAP:8.2f} {100 * p.cmc1:8.2f}"
            for p in shown
        ]
        rest = [f"… and {more} more pairs in --json"] if more else []
        return ["camera  gallery  queries    mAP %  CMC@1 %", *rows, *rest]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _settings(value: Any) -> str:
    """Write settings such as {"k1": 20} as (k1 20)."""
    if isinstance(value, dict):
        return f"({', '.join(f'{name} {setting}' for name, setting in value.items())})"
    return "" if value is True else str(value)
