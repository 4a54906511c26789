"""``TEST_USER``: who sends requests without a token, as long as nobody else can reach the server.

So programs that send none can read annotations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from cloudvolume.cloudvolume import from_cloudpath

from tests.clio.accounts import DATASET, OWNER, SECRET, Clio, clio_server
from wkdvid.config import load_config
from wkdvid.errors import ConfigError

USER = "u@t.com"
TYPED = f"/v2/annotations/{DATASET}"


@pytest.fixture(scope="module")
def clio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    with clio_server(tmp_path_factory.mktemp("data"), {"TEST_USER": "U@t.com"}) as server:
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


# ---- many annotations ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(clio: Clio) -> dict[str, list[int]]:
    rng = np.random.default_rng(5)
    places = np.unique(rng.integers(0, 3000, (12_000, 3)), axis=0)
    body = "x,y,z\n" + "".join(f"{x},{y},{z}\n" for x, y, z in places)
    report = clio.told(None, "POST", f"{TYPED}/import?format=csv", data=body.encode())
    assert report["imported"] == len(places)
    return {f"Pt{x}_{y}_{z}": [int(x), int(y), int(z)] for x, y, z in places}


def test_listings_of_many(clio: Clio, crowd: dict[str, list[int]]) -> None:
    assert {one["key"]: one["pos"] for one in clio.told(None, "GET", TYPED)} == crowd
    low, high = [100, 50, 7], [1700, 1650, 1607]
    inside = {key for key, at in crowd.items() if all(a <= n < b for a, n, b in zip(low, at, high, strict=True))}
    found = [one["key"] for one in clio.told(None, "GET", f"{TYPED}?box=" + ",".join(map(str, low + high)))]
    assert len(found) == len(inside)
    assert set(found) == inside


def test_cloud_volume_reads_precomputed_annotations(clio: Clio, crowd: dict[str, list[int]]) -> None:
    source: Any = from_cloudpath(f"precomputed://{clio.server.base}{TYPED}/precomputed/point")
    found: dict[int, list[int]] = {}
    levels = source.meta.info["spatial"]
    assert len(levels) == 2
    for level in range(len(levels)):
        part = source.get_by_bbox(source.meta.bounds, mip=level)
        shown = dict(zip(part.ids.tolist(), part.geometry.astype(int).tolist(), strict=True))
        assert not shown.keys() & found.keys()
        found |= shown
    assert sorted(found.values()) == sorted(crowd.values())
    number, place = next(iter(found.items()))
    assert source.get_by_id(number).geometry.ravel().astype(int).tolist() == place
