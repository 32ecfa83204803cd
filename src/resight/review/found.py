"""Groups of a gallery's images, made with the answers obeyed, and the doubtful pairs among them as questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resight.calibrate import Calibration
from resight.constraints import find_constraints
from resight.errors import DataError
from resight.gallery import Entry, Gallery
from resight.groups.grouping import Grouping, group_crops
from resight.groups.links import NO_GROUP, find_links
from resight.groups.review import Group, groups_to_review, pairs_to_review
from resight.groups.settings import Asked, settled
from resight.groups.thresholds import chosen_threshold
from resight.review.questions import DOUBTS, Known, Question, whole_name
from resight.score_counts import Progress
from resight.types import Sample, Split

MOST = 400
"""Most doubtful pairs that are looked for at a time."""

WHY = "picked for its doubt, to mend groups"
"""The same for pairs that are in one group and that are not: it must not give an answer away."""


@dataclass(frozen=True)
class FoundGroups:
    """Groups of entries. `said`: why they were made as they were."""

    entries: tuple[Entry, ...]
    embeddings: Float[Tensor, "n d"]
    grouping: Grouping
    said: tuple[str, ...] = ()

    @cached_property
    def most_doubtful(self) -> list[Group]:
        """All groups of several images, the most doubtful first."""
        return groups_to_review(self.grouping)

    @cached_property
    def largest(self) -> list[Group]:
        """The same, the largest first; of equally large ones the most doubtful."""
        return sorted(self.most_doubtful, key=lambda group: -len(group.members))

    @cached_property
    def by_number(self) -> dict[int, Group]:
        """The groups by their number."""
        return {group.number: group for group in self.most_doubtful}

    @cached_property
    def doubts(self) -> list[Question]:
        """Pairs whose answers would tell most of the groups, the most doubtful first."""
        return [
            self._question(pair.left, pair.right, pair.score)
            for pair in pairs_to_review(self.grouping, self.embeddings, MOST)
        ]

    def doubts_of(self, number: int) -> list[Question]:
        """Give each member of a group beside the one that it is most like in there, the least sure member first."""
        group = self.by_number.get(number)
        if group is None:
            return []
        members = torch.tensor(group.members)
        rows = self.embeddings[members]
        questions: dict[tuple[str, str], Question] = {}
        for place, left in enumerate(group.members):
            scores = rows @ rows[place]
            scores[place] = -torch.inf
            best = int(scores.argmax())
            question = self._question(left, group.members[best], float(scores[best]))
            questions.setdefault(question.pair, question)
        return list(questions.values())

    def _question(self, left: int, right: int, score: float) -> Question:
        return Question(self.entries[left].picture, self.entries[right].picture, DOUBTS, score, WHY)


class Doubts:
    """Doubtful pairs as a source of questions. `number`: only those of this group."""

    purpose = DOUBTS

    def __init__(self, found: FoundGroups, number: int | None = None) -> None:
        self.questions = found.doubts if number is None else found.doubts_of(number)

    def __len__(self) -> int:
        return len(self.questions)

    def known(self) -> Known:
        """Give nothing: no file has answers to these."""
        return {}

    def open(self, known: Known, count: int) -> list[Question]:
        """Give the next of them that are not decided."""
        return [question for question in self.questions if question.pair not in known][:count]


def group_gallery(
    gallery: Gallery,
    known: Known,
    calibration: Calibration | None,
    *,
    trained_once: bool = False,
    progress: Progress | None = None,
) -> FoundGroups:
    """Group all entries of a gallery; answers to pairs of them are obeyed, and tracklets kept together.

    `trained_once`: see `groups.settings.settled`.

    Raises:
        DataError: the gallery is empty, or answers contradict each other.
        GalleryError: it cannot be read.
    """
    entries: list[Entry] = []
    rows: list[Tensor] = []
    for part, vectors in gallery.blocks():
        entries += part
        rows.append(vectors)
    if not entries:
        raise DataError(f"{gallery.where} holds no images; add some with resight index")
    embeddings = torch.cat(rows)
    split = Split("gallery", tuple(_sample(entry) for entry in entries))
    camids = torch.tensor(split.camids)
    same, different = _answers(entries, known)
    links = find_links(
        len(entries),
        same=same,
        different=different,
        seen=find_constraints(split.unlabelled(), tracklets=True, same_time=False),
        names=[whole_name(entry.picture) for entry in entries],
    )
    rules = settled(Asked(), embeddings, camids, trained_once=trained_once)
    threshold = chosen_threshold(calibration, (embeddings, camids))
    grouping = group_crops(
        *(embeddings, camids, rules), links=links, calibration=calibration, threshold=threshold, progress=progress
    )
    return FoundGroups(tuple(entries), embeddings, grouping, rules.said)


def _sample(entry: Entry) -> Sample:
    return Sample(entry.path, None, entry.camid, entry.timestamp, entry.tracklet, entry.box)


def _answers(entries: Sequence[Entry], known: Known) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Give the pairs of entries that answers say are the same, and different; others are of no use here."""
    place = {whole_name(entry.picture): at for at, entry in enumerate(entries)}
    same: list[tuple[int, int]] = []
    different: list[tuple[int, int]] = []
    for (first, second), said in known.items():
        if said is not None and first in place and second in place:
            (same if said else different).append((place[first], place[second]))
    return same, different


def alone(found: FoundGroups) -> int:
    """Count the images that are in no group."""
    return int(np.count_nonzero(found.grouping.group == NO_GROUP))
