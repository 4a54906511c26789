"""A browser for the pages."""

from playwright.sync_api import expect

from tests.clients.conftest import browser

__all__ = ["browser"]

expect.set_options(timeout=30_000)  # a machine that is busy with other tests is slow
