"""``TEST_USER``: who sends requests without a token, as long as nobody else can reach the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.clio.accounts import OWNER, SECRET, Clio, clio_server
from wkdvid.config import load_config
from wkdvid.errors import ConfigError

USER = "tu@t.com"


@pytest.fixture(scope="module")
def clio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    with clio_server(tmp_path_factory.mktemp("data"), {"TEST_USER": "TU@t.com"}) as server:
        yield server


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer zzz"}, {"Authorization": "Bearer a.b.c"}])
def test_what_is_no_token_is_the_test_users(clio: Clio, headers: dict[str, str]) -> None:
    assert clio.told(None, "GET", "/v2/roles", headers=headers)["email"] == USER


def test_tokens_count_as_ever(clio: Clio) -> None:
    assert clio.told(OWNER, "GET", "/v2/roles")["email"] == OWNER
    forged = {"Authorization": clio.header(OWNER)["Authorization"][:-4] + "AAAA"}
    assert clio.ask(None, "GET", "/v2/roles", headers=forged).status_code == 401
    assert clio.ask(None, "GET", "/v2/users").status_code == 403


def test_the_owner_needs_no_record(clio: Clio) -> None:
    assert clio.told(OWNER.upper(), "GET", "/v2/roles")["global_roles"] == ["admin"]
    assert OWNER not in clio.told(OWNER, "GET", "/v2/users")


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_foreign_pages_change_nothing(clio: Clio, headers: dict[str, str]) -> None:
    for token in ({}, {"Authorization": "Bearer x"}):
        answer = requests.post(f"{clio.server.base}/v2/kv/s/k", json={}, headers={**headers, **token}, timeout=60)
        assert answer.status_code == 403


def test_nobody_else_may_reach_the_server() -> None:
    environ = {"WKDVID_ACCESS__MODE": "clio", "TEST_USER": USER, "FLYEM_SECRET": SECRET, "PORT": "8080"}
    with pytest.raises(ConfigError, match=r"clio\.test_user"):
        load_config(None, environ, {})
    assert load_config(None, {**environ, "CLIO_ALLOW_TEST_USER": "true"}, {}).clio.test_user == USER
