"""The API description keeps what it promises: requests made up from it break nothing, and every status is described."""

from __future__ import annotations

import pytest

from tests.clio.accounts import ON_ONE_DATABASE, OWNER, Clio
from tests.clio.made_up import MadeUp
from tests.clio.test_routes import ROUTES
from wkdvid.frontends.home.openapi import template

pytestmark = ON_ONE_DATABASE

EXAMPLES = 2
"""For each operation; the soak tests have more."""
OPERATIONS = sorted((method, template(uri)) for method, uri, _ in ROUTES if uri.startswith("/v2/") and method != "PUT")
"""A PUT is what the POST is."""


@pytest.fixture(scope="module")
def made_up(clio: Clio) -> MadeUp:
    return MadeUp(clio)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_requests_at_random(made_up: MadeUp, method: str, path: str) -> None:
    made_up.check(method, path, EXAMPLES)


def test_ids_by_another_name_than_that_of_the_records(clio: Clio) -> None:
    """What the soak test has found."""
    path = "/v2/json-annotations/renamed/neurons"
    clio.told(OWNER, "POST", f"{path}?id_field=body", [{"body": 7, "type": "a"}])
    clio.told(OWNER, "POST", path, {"bodyid": 8, "type": "a"})
    assert clio.told(OWNER, "POST", f"{path}/query?onlyid=true&id_field=body", {"type": "a"}) == [7]
