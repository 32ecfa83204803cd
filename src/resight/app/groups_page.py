"""The pages of groups: contact sheets, the most doubtful or the largest first, and all members of one."""

from collections.abc import Sequence

from nicegui import ui

from resight.app.layout import frame, image, link, notice, picture_address, text, with_progress
from resight.app.workplace import Workplace
from resight.gallery import Entry
from resight.groups.review import Group
from resight.review.found import FoundGroups, alone

SHEETS = 12
"""Groups on a page."""

SHOWN = 14
"""Members on a group's sheet."""

MEMBERS = 120
"""Members on a page of a group of its own."""

DOUBTFUL = 0.5
"""Below this confidence a member would be as well placed elsewhere."""

ORDERS = {"doubt": "the most doubtful first", "size": "the largest first"}


async def found_groups(workplace: Workplace) -> FoundGroups | None:
    """Give the groups, made now where there are none yet, with progress; None where that failed, and it is shown."""
    if workplace.groups is not None:
        return workplace.groups
    await ui.context.client.connected()  # so that the progress can be seen
    return await with_progress("Finding groups", workplace.group)


async def groups_page(workplace: Workplace, order: str, page: int) -> None:
    """Show a page of groups."""
    with frame(workplace, "Groups", "/groups"):
        found = await found_groups(workplace)
        if found is None:
            return
        groups = found.largest if order == "size" else found.most_doubtful
        inside = sum(len(group.members) for group in groups)
        text("p", f"{len(groups):,} groups hold {inside:,} images; {alone(found):,} images are alone.")
        text(
            "p",
            "Confidence says how sure an image is of its place, 0 to 1; at ½ it would be as well placed elsewhere. A "
            "group is as doubtful as its least sure member.",
        ).classes("muted")
        for sentence in found.said:
            notice(sentence)
        with ui.element("nav").classes("pager").props('aria-label="Order"'):
            for name, said in ORDERS.items():
                shown = link(said, f"/groups?order={name}")
                if name == order:
                    shown.props("aria-current=true").style("font-weight: 600")
            link("review the doubtful ones", "/review?purpose=doubts")
            again = text("button", "group again, with the answers").props("type=button")
            again.on("click", lambda: _again(workplace))
        first = (max(1, page) - 1) * SHEETS
        for group in groups[first : first + SHEETS]:
            _sheet(found, group)
        pager(f"/groups?order={order}&page=", page, -(-len(groups) // SHEETS))


async def _again(workplace: Workplace) -> None:
    """Make the groups anew, with the answers that there are now."""
    if await with_progress("Finding groups", lambda bar: workplace.group(bar, again=True)) is not None:
        ui.navigate.to("/groups")


def _sheet(found: FoundGroups, group: Group) -> None:
    with ui.element("section").classes("sheet").props(f'aria-label="Group {group.number}"'):
        with text("h2", ""):
            link(f"Group {group.number}", f"/groups/{group.number}")
            ui.label(f" · {_said(group)}").style("display: inline")
        _members(found, group, range(min(SHOWN, len(group.members))))
        if len(group.members) > SHOWN:
            link(f"and {len(group.members) - SHOWN:,} more", f"/groups/{group.number}")


def _said(group: Group) -> str:
    sure = f"confidence {group.mean_confidence:.2f}, the least sure {group.confidence[0]:.2f}"
    return f"{len(group.members):,} images, {sure}"


def _members(found: FoundGroups, group: Group, places: Sequence[int]) -> None:
    with ui.element("ul").classes("members"):
        for place in places:
            entry, sure = found.entries[group.members[place]], group.confidence[place]
            with ui.element("li").classes("doubtful" if sure < DOUBTFUL else ""):
                with link("", f"/?like={entry.id}") as anchor:
                    anchor.props["aria-label"] = f"Search for what looks like {entry.path.name}"
                    image(picture_address(entry.id), f"{entry.path.name}, {_about(entry)}confidence {sure:.2f}")
                text("div", f"{_about(entry)}{sure:.2f}")


def _about(entry: Entry) -> str:
    return "" if entry.camid is None else f"camera {entry.camid}, "


async def group_page(workplace: Workplace, number: int, page: int) -> None:
    """Show all members of a group, the least sure first."""
    with frame(workplace, f"Group {number}", "/groups"):
        found = await found_groups(workplace)
        if found is None:
            return
        group = found.by_number.get(number)
        if group is None:
            notice("There is no such group now; groups are numbered anew whenever they are made.")
            return
        text("p", f"{_said(group)}. The least sure of their place come first.")
        with ui.element("nav").classes("pager").props('aria-label="Group"'):
            link("all groups", "/groups")
            link("review this group", f"/review?purpose=doubts&group={number}")
        first = (max(1, page) - 1) * MEMBERS
        _members(found, group, range(first, min(first + MEMBERS, len(group.members))))
        pager(f"/groups/{number}?page=", page, -(-len(group.members) // MEMBERS))


def pager(address: str, page: int, pages: int) -> None:
    """Add links to the pages before and after, where there are several."""
    if pages <= 1:
        return
    with ui.element("nav").classes("pager").props('aria-label="Pages of groups"'):
        if page > 1:
            link("← before", f"{address}{page - 1}")
        ui.label(f"page {page} of {pages}")
        if page < pages:
            link("next →", f"{address}{page + 1}")
