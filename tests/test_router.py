"""Routes below several prefixes: each address leads to the route that is registered, others lead nowhere."""

from __future__ import annotations

import re

import pytest
from sanic import Sanic
from sanic.exceptions import NotFound

from wkdvid.config import Config
from wkdvid.frontends.router import PrefixRouter, addresses
from wkdvid.server import create_app


@pytest.fixture(scope="module")
def router() -> PrefixRouter:
    app = create_app(Config())
    Sanic.unregister_app(app)  # another test makes one of the same name
    app.router.finalize()
    assert isinstance(app.router, PrefixRouter)
    return app.router


def test_every_address_leads_to_its_route(router: PrefixRouter) -> None:
    asked = 0
    for route in router.routes:
        for address in addresses(route):
            path = re.sub(r"<(\w+)[^>]*>", r"a-\1", address)
            for method in route.methods:
                found, _, names = router.get(path, method, None)
                assert found is route, path
                assert {*names} == {*re.findall(r"<(\w+)", address)}
                asked += 1
    assert asked > 1000


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/data/datasets", "/test/docs", "/v3/login", "/v1", "/v1/", "/v3", "/v2/v2/datasets", "/v1/v2/datasets"),
        *("/data/v4/datasets", "/data/v17/datasets", "/data/v9/datasets/0123/proxy/datasource-properties.json"),
        *("/data/v100/datasets", "/v1/api/repos/info", "/clio_toplevel/v1/datasets", "/V2/datasets", "/data/v10"),
    ],
)
def test_other_paths_lead_nowhere(router: PrefixRouter, path: str) -> None:
    with pytest.raises(NotFound):
        router.get(path, "GET", None)
