"""Groups of images, each taken for one identity: contact sheets of the largest and of the most doubtful."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resight.report.album import Album, short_name
from resight.report.material import evenly
from resight.types import Picture

GROUPS_SHOWN = 18
"""Most groups of each kind."""

MEMBERS_SHOWN = 24
"""Most images of a group that its sheet shows."""

MEMBER_SIZE = (72, 108)
"""Largest width and height of an image on a sheet, in pixels."""


@dataclass(frozen=True)
class Group:
    """Images taken for one identity.

    `fit`: how well each fits, larger is better, in the order of `members`; None where nothing says it. What it measures
    stands in `Groups.measure`.
    """

    name: str
    members: tuple[Picture, ...]
    fit: tuple[float, ...] | None = None

    @property
    def mean_fit(self) -> float | None:
        """Mean over the members."""
        return sum(self.fit) / len(self.fit) if self.fit else None


@dataclass(frozen=True)
class Groups:
    """All groups and where they come from. `alone`: images in no group. `measure`: what `fit` is, in words."""

    groups: tuple[Group, ...]
    alone: int
    said: str
    measure: str

    def by_picture(self) -> dict[Picture, str]:
        """Give the name of each image's group."""
        return {picture: group.name for group in self.groups for picture in group.members}


def group_sheets(found: Groups, album: Album, pids: Mapping[Picture, int | None]) -> dict[str, Any]:
    """Give what the template shows: sheets of the most doubtful groups, and of the largest of the others.

    `pids`: identities, where known; they only mark what a group holds of others than its most frequent one.
    """
    fitted = [group for group in found.groups if group.fit]
    doubtful = sorted(fitted, key=lambda group: group.mean_fit or 0.0)[:GROUPS_SHOWN]
    chosen = set(map(id, doubtful))  # names may come twice once they are cut short
    others = [group for group in found.groups if id(group) not in chosen]
    largest = sorted(others, key=lambda group: -len(group.members))[:GROUPS_SHOWN]
    # By turns, so that neither kind takes all the room there is for pictures.
    sheets: dict[int, dict[str, Any]] = {}
    for place in range(GROUPS_SHOWN):
        for kind in (doubtful, largest):
            if place < len(kind):
                sheets[id(kind[place])] = _sheet(kind[place], album, pids)
    return {
        "said": found.said,
        "counts": _counts(found, pids),
        "measure": found.measure,
        "known": any(_known(group, pids) for group in found.groups),
        "kinds": [
            {"title": title, "sheets": [sheets[id(group)] for group in kind]}
            for title, kind in (("Most doubtful first", doubtful), ("Largest of the others", largest))
            if kind
        ],
    }


def _sheet(group: Group, album: Album, pids: Mapping[Picture, int | None]) -> dict[str, Any]:
    usual = _usual(group, pids)
    members = []
    for place in shown_members(group):
        picture = group.members[place]
        other = usual is not None and pids.get(picture) is not None and pids[picture] != usual
        said = f"fit {group.fit[place]:.3f}" if group.fit else ""
        members.append(
            {
                "shown": album.show(picture, MEMBER_SIZE),
                "name": short_name(picture),
                "other": other,
                "said": said,
                "alt": ", ".join(filter(None, [short_name(picture), said, "of another identity" if other else ""])),
            }
        )
    return {
        "name": group.name,
        "count": len(group.members),
        "fit": None if group.mean_fit is None else f"{group.mean_fit:.3f}",
        "more": len(group.members) - len(members),
        "others": _others(group, pids),
        "members": members,
    }


def shown_members(group: Group) -> list[int]:
    """Choose the members to show, worst fit first: where there are too many, the worst half and others evenly."""
    order = list(range(len(group.members)))
    if group.fit:
        order.sort(key=lambda place: group.fit[place])  # type: ignore[index]
    if len(order) <= MEMBERS_SHOWN:
        return order
    worst = MEMBERS_SHOWN // 2
    rest = order[worst:]
    return order[:worst] + [rest[place] for place in evenly(len(rest), MEMBERS_SHOWN - worst)]


def _known(group: Group, pids: Mapping[Picture, int | None]) -> list[int]:
    return [pid for picture in group.members if (pid := pids.get(picture)) is not None]


def _usual(group: Group, pids: Mapping[Picture, int | None]) -> int | None:
    """Give the most frequent identity of a group; of equally frequent ones the first."""
    known = Counter(_known(group, pids))
    return known.most_common(1)[0][0] if known else None


def _others(group: Group, pids: Mapping[Picture, int | None]) -> int | None:
    """Count the members of other identities than the most frequent one; None where no identity is known."""
    known = Counter(_known(group, pids))
    return sum(known.values()) - max(known.values()) if known else None


def _counts(found: Groups, pids: Mapping[Picture, int | None]) -> str:
    inside = sum(len(group.members) for group in found.groups)
    said = f"{len(found.groups):,} groups of {inside:,} images; {found.alone:,} in none."
    others = [count for group in found.groups if (count := _others(group, pids)) is not None]
    if others:
        said += f" {sum(not count for count in others):,} of {len(others):,} hold one identity alone."
    return said


def fits(margins: Sequence[float], members: Sequence[int]) -> tuple[float, ...]:
    """Pick the members' figures."""
    return tuple(float(margins[place]) for place in members)
