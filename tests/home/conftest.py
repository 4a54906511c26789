"""A browser for the pages."""

from tests.clients.conftest import browser

__all__ = ["browser"]
