"""The pages, put beside the API."""

from fastapi import FastAPI
from nicegui import ui

from resight.app.groups_page import group_page, groups_page
from resight.app.review_page import ReviewPage
from resight.app.run_page import run_page
from resight.app.search_page import SearchPage
from resight.app.workplace import Workplace

SECONDS = 60.0
"""A page may take so long to be built: the first one that counts what a large gallery holds does."""

RECONNECT_SECONDS = 30.0
"""So long a page may be gone, as when a laptop sleeps, without being built anew."""


def add_pages(app: FastAPI, workplace: Workplace) -> None:
    """Add all pages to the application."""

    @ui.page("/", response_timeout=SECONDS)
    async def search(
        like: str = "", camera: str = "", after: str = "", before: str = "", type: str = "", source: str = ""
    ) -> None:
        filters = {"camera": camera, "after": after, "before": before, "type": type, "source": source}
        await SearchPage(workplace, like, filters).build()

    @ui.page("/groups", response_timeout=SECONDS)
    async def groups(order: str = "doubt", page: int = 1) -> None:
        await groups_page(workplace, order, page)

    @ui.page("/groups/{number}", response_timeout=SECONDS)
    async def group(number: int, page: int = 1) -> None:
        await group_page(workplace, number, page)

    @ui.page("/review", response_timeout=SECONDS)
    async def review(purpose: str = "", group: int | None = None) -> None:
        await ReviewPage(workplace, purpose, group).build()

    @ui.page("/run", response_timeout=SECONDS)
    async def about_the_run() -> None:
        await run_page(workplace)

    ui.run_with(
        app,
        title="resight",
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=RECONNECT_SECONDS,
        show_welcome_message=False,
        favicon="🔍",
    )
