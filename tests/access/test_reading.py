"""A hidden dataset is there for those who may read it, and for others on no route; over a real port."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.access.routes import (
    ALICE,
    BUCKET,
    CHANGES,
    KEYS,
    LISTING,
    READING,
    ROUTES,
    SECRET,
    SIGNS_IN,
    TOKEN,
    ask,
    names_one,
    told,
)
from tests.servers import Server
from wkdvid.core.entries import default_uuid

WAYS = [
    {"headers": {"Authorization": f"Bearer {TOKEN}"}},
    {"headers": {"X-Auth-Token": TOKEN}},
    {"params": {"token": TOKEN}},
]


@pytest.mark.parametrize("way", WAYS)
def test_a_hidden_dataset_is_there_for_the_administrator(guarded: Server, way: dict[str, Any]) -> None:
    answer = guarded.post("/data/datasets/org/hidden/layers/image/data", json=[BUCKET], **way)
    assert answer.content == bytes([5]) * 32**3
    assert "hidden" in [dataset["name"] for dataset in guarded.get("/data/datasets", **way).json()]


@pytest.mark.parametrize("token", [None, "wrong", ""])
def test_a_hidden_dataset_is_not_there_for_others(guarded: Server, token: str | None) -> None:
    headers = {"X-Auth-Token": token} if token is not None else {}
    hidden = guarded.post("/data/datasets/org/hidden/layers/image/data", json=[BUCKET], headers=headers)
    missing = guarded.post("/data/datasets/org/missing/layers/image/data", json=[BUCKET], headers=headers)
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace("hidden", "missing").split("requestId")[0] == missing.text.split("requestId")[0]
    assert "hidden" not in guarded.get("/data/datasets", headers=headers).text
    assert "hidden" not in guarded.get("/", headers=headers).text
    assert "hidden" not in guarded.get("/api/repos/info", headers=headers).text


def test_open_datasets_are_read_without_a_token(guarded: Server) -> None:
    assert guarded.buckets("org/open/layers/image", BUCKET).content == bytes([5]) * 32**3


def test_shared_caches_keep_what_anybody_may_read(guarded: Server) -> None:
    for dataset, kept in (("open", "public"), ("hidden", "private")):
        for path in (f"precomputed/org/{dataset}/image/info", f"zarr/org/{dataset}/image/1/zarr.json"):
            answer = guarded.get(f"/{path}", headers={"X-Auth-Token": TOKEN})
            assert answer.headers["Cache-Control"] == f"{kept}, max-age=60"
            assert ("X-Auth-Token" in answer.headers.get("Vary", "")) == (kept == "private")


def test_a_volume_is_read_by_who_may_read_its_dataset(guarded: Server) -> None:
    """Clio's proxy asks for no more than the other front ends do."""
    volumes = {name: {"bucket": f"file://{guarded.data_dir}", "path": "v"} for name in ("open", "hidden")}
    guarded.post("/v2/volumes", json=volumes, headers=SECRET).raise_for_status()
    for headers in ({}, SECRET, {"X-Auth-Token": "wrong"}):
        assert guarded.get("/v2/volumes/proxy/open/info", headers=headers).status_code == 200
    assert guarded.get("/v2/volumes/proxy/hidden/info").status_code == 401
    assert guarded.get("/v2/volumes/proxy/hidden/info", headers=SECRET).status_code == 200


def test_every_route_declares_its_access() -> None:
    assert {access for _, _, access in ROUTES} == {"public", "observe", "read", *CHANGES, SIGNS_IN}
    assert [uri for _, uri, access in ROUTES if access == "public" and names_one(uri)] == []
    assert {method for method, _ in LISTING} == {"GET", "HEAD"}


@pytest.mark.parametrize(("method", "uri"), READING)
def test_a_hidden_dataset_is_answered_like_none(guarded: Server, method: str, uri: str) -> None:
    assert told(guarded, method, uri, "hidden", {}) == told(guarded, method, uri, "missing", {})
    secret = {"X-Auth-Token": TOKEN}
    if method != "HEAD":
        assert told(guarded, method, uri, "hidden", secret) != told(guarded, method, uri, "missing", secret)


@pytest.mark.parametrize(("method", "uri"), READING)
def test_who_reads_one_dataset_is_told_nothing_of_another(shared: Server, method: str, uri: str) -> None:
    missing = told(shared, method, uri, "missing", ALICE)
    assert told(shared, method, uri, "hidden", ALICE) == missing
    assert told(shared, method, uri, "open", {}) == missing
    assert method == "HEAD" or told(shared, method, uri, "open", ALICE) != missing


@pytest.mark.parametrize(("method", "uri"), LISTING)
def test_who_reads_one_dataset_finds_no_other_listed(shared: Server, method: str, uri: str) -> None:
    if "/assets/" not in uri:
        for headers in (ALICE, {}):
            text = ask(shared, method, uri, "open", headers).text
            assert "hidden" not in text
            assert default_uuid(KEYS["hidden"])[:24] not in text


@pytest.mark.parametrize(("method", "uri"), LISTING)
def test_a_hidden_dataset_is_nowhere_listed(guarded: Server, method: str, uri: str) -> None:
    if "/assets/" not in uri:
        text = ask(guarded, method, uri, "open").text
        assert "hidden" not in text
        assert default_uuid(KEYS["hidden"])[:24] not in text


def test_bytes_that_are_no_text_do_no_harm(guarded: Server, shared: Server) -> None:
    odd = b"\xff\xfe"
    for headers in ({"X-Auth-Token": odd}, {"Authorization": b"Bearer " + odd}):
        for server, status in ((guarded, 404), (shared, 403)):
            address = server.base + "/data/datasets/org/hidden"
            assert requests.get(address, headers=headers, timeout=60).status_code == status
        address = guarded.base + "/data/triggers/checkInboxBlocking"
        assert requests.post(address, headers=headers, timeout=60).status_code == 403
    for path in ("/", "/data/datasets", "/api/server/info"):
        assert requests.get(guarded.base + path, headers={"Host": odd}, timeout=60).status_code == 200
