"""Beside the plain figures: drawn galleries, pairs of cameras, and how far chance reaches."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from resight.answers import Answers, Pairs, without
from resight.metrics import QueryMetrics, retrieval_metrics, right_ranks
from resight.retrieval_result import CameraPair
from resight.sparse_rows import runs
from resight.types import JUNK_PID, UNKNOWN_CAMID

BOOTSTRAP_REPEATS = 1000
BOOTSTRAP_ELEMENTS = 2**20
"""Values drawn at a time."""


class DrawnGalleries:
    """Galleries of a few images of each identity, drawn at random, the same for all queries.

    For a query, images that the camera, time and tracklet rules leave out are not drawn; of its own identity the next
    is drawn instead. Where its own image is drawn, that is no right answer; with one shot the query then does not count
    in that draw, as in VehicleID's protocol, where all that is not in the gallery is a query.
    """

    def __init__(self, answers: Answers, shots: int, draws: int, *, seed: int = 0) -> None:
        self.answers, self.shots, self.draws = answers, shots, draws
        random = np.random.default_rng(seed)
        self.keys = [random.permutation(len(answers.gallery)) for _ in range(draws)]
        self._columns: dict[tuple[int, int], np.ndarray] = {}
        self._ranks: list[list[Tensor]] = [[] for _ in range(draws)]

    def watch(self, first: int, scores: Float[Tensor, "b g"]) -> None:
        """Rank the drawn images for a block of queries; `scores` as `right_ranks` takes them."""
        last = first + len(scores)
        candidates = self._own_candidates(first, last)
        all_out = self.answers.protocol.cameras == "all"
        cameras = self.answers.query.camid[first:last] if all_out else np.full(last - first, UNKNOWN_CAMID)
        for draw in range(self.draws):
            own = self._own_drawn(draw, candidates, last - first)
            ranks = torch.zeros(last - first, self.shots, dtype=torch.long, device=scores.device)
            for camera in np.unique(cameras):
                rows = torch.from_numpy((cameras == camera).nonzero()[0])
                columns = self._strangers(draw, int(camera))
                ranks[rows.to(scores.device)] = self._ranked(scores, rows, columns, own[rows])
            self._ranks[draw].append(ranks)

    def metrics(self) -> list[QueryMetrics]:
        """Give the metrics of all queries watched, draw by draw."""
        return [retrieval_metrics(torch.cat(ranks).cpu()) for ranks in self._ranks]

    def _own_candidates(self, first: int, last: int) -> Pairs:
        """Right answers, and the query's own image where nothing else leaves it out; ascending by query."""
        answers = self.answers
        own, out = answers.of_same_identity(first, last), answers.left_out_by_rule(first, last)
        return without(own, out, len(answers.gallery))

    def _own_drawn(self, draw: int, candidates: Pairs, queries: int) -> Int[Tensor, "b s"]:
        """Columns of the drawn images of each query's identity, the own image and gaps as -1."""
        rows, columns = (part.numpy() for part in candidates)
        order = np.lexsort((self.keys[draw][columns], rows))
        rows, columns = rows[order], columns[order]
        count = np.bincount(rows, minlength=queries)
        place = runs(np.zeros_like(count), count)
        drawn = torch.full((queries, self.shots), -1, dtype=torch.long)
        taken = place < self.shots
        drawn[torch.from_numpy(rows[taken]), torch.from_numpy(place[taken])] = torch.from_numpy(columns[taken])
        return drawn

    def _strangers(self, draw: int, camera: int) -> np.ndarray:
        """Columns of the drawn images of every identity, ascending; none by `camera`, where it is known."""
        if (draw, camera) not in self._columns:
            gallery = self.answers.gallery
            usable = gallery.pid != JUNK_PID
            if camera != UNKNOWN_CAMID:
                usable &= gallery.camid != camera
            columns = usable.nonzero()[0]
            columns = columns[np.lexsort((self.keys[draw][columns], gallery.pid[columns]))]
            pids = gallery.pid[columns]
            place = np.arange(len(pids)) - np.searchsorted(pids, pids)
            self._columns[draw, camera] = np.sort(columns[place < self.shots]).astype(np.int32)
        return self._columns[draw, camera]

    def _ranked(
        self, scores: Float[Tensor, "b g"], rows: Int[Tensor, " r"], columns: np.ndarray, own: Int[Tensor, "r s"]
    ) -> Int[Tensor, "r s"]:
        """Ranks of the own drawn images among those of all other identities and each other, ascending, then 0."""
        device = scores.device
        at = torch.from_numpy(columns).to(device)
        if len(rows) < len(scores):
            scores = scores.index_select(0, rows.to(device))
        others = scores.index_select(1, at)
        own_pids = self.answers.gallery.pid[own.clamp(min=0).numpy()]
        same = torch.from_numpy(self.answers.gallery.pid[columns] == own_pids[:, :1]).to(device)
        others = others.masked_fill(same & (own[:, :1] >= 0).to(device), -torch.inf)
        own = own.to(device)
        values = scores.gather(1, own.clamp(min=0)).masked_fill(own < 0, -torch.inf)
        ranks = torch.zeros_like(own)
        for shot in range(own.shape[1]):
            value, column = values[:, shot : shot + 1], own[:, shot : shot + 1]
            ahead = ((others > value) | ((others == value) & (at < column))).sum(dim=1)
            ahead += ((values > value) | ((values == value) & (own < column) & (own >= 0))).sum(dim=1)
            ranks[:, shot] = torch.where(value.squeeze(1) > -torch.inf, ahead + 1, 0)
        last = scores.shape[1] + 1
        packed = ranks.masked_fill(ranks == 0, last).sort(dim=1).values
        return packed.masked_fill(packed == last, 0)


class CameraPairs:
    """Scores of the queries of each camera against the gallery images of each camera alone."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        known = sorted(set(answers.gallery.camid.tolist()) - {UNKNOWN_CAMID})
        self.columns = {camera: torch.from_numpy((answers.gallery.camid == camera).nonzero()[0]) for camera in known}
        self.found: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)

    def watch(self, first: int, scores: Float[Tensor, "b g"], right: Pairs) -> None:
        """Take a block of queries; `scores` and `right` as `right_ranks` takes them."""
        rows, columns = right
        cameras = self.answers.gallery.camid[columns.cpu().numpy()]
        for camera, at in self.columns.items():
            here = torch.from_numpy((cameras == camera).nonzero()[0]).to(rows.device)
            if not len(here):
                continue
            asked, inverse = rows[here].unique(return_inverse=True)
            local = torch.searchsorted(at.to(rows.device), columns[here])
            part = scores.index_select(0, asked).index_select(1, at.to(scores.device))
            metrics = retrieval_metrics(right_ranks(part, inverse, local))
            own = self.answers.query.camid[first + asked.cpu().numpy()]
            for camid, ap, rank in zip(own.tolist(), metrics.ap.tolist(), metrics.first_rank.tolist(), strict=True):
                self.found[camid, camera].append((ap, rank))

    def pairs(self) -> tuple[CameraPair, ...]:
        """Give the pairs that have at least one query with an answer, by camera."""
        return tuple(
            CameraPair(
                *cameras,
                queries=len(found),
                mAP=float(np.mean([ap for ap, _ in found])),
                cmc1=float(np.mean([rank == 1 for _, rank in found])),
            )
            for cameras, found in sorted(self.found.items())
        )


def bootstrap_intervals(
    figures: Mapping[str, Float[np.ndarray, "c q"]],
    *,
    repeats: int = BOOTSTRAP_REPEATS,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap over queries of the mean of each figure: what other queries like these might have given.

    `figures`: one value a draw of the gallery and query, NaN where the query does not count. Queries are drawn with all
    their values; a mean is over all values that count, as the figure itself is. It says nothing of other training
    seeds; and queries of one identity are not independent, so that it is a little too narrow.
    """
    random = np.random.default_rng(seed)
    intervals = {}
    for name, values in figures.items():
        counts = (~np.isnan(values)).sum(axis=0)
        sums, counts = np.nansum(values, axis=0)[counts > 0], counts[counts > 0]
        at_once = max(1, BOOTSTRAP_ELEMENTS // len(sums))
        means = []
        for first in range(0, repeats, at_once):
            drawn = random.integers(0, len(sums), (min(at_once, repeats - first), len(sums)))
            means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
        low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
        intervals[name] = (float(low), float(high))
    return intervals
