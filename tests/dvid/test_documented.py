"""The page on the API says what the routes and the tables of endpoints do: whoever adds one adds its row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sanic import Sanic

from wkdvid.config import Config
from wkdvid.frontends.dvid.calls import Endpoints
from wkdvid.frontends.dvid.instances import VALUE_TYPES
from wkdvid.frontends.dvid.repositories.routes import NODE_ANSWERS
from wkdvid.frontends.dvid.routes import ENDPOINTS
from wkdvid.server import create_app

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "dvid.md").read_text()
VALUES_PAGE = (DOCS / "dvid-values.md").read_text()
CHANGING = ("POST", "PUT", "DELETE")
BELOW_INSTANCES = re.compile(r"/api/node/<uuid.*?>/<name")
COLUMNS: Mapping[str, str] = {kind: "images" for kind in ENDPOINTS if kind.endswith("blk")} | {"labelmap": "labelmap"}
"""Of each type of voxels."""


def tables(page: str) -> Iterator[list[dict[str, str]]]:
    """Each as rows of cells by the heading of their column."""
    for table in re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE):
        heading, _, *rows = [[cell.strip() for cell in line[1:-1].split(" |")] for line in table.splitlines()]
        yield [dict(zip(heading, row, strict=True)) for row in rows]


def table(first: str, page: str = PAGE) -> list[dict[str, str]]:
    """The one that begins with a column of this name."""
    (found,) = [rows for rows in tables(page) if next(iter(rows[0])) == first]
    return found


def routes() -> set[tuple[str, str]]:
    """Method and path of each that is of the server, of repositories or of nodes."""
    app = create_app(Config())
    Sanic.unregister_app(app)  # another test makes one of the same name
    app.router.finalize()
    of_dvid = [route for route in app.router.routes if ".dvid." in route.name]
    offered = {(method, f"/{route.path}") for route in of_dvid for method in route.methods - {"HEAD", "OPTIONS"}}
    return {(method, path) for method, path in offered if not BELOW_INSTANCES.match(path)}


ROUTES = routes()
DOCUMENTED = [(row["method"], row["path"].strip("`")) for row in table("method")]


def fits(route: str, path: str) -> bool:
    """Parameters of a route are in capitals on the page, or named."""
    pattern = "".join("[^/]+" if part.startswith("<") else re.escape(part) for part in re.split(r"(<.*?>)", route))
    return re.fullmatch(pattern, path) is not None


def test_each_route_has_a_row() -> None:
    assert len(ROUTES) > 20
    missing = {
        (method, route)
        for method, route in ROUTES
        if not any(method == m and fits(route, path) for m, path in DOCUMENTED)
    }
    assert missing == set()
    assert {f"/api/node/UUID/{action}" for action in NODE_ANSWERS} <= {path for m, path in DOCUMENTED if m == "GET"}


def test_each_row_is_a_route() -> None:
    assert len(set(DOCUMENTED)) == len(DOCUMENTED)
    invented = [
        (method, path)
        for method, path in DOCUMENTED
        if not any(method == m and fits(route, path) for m, route in ROUTES)
    ]
    assert invented == []


def offered(endpoints: Endpoints, name: str) -> str:
    """What a cell has to say: methods, struck out where a POST is refused that DVID takes."""
    found = ["GET"] if name in endpoints.handlers else []
    found += [method for method in CHANGING if name in endpoints.changing.get(method, {})]
    if name in endpoints.asking:
        found.append("POST")
    elif name in endpoints.not_offered and "POST" not in found:
        found.append("~~POST~~")
    return " ".join(found)


def names(endpoints: Endpoints) -> set[str]:
    changing = [name for by_method in endpoints.changing.values() for name in by_method]
    return {*endpoints.handlers, *changing, *endpoints.asking, *endpoints.not_offered}


@pytest.mark.parametrize("kind", COLUMNS)
def test_each_endpoint_of_an_instance_has_a_row(kind: str) -> None:
    endpoints, page = ENDPOINTS[kind], VALUES_PAGE if kind in VALUE_TYPES else PAGE
    rows = {row["endpoint"].strip("`"): row[COLUMNS[kind]] for row in table("endpoint", page)}
    assert {name: cell for name, cell in rows.items() if cell} == {
        name: offered(endpoints, name) for name in names(endpoints)
    }
