"""A headless Chromium for tests, and a visit that notes what a page should not have done.

Import the fixture into a test module (`from tests.browser_fixture import chromium  # noqa: F401`)
and mark the tests `browser`. The tests must be plain functions: Playwright's sync API keeps an
event loop running in the thread until the module is done.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def refuse_without_browser(program: Path = CHROMIUM) -> None:
    """Skip and say why; in CI a missing browser is a failure, or nobody would notice."""
    if program.exists():
        return
    words = f"no Chromium at {program}: the browser tests did not run"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One Chromium for the tests of a module."""
    refuse_without_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that was opened. `strangers` are addresses it asked for elsewhere (not let out)."""

    page: Page
    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def is_clean(self) -> bool:
        """Nothing was fetched from elsewhere and nothing went wrong in the console."""
        assert self.strangers == []
        assert self.complaints == []
        return True

    def overflow_px(self) -> int:
        """How far the page can be scrolled sideways."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return self.page.evaluate(script)


@contextmanager
def visit(
    browser: Browser,
    url: str,
    *,
    width_px: int = 1440,
    height_px: int = 900,
    dark: bool = False,
    script: bool = True,
) -> Iterator[Visit]:
    """Open `url` in a fresh profile; only its own origin (or folder of a file) may be fetched."""
    home = url.rsplit("/", 1)[0] if url.startswith("file:") else "/".join(url.split("/", 3)[:3])
    context = browser.new_context(
        viewport={"width": width_px, "height": height_px},
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
        service_workers="block",
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    seen = Visit(page)

    def gate(route: Route) -> None:
        if route.request.url.startswith((f"{home}/", "data:", "blob:")):
            route.continue_()
        else:
            seen.strangers.append(route.request.url)
            route.abort()

    page.route("**/*", gate)
    page.on(
        "console",
        lambda said: (
            seen.complaints.append(said.text) if said.type in {"error", "warning"} else None
        ),
    )
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    try:
        page.goto(url)
        yield seen
    finally:
        context.close()
