"""The description of the API: of every route, and of no other."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sanic import Sanic

from wkdvid.config import Config
from wkdvid.frontends.dvid.routes import ENDPOINTS as TYPES
from wkdvid.frontends.home.openapi import SHARED_ROUTE, describe_routes, template
from wkdvid.frontends.home.operations import OPERATIONS
from wkdvid.frontends.home.operations.clio import CLIO
from wkdvid.frontends.home.operations.dvid import ENDPOINTS
from wkdvid.frontends.webknossos.versions import PREFIXES
from wkdvid.server import create_app


@pytest.fixture(scope="module")
def routes() -> list[Any]:
    app = create_app(Config())
    Sanic.unregister_app(app)  # another test makes one of the same name
    app.router.finalize()
    return list(app.router.routes)


def test_every_route_is_described(routes: list[Any]) -> None:
    paths = describe_routes(routes)["paths"]
    offered = [(template(route.uri), m) for route in routes for m in route.methods if m not in ("HEAD", "OPTIONS")]
    assert len(offered) > 100
    for path, method in offered:
        assert path.startswith(SHARED_ROUTE) or paths[path][method.lower()]["summary"], (method, path)


def test_what_is_not_described_is_the_same_under_another_prefix(routes: list[Any]) -> None:
    others = {prefix for route in routes for prefix in getattr(route.ctx, "prefixes", ())[1:]}
    assert others == {*PREFIXES, "/v3", "/test", "/v1", "/clio_toplevel"} - {"/data"}


def test_descriptions_are_of_routes_that_there_are(routes: list[Any]) -> None:
    described = {f"{method} {template(route.uri)}" for route in routes for method in route.methods}
    assert set(OPERATIONS) <= described
    of_clio = [route for route in routes if route.ctx.access.startswith("clio ")]
    reading = {"HEAD"}  # what GET does
    assert set(CLIO) == {f"{method} {template(r.ctx.path)}" for r in of_clio for method in r.methods - reading}
    offered = {name for of_type in TYPES.values() for name in offered_by(of_type)}
    assert {key.split("/")[1] for key in ENDPOINTS} <= offered
    longest = max(template(route.uri).count("/") for route in routes if template(route.uri).startswith(SHARED_ROUTE))
    assert max(path.count("/") for path in ENDPOINTS) + SHARED_ROUTE.count("/") - 1 <= longest


def offered_by(of_type: Any) -> set[str]:
    """Names of the endpoints of a type, by whichever method."""
    return {*of_type.handlers, *of_type.asking}.union(*of_type.changing.values())


def test_path_parameters_are_described_and_administration_needs_a_token(routes: list[Any]) -> None:
    document = describe_routes(routes)
    assert document["openapi"] == "3.0.3"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            in_path = [p for p in operation["parameters"] if p["in"] == "path"]
            assert [p["name"] for p in in_path] == re.findall(r"\{(\w+)\}", path)
            assert all(p["required"] and p["description"] for p in in_path), path
    assert document["paths"]["/data/datasets"]["post"]["security"] == [{"token": []}]
    assert document["paths"]["/data/datasets"]["get"]["security"] == []
