"""ShownGroups of images, each taken for one identity: contact sheets of the largest and of the most doubtful."""

from collections import Counter
from collections.abc import Mapping
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


CONFIDENCE = (
    "Confidence says how sure an image is of its place, 0 to 1; at ½ it would be as well placed elsewhere. "
    "A group is as doubtful as its least sure member."
)
"""What the figures of `resight group` say."""


@dataclass(frozen=True)
class ShownGroup:
    """Images taken for one identity.

    `confidence`: how sure each is of its place, 0 to 1, in the order of `members`; None where nothing says it.
    """

    name: str
    members: tuple[Picture, ...]
    confidence: tuple[float, ...] | None = None

    @property
    def sure(self) -> str | None:
        """Mean and least over the members, in words."""
        if not self.confidence:
            return None
        mean = sum(self.confidence) / len(self.confidence)
        return f"confidence {mean:.2f}, the least sure {min(self.confidence):.2f}"


@dataclass(frozen=True)
class ShownGroups:
    """All groups and where they come from. `alone`: images in no group. `measure`: what `confidence` is, in words."""

    groups: tuple[ShownGroup, ...]
    alone: int
    said: str
    measure: str

    def by_picture(self) -> dict[Picture, str]:
        """Give the name of each image's group."""
        return {picture: group.name for group in self.groups for picture in group.members}


def group_sheets(found: ShownGroups, album: Album, pids: Mapping[Picture, int | None]) -> dict[str, Any]:
    """Give what the template shows: sheets of the most doubtful groups, and of the largest of the others.

    `pids`: identities, where known; they only mark what a group holds of others than its most frequent one.
    """
    judged = [group for group in found.groups if group.confidence]
    doubtful = sorted(judged, key=lambda group: min(group.confidence or (0.0,)))[:GROUPS_SHOWN]
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


def _sheet(group: ShownGroup, album: Album, pids: Mapping[Picture, int | None]) -> dict[str, Any]:
    usual = _usual(group, pids)
    members = []
    for place in shown_members(group):
        picture = group.members[place]
        other = usual is not None and pids.get(picture) is not None and pids[picture] != usual
        said = f"confidence {group.confidence[place]:.2f}" if group.confidence else ""
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
        "sure": group.sure,
        "more": len(group.members) - len(members),
        "others": _others(group, pids),
        "members": members,
    }


def shown_members(group: ShownGroup) -> list[int]:
    """Choose the members to show, least sure first: where there are too many, the least sure half and others evenly."""
    order = list(range(len(group.members)))
    if group.confidence:
        order.sort(key=group.confidence.__getitem__)
    if len(order) <= MEMBERS_SHOWN:
        return order
    worst = MEMBERS_SHOWN // 2
    rest = order[worst:]
    return order[:worst] + [rest[place] for place in evenly(len(rest), MEMBERS_SHOWN - worst)]


def _known(group: ShownGroup, pids: Mapping[Picture, int | None]) -> list[int]:
    return [pid for picture in group.members if (pid := pids.get(picture)) is not None]


def _usual(group: ShownGroup, pids: Mapping[Picture, int | None]) -> int | None:
    """Give the most frequent identity of a group; of equally frequent ones the first."""
    known = Counter(_known(group, pids))
    return known.most_common(1)[0][0] if known else None


def _others(group: ShownGroup, pids: Mapping[Picture, int | None]) -> int | None:
    """Count the members of other identities than the most frequent one; None where no identity is known."""
    known = Counter(_known(group, pids))
    return sum(known.values()) - max(known.values()) if known else None


def _counts(found: ShownGroups, pids: Mapping[Picture, int | None]) -> str:
    inside = sum(len(group.members) for group in found.groups)
    said = f"{len(found.groups):,} groups of {inside:,} images; {found.alone:,} in none."
    others = [count for group in found.groups if (count := _others(group, pids)) is not None]
    if others:
        said += f" {sum(not count for count in others):,} of {len(others):,} hold one identity alone."
    return said
