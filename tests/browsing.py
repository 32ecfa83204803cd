"""Chromium for the tests that look at pages. Machines may be slow: whatever is asserted of a page is waited for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

PATIENCE = 180_000
"""Milliseconds that anything may take."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield opened
        opened.close()


@contextmanager
def pages(browser: Any, **options: Any) -> Iterator[Any]:
    """A context of its own, whose pages have time."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


def waited(page: Any, script: str, given: object = None) -> Any:
    """Wait until a function gives something that counts as true, on whatever document is there then, and give it."""
    # Looked at by the clock: frames are drawn only where a page is in front.
    return page.wait_for_function(script, arg=given, polling=100).json_value()


def loaded(page: Any, selector: str) -> None:
    """Wait until there are such images, and each is there in full."""
    waited(page, """selector => {
      const images = [...document.querySelectorAll(selector)];
      return images.length && images.every(image => image.complete && image.naturalWidth > 0);
    }""", selector)  # fmt: skip


def fits(page: Any) -> None:
    """Wait until nothing is wider than the screen."""
    waited(page, "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
