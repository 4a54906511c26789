"""Every route of clio's API declares who may use it, and refuses all others."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sanic import Sanic

from tests.clio.accounts import DATASET, ON_ONE_DATABASE, OWNER, Clio
from wkdvid.config import Config
from wkdvid.frontends.clio.calls import Access
from wkdvid.server import create_app

NEEDS = {access.value: access for access in Access}
REFUSED = {
    Access.USER: [],
    Access.READ: ["nobody@t.com"],
    Access.GENERAL: ["nobody@t.com", "r@t.com"],
    Access.WRITE: ["nobody@t.com", "r@t.com", "u@t.com"],
    Access.DATASET_ADMIN: ["nobody@t.com", "r@t.com", "u@t.com", "w@t.com"],
    Access.ADMIN: ["nobody@t.com", "r@t.com", "u@t.com", "w@t.com", "d@t.com"],
}
"""Who has not the role."""


def declared() -> Iterator[tuple[str, str, Access]]:
    app = create_app(Config())
    Sanic.unregister_app(app)  # another test makes one of the same name
    for route in app.router.routes:
        prefix, _, access = getattr(route.ctx, "access", "").partition(" ")
        if prefix == "clio":
            for method in sorted(route.methods - {"HEAD"}):
                yield method, route.uri, NEEDS[access]


ROUTES = sorted(declared(), key=lambda one: one[:2])


def path_of(uri: str) -> str:
    values = {"dataset": DATASET, "type": "neurons", "ids": "1", "key": "Pt1_2_3", "scope": "s", "id": "x"}
    if "/proxy/" in uri:
        values["dataset"] = "public"  # of a dataset that is not, it is for who may read that
    return re.sub(r"<(\w+)[^>]*>", lambda found: values.get(found[1], "x"), uri)


@ON_ONE_DATABASE
@pytest.mark.parametrize(("method", "uri", "access"), ROUTES)
def test_who_may_use_a_route(clio: Clio, method: str, uri: str, access: Access) -> None:
    path = path_of(uri)
    without = clio.ask(None, method, path, [], allow_redirects=False)
    if access is Access.PUBLIC:
        assert without.status_code != 401
        return
    assert without.status_code == 401
    assert without.headers["Access-Control-Allow-Origin"] == "*"
    for user in REFUSED[access]:
        assert clio.ask(user, method, path, []).status_code == 403
    allowed = clio.ask(OWNER, method, path, [], allow_redirects=False)
    assert allowed.status_code not in {401, 403, 500}
