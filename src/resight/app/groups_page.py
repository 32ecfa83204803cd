"""The pages of groups: contact sheets, the most doubtful or the largest first, and all members of one."""

from collections.abc import Sequence

from nicegui import ui

from resight.app.layout import alert, frame, image, in_thread, link, notice, picture_address, text, with_progress
from resight.app.workplace import Workplace
from resight.errors import ResightError
from resight.gallery import Entry
from resight.groups.review import Group
from resight.report.album import short_name
from resight.review.contradictions import ContradictionError
from resight.review.found import FoundGroups, alone
from resight.review.questions import named
from resight.review.store import Pair

SHEETS = 12
"""Groups on a page."""

SHOWN = 12
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
    return await with_progress("Finding groups", workplace.group, lambda error: not_found(workplace, error))


def not_found(workplace: Workplace, error: ResightError) -> None:
    """Say why there are no groups; where answers contradict each other, show them, and offer to take one back."""
    alert(str(error))
    if not isinstance(error, ContradictionError):
        return
    with ui.element("ul").classes("answered"):
        for pair, same in error.answers:
            with ui.element("li"):
                _answer(workplace, pair, same)


def _answer(workplace: Workplace, pair: Pair, same: bool) -> None:
    """Show an answer, with a button that takes it back."""
    with ui.element("div").classes("pair"):
        for picture, side in zip(map(named, pair), ("left", "right"), strict=True):
            address = picture_address(workplace.pictures.register(picture, own=workplace.is_own(picture)))
            with ui.element("figure"):
                image(address, f"{side} image, {short_name(picture)}", lazy=False)
                text("figcaption", short_name(picture))
    text("p", f"were said to be {'the same' if same else 'different'}")
    text("button", "Take this answer back").props("type=button").on("click", lambda: _take_back(workplace, pair))


async def _take_back(workplace: Workplace, pair: Pair) -> None:
    try:
        await in_thread(workplace.take_back, pair)
    except ResightError as error:
        alert(str(error))
        return
    ui.navigate.reload()


async def groups_page(workplace: Workplace, order: str, page: int) -> None:
    """Show a page of groups."""
    with frame(workplace, "Groups", "/groups"):
        found = await found_groups(workplace)
        if found is None:
            return
        groups = found.largest if order == "size" else found.most_doubtful
        inside = sum(len(group.members) for group in groups)
        single = alone(found)
        rest = "1 image is alone" if single == 1 else f"{single:,} images are alone"
        text("p", f"{len(groups):,} groups hold {inside:,} images; {rest}.")
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
        _actions(workplace)
        first = (max(1, page) - 1) * SHEETS
        for group in groups[first : first + SHEETS]:
            _sheet(found, group)
        pager(f"/groups?order={order}&page=", page, -(-len(groups) // SHEETS))


def _actions(workplace: Workplace) -> None:
    with ui.element("nav").classes("pager").props('aria-label="Groups as a whole"'):
        if workplace.gallery is not None:
            again = text("button", "group again, with the answers").props("type=button")
            again.on("click", lambda: group_again(workplace))
        if workplace.request.groups is not None:
            save = text("button", f"save to {workplace.request.groups.name}").props("type=button")
            save.on("click", lambda: _save(workplace))
        for kind, name in (("parquet", "Parquet"), ("csv", "CSV")):
            link(f"groups as {name}", f"/api/groups.{kind}").props("download")


async def group_again(workplace: Workplace) -> None:
    """Make the groups anew, with the answers that there are now, and show them."""
    done = await with_progress(
        "Finding groups", lambda bar: workplace.group(bar, again=True), lambda error: not_found(workplace, error)
    )
    if done is not None:
        ui.navigate.to("/groups")


async def _save(workplace: Workplace) -> None:
    """Write the groups to the file that --groups names."""
    try:
        place = await in_thread(workplace.save_groups)
    except ResightError as error:
        alert(str(error))
        return
    notice(f"Saved to {place}.").props("role=status")


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
            notice("There is no such group now; the groups were made again since, or it was never there.")
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
