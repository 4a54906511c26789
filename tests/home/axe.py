"""axe-core, run in a page: what keeps somebody from using it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Page

SERIOUS = ("serious", "critical")


def barriers(page: Page) -> list[str]:
    """Serious and critical violations, contrasts in the dark too; each with the elements that have them."""
    page.evaluate(AXE_FILE_PATH.read_text())
    page.emulate_media(color_scheme="dark")
    found = _violations(page, {"runOnly": ["color-contrast"]})
    page.emulate_media(color_scheme="light")
    found += _violations(page, {})
    return [
        f"{one['id']}: {', '.join(str(node['target']) for node in one['nodes'])}"
        for one in found
        if one["impact"] in SERIOUS
    ]


def _violations(page: Page, options: dict[str, Any]) -> list[dict[str, Any]]:
    answer = page.evaluate("options => axe.run(options)", {"resultTypes": ["violations"], **options})
    return list(answer["violations"])
