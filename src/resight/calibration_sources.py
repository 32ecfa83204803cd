"""Where a calibration learns what scores mean: answers, tracklets, the images alone, or (for checking) identities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.calibrate import Calibration, Curve
from resight.calibration_fit import curve_against_strangers, curve_of_labelled, curve_of_odds, fit_answers
from resight.constraints import find_constraints
from resight.errors import ConfigError, DataError
from resight.pair_answers import PairAnswer, picture_name
from resight.score_counts import (
    CELLS,
    Kinds,
    Progress,
    cameras_known,
    count_pairs,
    count_strangers,
    within_camera,
)
from resight.types import UNKNOWN_CAMID, UNKNOWN_TRACKLET, Split

LEAST_MEASURED = 1000
"""Fewest pairs of strangers seen at the same time that stand in for simulated ones."""

ACROSS_ALONE = (
    "all answers are to pairs of two cameras, so all of this is of such pairs: two images of one camera score higher"
)

TRUST = {
    "answers": "as good as the answers: with few of them probabilities may be off by a few tenths where answers are "
    "thin, and the false-match rate, which follows from them, by a factor of two",
    "tracklets": "good within one camera, where strangers were seen at the same time; across cameras strangers are "
    "only simulated, and images of one tracklet are easier than the same identity elsewhere",
    "cameras": "the threshold is safe on images like these: no more than the asked rate of different pairs reaches "
    "it, as every pair above it is counted as different; probabilities are rough, among high scores often off by "
    "0.1 to 0.3, and the share of same pairs up to eightfold, as look-alikes cannot be told "
    "from the same one without any answer",
    "identities": "as good as the identities; on other images than these it may differ",
}
"""How far to rely on each source: checked by benchmarks/calibration.py, but for tracklets, which only tests check."""


@dataclass(frozen=True)
class Scored:
    """Unit rows of a split's images, on the device to compute on, and where the file names of answers begin."""

    embeddings: Float[Tensor, "n d"]
    split: Split
    root: Path = Path()

    @property
    def camids(self) -> Int[Tensor, " n"]:
        """Camera of each image."""
        return torch.tensor(self.split.camids, device=self.embeddings.device)


@dataclass(frozen=True)
class Learnt:
    """Curves of all pairs, and of those across and within cameras, and how many pairs told of them."""

    overall: Curve
    across: Curve | None
    within: Curve | None
    pairs: int
    notes: tuple[str, ...] = ()

    def calibration(self, source: str, rate: float, fingerprint: str) -> Calibration:
        """Make the record that is saved."""
        one = self.overall
        return Calibration(
            *(one.threshold, rate, one.intercept, one.slope, one.same_share, source, self.pairs, fingerprint),
            across=self.across,
            within=self.within,
            trust=TRUST[source],
        )


def from_identities(scored: Scored, rate: float, *, progress: Progress | None = None) -> Learnt:
    """Learn from all pairs and the identities of their images: for reference and for checking.

    Raises:
        DataError: not every image has an identity, or one kind of pair is missing.
        ConfigError: there are too few different pairs for the rate.
    """
    counts = count_by_identity(scored, progress=progress)
    curve = curve_of_labelled(counts[:, 1].sum(0), counts[:, 0].sum(0), rate)
    across, within = None, None
    if cameras_known(scored.camids) and bool((counts.sum(2) > 0).all()) and rate * float(counts[:, 0].sum(1).min()) > 1:
        across, within = (curve_of_labelled(kind[1], kind[0], rate) for kind in counts)
    return Learnt(curve, across, within, int(counts.sum()))


def count_by_identity(scored: Scored, *, progress: Progress | None = None) -> Float[Tensor, "2 2 cells"]:
    """Count scores of all pairs: across, within cameras × different, same. For evaluators only.

    Raises:
        DataError: not every image has an identity, of 0 or more.
    """
    pids = scored.split.pids
    if pids is None or min(pids) < 0:
        raise DataError(
            f"identities must be known for all {len(scored.split)} {scored.split.name} images to learn or check from "
            "them; take another --source"
        )
    pid, camids = torch.tensor(pids, device=scored.embeddings.device), scored.camids

    def kind(rows: Int[Tensor, " b"]) -> Int[Tensor, "b n"]:
        return 2 * within_camera(camids, rows).long() + (pid[rows].unsqueeze(1) == pid)

    return count_pairs(scored.embeddings, 4, kind, progress=progress).view(2, 2, CELLS)


def from_images(scored: Scored, rate: float, *, progress: Progress | None = None) -> Learnt:
    """Learn from the images alone: all pairs against simulated strangers, within and across cameras.

    Raises:
        DataError: too few images, or nothing stands out.
        ConfigError: there are too few pairs for the rate.
    """
    camids = scored.camids
    strangers = count_strangers(scored.embeddings, camids)
    counts = count_pairs(
        scored.embeddings, 2, lambda rows: within_camera(camids, rows).long(), progress=progress
    )  # fmt: skip
    curve = curve_against_strangers(counts.sum(0), strangers.sum(0), rate)
    across, within = (curve_or_none(*kind, rate) for kind in zip(counts, strangers, strict=True))
    return Learnt(curve, *both(across, within), int(counts.sum()))


def from_tracklets(scored: Scored, rate: float, *, progress: Progress | None = None) -> Learnt:
    """Learn from tracklets: pairs inside one are same; of two that one camera saw at the same time they are different.

    The different ones take the place of simulated strangers within cameras, where there are `LEAST_MEASURED`.

    Raises:
        DataError: there are no tracklets, or too few images.
        ConfigError: there are too few pairs for the rate.
    """
    camids = scored.camids
    counts = count_pairs(scored.embeddings, 6, _known_kinds(scored), progress=progress).view(2, 3, CELLS)
    every, known = counts.sum(1), counts[:, 1]
    apart = counts[1, 2]
    strangers = count_strangers(scored.embeddings, camids)
    measured = bool(apart.sum() >= LEAST_MEASURED)
    notes = [f"{int(known.sum()):,} pairs inside a tracklet, {int(apart.sum()):,} of tracklets seen at the same time"]
    if measured:
        strangers[1] = apart
    else:
        notes.append(f"fewer than {LEAST_MEASURED:,} pairs were seen at the same time, so strangers are simulated")
    aware = cameras_known(camids)
    scale = every.sum(1, keepdim=True) / strangers.sum(1, keepdim=True).clamp_min(1)
    null = strangers * scale if aware else strangers
    overall = curve_against_strangers(
        every.sum(0), null.sum(0), rate, known_same=known.sum(0), measured=measured and not aware
    )
    across = curve_or_none(every[0], strangers[0], rate, known[0])
    within = curve_or_none(every[1], strangers[1], rate, known[1], measured=measured)
    return Learnt(overall, *both(across, within), int(known.sum() + apart.sum()), tuple(notes))


def _known_kinds(scored: Scored) -> Kinds:
    """Make the function that tells of pairs: not known, same, different; for pairs across and within cameras."""
    split = scored.split
    if all(tracklet == UNKNOWN_TRACKLET for tracklet in split.tracklets):
        raise DataError(
            f"--source tracklets needs tracklets, but none of the {len(split)} {split.name} images has one; give a "
            "manifest with a column 'tracklet', or take --source cameras"
        )
    device = scored.embeddings.device
    group = find_constraints(split.unlabelled(), tracklets=True, same_time=False).group.to(device)
    camids = scored.camids
    # One camera after all where none is known: then times are of one clock.
    seen = (camids != UNKNOWN_CAMID) | (camids == UNKNOWN_CAMID).all()
    start, end = (part.to(device) for part in intervals(group.cpu(), torch.tensor(split.timestamps).double()))

    def kind(rows: Int[Tensor, " b"]) -> Int[Tensor, "b n"]:
        same = group[rows].unsqueeze(1) == group
        # Comparisons with NaN, where a time is not known, are False.
        together = (start[rows].unsqueeze(1) <= end) & (end[rows].unsqueeze(1) >= start)
        together &= (camids[rows].unsqueeze(1) == camids) & (seen[rows].unsqueeze(1) & seen)
        return 3 * within_camera(camids, rows).long() + same.long() + 2 * (together & ~same).long()

    return kind


def intervals(
    group: Int[Tensor, " n"], timestamps: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Give for each image when its group was first and last seen; NaN where any of the group's times is not known."""
    ends = []
    for how in ("amin", "amax"):
        by_group = torch.zeros(int(group.max()) + 1, dtype=timestamps.dtype)
        ends.append(by_group.scatter_reduce(0, group, timestamps, how, include_self=False)[group])
    return ends[0], ends[1]


def both(across: Curve | None, within: Curve | None) -> tuple[Curve | None, Curve | None]:
    """Give both curves or none: cameras are told apart only where both kinds of pairs tell enough."""
    return (None, None) if across is None or within is None else (across, within)


def curve_or_none(
    counts: Float[Tensor, " cells"],
    strangers: Float[Tensor, " cells"],
    rate: float,
    known_same: Float[Tensor, " cells"] | None = None,
    *,
    measured: bool = False,
) -> Curve | None:
    """Give `curve_against_strangers`, or None where a part of the pairs tells too little for a curve of its own."""
    if not bool(strangers.sum() > 0):
        return None
    try:
        return curve_against_strangers(counts, strangers, rate, known_same=known_same, measured=measured)
    except (ConfigError, DataError):
        return None


def from_answers(
    scored: Scored, answers: Sequence[PairAnswer], rate: float, *, progress: Progress | None = None
) -> Learnt:
    """Learn from a person's answers, and from the scores of all pairs how common each score is.

    Scores are computed anew: those in the file may be another model's. Where every answer is to a pair of two cameras
    nothing is known of pairs of one: only pairs across cameras are counted then, and the curve stands as `across`, too.

    Raises:
        DataError: an answered image is not in the split, or there are too few answers of a kind.
        ConfigError: there are too few pairs for the rate.
    """
    said = [answer for answer in answers if answer.same is not None]
    place = {picture_name(sample, scored.root): index for index, sample in enumerate(scored.split)}
    for answer in said:
        for name in (answer.left, answer.right):
            if name not in place:
                raise DataError(
                    f"the answers name {name}, which is not among the {len(place):,} {scored.split.name} images of "
                    f"{scored.root}; give the data that the answers were asked about"
                )
    left, right = (
        torch.tensor([place[getattr(a, side)] for a in said], dtype=torch.long) for side in ("left", "right")
    )
    rows = scored.embeddings.cpu()
    scores = (rows[left] * rows[right]).sum(dim=1)
    same: Bool[Tensor, " b"] = torch.tensor([bool(a.same) for a in said], dtype=torch.bool)
    intercept, slope = fit_answers(scores, same, torch.tensor([a.weight for a in said]))
    camids = scored.camids
    counts = count_pairs(scored.embeddings, 2, lambda rows: within_camera(camids, rows).long(), progress=progress)
    if cameras_known(camids) and bool((camids[left] != camids[right]).all()):
        curve = curve_of_odds(counts[0], intercept, slope, rate)
        return Learnt(curve, curve, None, len(said), (ACROSS_ALONE,))
    return Learnt(curve_of_odds(counts.sum(0), intercept, slope, rate), None, None, len(said))
