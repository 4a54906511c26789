"""What was acknowledged outlives an end without warning; a database that is away is told, never shown as empty."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.clio.accounts import DATASET, Clio
from tests.clio.kills import write_until_killed
from tests.metadata.databases import PostgreSQL
from tests.servers import Server


def test_acknowledged_writes_outlive_a_kill(tmp_path: Path) -> None:
    write_until_killed(tmp_path, times=1, workers=1)


def told_ready(server: Server, *, is_ready: bool) -> dict[str, bool]:
    """What the probe says when it has noticed: it does not ask the database each time."""
    while (answer := server.get("/health/ready")).status_code != (200 if is_ready else 503):
        time.sleep(0.1)
    found: dict[str, bool] = answer.json()
    return found


@pytest.mark.parametrize("clio", ["postgresql"], indirect=True, scope="module")
def test_a_database_that_is_away_is_told(clio: Clio, postgresql: PostgreSQL) -> None:
    path = f"/v2/annotations/{DATASET}"
    clio.told("u@t.com", "POST", path, {"kind": "point", "pos": [1, 2, 3]})
    clio.told("u@t.com", "POST", "/v2/kv/s/k", {"a": 1})
    with postgresql.away(clio.database_url):
        asked: list[tuple[str, str, object]] = [
            ("GET", path, None),
            ("GET", "/v2/kv/s", None),
            ("GET", "/v2/kv/s/k", None),
        ]
        asked += [("GET", "/v2/atlas/all", None), ("POST", "/v2/kv/s/k", {"a": 2}), ("DELETE", "/v2/kv/s/k", None)]
        for method, where, body in asked:
            answer = clio.ask("u@t.com", method, where, body)
            assert answer.status_code == 503, (where, answer.text)
            assert "database" in answer.json()["detail"]
            assert "tester" not in answer.text
        stranger = clio.ask("stranger@t.com", "GET", "/v2/roles")
        assert stranger.status_code == 503  # not somebody without roles
        ready = told_ready(clio.server, is_ready=False)
        assert (ready["database"], ready["draining"]) == (False, False)
        assert clio.server.get("/health/live").status_code == 200
        assert 'wkdvid_up{what="database"} 0.0' in clio.server.get("/metrics").text
    told_ready(clio.server, is_ready=True)
    assert [one["key"] for one in clio.told("u@t.com", "GET", path)] == ["Pt1_2_3"]
    assert clio.told("u@t.com", "GET", "/v2/kv/s/k") == {"a": 1}
    assert clio.told("stranger@t.com", "GET", "/v2/roles")["datasets"] == {}
