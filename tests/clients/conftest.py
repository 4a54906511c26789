"""A real browser: Debian's Chromium, driven by Playwright. It draws in software, so WebGL 2 works without a display."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.clients.visit import WAIT_MS

OPTIONS = [
    "--no-sandbox",  # as root Chromium does not start with one
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one module: while it is open, Playwright holds the thread's event loop, which asynchronous tests need."""
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Chromium (Debian: apt-get install chromium)"
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield browser
        browser.close()
