"""docs/clio.md: its table has every route. Its walk-through is run by ``tests/clients/test_clio_clients.py``."""

from __future__ import annotations

import re
from pathlib import Path

from tests.clio.test_routes import ROUTES

PAGE = Path(__file__).parents[2] / "docs" / "clio.md"
ROW = re.compile(r"^\| ([A-Z ]+) \| `(/[^`]*)` \| (\w+) \| ?(.*?) ?\|$", re.MULTILINE)


def test_the_tables_have_every_route_with_its_role() -> None:
    written = set()
    for methods, path, role, here in ROW.findall(PAGE.read_text()):
        for method in methods.split():
            alone = method == "GET" and "GET: `clio_read`" in here
            written.add((method, path, "clio_read" if alone else role))
    offered = {(method, shown(uri.removeprefix("/v2")), access.value) for method, uri, access in ROUTES}
    assert written == offered


def shown(uri: str) -> str:
    """A path of the router as the page has it: ``/kv/<scope:str>`` is ``/kv/SCOPE``."""
    return re.sub(r"<(\w+)[^>]*>", lambda found: found[1].upper(), uri)
