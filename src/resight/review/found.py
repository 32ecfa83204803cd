"""Groups of a gallery's images, made with the answers obeyed, and the doubtful pairs among them as questions."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resight.calibrate import Calibration
from resight.constraints import find_constraints
from resight.errors import DataError
from resight.gallery import Entry, Gallery
from resight.groups.grouping import Grouping, group_crops
from resight.groups.links import NO_GROUP, Links, find_links
from resight.groups.opening import by_id, gallery_rows
from resight.groups.review import Group, groups_to_review, pairs_to_review
from resight.groups.rows import Crops, cameras_apart
from resight.groups.saved import SavedGroups, earlier_of, read_groups
from resight.groups.settings import Asked, settled
from resight.matching import Thresholds
from resight.review.matched import Matched
from resight.review.questions import DOUBTS, Known, Question
from resight.score_counts import Progress

MOST = 400
"""Most doubtful pairs that are looked for at a time."""

WHY = "picked for its doubt, to mend groups"
"""The same for pairs that are in one group and that are not: it must not give an answer away."""


@dataclass(frozen=True)
class Means:
    """What groups are made with beside embeddings and answers.

    `strict`: groups are cut by `thresholds`, as `resight group --strict` does. `trained_once`: see
    `groups.settings.settled`. `earlier`: groups to go on from, with their embeddings.
    """

    calibration: Calibration | None = None
    thresholds: Thresholds | None = None
    strict: bool = False
    trained_once: bool = False
    earlier: SavedGroups | None = None


@dataclass(frozen=True)
class FoundGroups:
    """Groups of crops. `said`: why they were made as they were, and what was not used."""

    crops: Crops
    embeddings: Float[Tensor, "n d"]
    grouping: Grouping
    said: tuple[str, ...] = ()

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """One entry of each crop."""
        return tuple(Entry.of(row.sample, row.id) for row in self.crops.firsts)

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
        asked = (
            self._question(pair.left, pair.right, pair.score)
            for pair in pairs_to_review(self.grouping, self.embeddings, MOST)
        )
        return [question for question in asked if _of_two(question)]

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
        return list(filter(_of_two, questions.values()))

    def _question(self, left: int, right: int, score: float) -> Question:
        return Question(self.entries[left].picture, self.entries[right].picture, DOUBTS, score, WHY)


def _of_two(question: Question) -> bool:
    """Whether it is of two names: two contents that one file had after each other cannot be told apart."""
    return question.pair[0] != question.pair[1]


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
    answers: Known,
    means: Means,
    root: Path,
    cache_dir: Path,
    *,
    progress: Progress | None = None,
) -> FoundGroups:
    """Group all entries of a gallery, and what earlier groups hold beside; answers are obeyed, tracklets kept together.

    `root`: where names of pictures begin, for the file that groups are saved to.

    Raises:
        DataError: the gallery is empty.
        ContradictionError: answers contradict each other.
        GalleryError: it cannot be read.
    """
    crops, embeddings = _read(gallery, means.earlier, root)
    matched = Matched.of(crops, answers, cache_dir)
    links = _links(crops, matched, means.earlier)
    camids = cameras_apart(crops.firsts)
    rules = settled(Asked(strict=means.strict), embeddings, camids, trained_once=means.trained_once)
    grouping = group_crops(
        *(embeddings, camids, rules),
        links=links,
        calibration=means.calibration,
        thresholds=means.thresholds,
        progress=progress,
    )
    return FoundGroups(crops, embeddings, grouping, (*rules.said, *matched.said(), *_not_used(links)))


def _read(gallery: Gallery, earlier: SavedGroups | None, root: Path) -> tuple[Crops, Float[Tensor, "n d"]]:
    """Read all entries, and lay behind them what an earlier result holds beside, as it would be lost when saved.

    Raises:
        DataError: there are no entries.
        GalleryError: they cannot be read.
    """
    rows, held = gallery_rows(gallery, root)
    if not rows:
        raise DataError(f"{gallery.where} holds no images; add some with resight index")
    if earlier is not None and earlier.embeddings is not None:
        now = {row.key for row in rows}
        rows += [row for row in earlier.crops.rows if row.key not in now]
        held = {**by_id((row.id for row in earlier.crops.firsts), earlier.embeddings), **held}
    crops = Crops.of(rows)
    return crops, torch.stack([held[row.id] for row in crops.firsts])


def load_groups(path: Path, fingerprint: str) -> tuple[FoundGroups, SavedGroups]:
    """Read groups that `resight group` or the app wrote, as they were, and to go on from.

    Raises:
        DataError: the file is none, or of another model than the one that has this fingerprint.
    """
    saved = read_groups(path)
    if saved.fingerprint != fingerprint or saved.embeddings is None:
        raise DataError(
            f"{path} must hold groups and embeddings of the app's model, and those in it are another's or missing; "
            f"make them anew with resight group … --known {path} --out {path}"
        )
    said = f"These groups are those of {path}."
    return FoundGroups(saved.crops, saved.embeddings, saved.grouping, (said,)), saved


def _links(crops: Crops, matched: Matched, earlier: SavedGroups | None) -> Links:
    """Gather what is known of who is the same.

    Raises:
        ContradictionError: answers contradict each other.
    """
    matched.refuse_contradictions(len(crops))
    number, held = earlier_of(crops, earlier)
    return find_links(
        len(crops),
        same=matched.same,
        different=matched.different,
        seen=find_constraints(crops.unlabelled, tracklets=True, same_time=False),
        known=number,
        earlier=held,
        names=crops.names,
    )


def _not_used(links: Links) -> list[str]:
    kinds = ((links.broken_tracklets, "tracklets hold"), (links.broken_groups, "earlier groups held"))
    return [f"{count:,} {what} images that answers say are different, and were not used." for count, what in kinds
            if count]  # fmt: skip


def alone(found: FoundGroups) -> int:
    """Count the images that are in no group."""
    return int(np.count_nonzero(found.grouping.group == NO_GROUP))
