"""Mode ``token``: what a caller may not read is answered like what does not exist."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import write_precomputed

SECRET = {"Authorization": "Bearer secret"}
DIRECT = "/api/node/aaaa0001/em/info"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("access")
    write_precomputed(data / "em", [((1, 1, 1), np.ones((20, 20, 20), np.uint8))])
    layers = {"em": {"source": str(data / "em")}}
    datasets = {
        "private": {"uuid": "aaaa0001", "public": False, "layers": layers},
        "public": {"uuid": "aaaa0002", "layers": layers},
    }
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "secret"}
    with running(data, {"precomputed": {"lab": datasets}}, environ=environ) as server:
        yield server


def test_a_private_dataset_is_not_there(server: Server) -> None:
    refused = server.get(DIRECT)
    unknown = server.get(DIRECT.replace("aaaa0001", "aaaa0009"))
    assert (refused.status_code, refused.text) == (400, unknown.text.replace("aaaa0009", "aaaa0001"))
    assert list(server.get("/api/repos/info").json()) == ["aaaa0002"]
    assert server.get("/api/repo/aaaa/info").json()["Root"] == "aaaa0002"
    assert server.get("/api/repo/:master/info").json()["Root"] == "aaaa0002"


@pytest.mark.parametrize(
    "options", [{"headers": SECRET}, {"headers": {"X-Auth-Token": "secret"}}, {"params": {"admintoken": "secret"}}]
)
def test_the_token_opens_it(server: Server, options: dict[str, dict[str, str]]) -> None:
    assert server.get(DIRECT, **options).status_code == 200
    assert list(server.get("/api/repos/info", **options).json()) == ["aaaa0001", "aaaa0002"]
    ambiguous = server.get("/api/repo/aaaa/info", **options)
    assert (ambiguous.status_code, ambiguous.text[:31]) == (400, "more than one UUID matches aaaa")


def test_a_bearer_that_means_nothing_does_no_harm(server: Server) -> None:
    assert server.get("/api/node/aaaa0002/em/info", headers={"Authorization": "Bearer [object Object]"}).ok


def test_administration_needs_the_token(server: Server) -> None:
    spec: dict[str, dict[str, str]] = {"json": {}}
    assert server.post("/api/config/dataset?dataset_name=x", **spec).status_code == 401
    assert server.post("/api/config/dataset?dataset_name=x&token=wrong", **spec).status_code == 403
    assert server.post("/api/config/dataset?dataset_name=x", headers=SECRET, **spec).status_code == 400
    refused = server.post("/api/server/settings", json={"throttle": "0"})
    assert refused.status_code == 400
    assert refused.text.startswith("POST /api/server/settings requires admin privileges (admintoken or DSG admin)")


def test_throttled_requests_wait_for_a_slot(server: Server) -> None:
    def set_slots(number: str) -> str:
        return server.post("/api/server/settings?admintoken=secret", json={"throttle": number}).text

    em = "/api/node/aaaa0002/em"
    assert set_slots("0") == "Maximum throttled ops set to 0 from 8\n"
    try:
        for path in ("raw/0_1_2/4_1_1/0_0_0?throttle=on", "subvolblocks/64_64_64/0_0_0?throttle=true"):
            busy = server.get(f"{em}/{path}")
            assert (busy.status_code, busy.text) == (503, "Server already running 0 throttled operations (max = 0)\n\n")
        for path in (
            "raw/xy/4_1/0_0_0?throttle=on",
            "specificblocks?blocks=0,0,0&throttle=on",
            "raw/0_1_2/4_1_1/0_0_0",
        ):
            assert server.get(f"{em}/{path}").status_code == 200
    finally:
        assert set_slots("8") == "Maximum throttled ops set to 8 from 0\n"
    for _ in range(20):
        assert server.get(f"{em}/raw/0_1_2/4_1_1/0_0_0?throttle=on").status_code == 200
