"""What was acknowledged outlives an end without warning; a database that is away is told, never shown as empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clio.accounts import DATASET, clio_server
from tests.clio.kills import write_until_killed
from tests.metadata.databases import PostgreSQL, running_postgresql


@pytest.fixture(scope="module")
def own_postgresql() -> Iterator[PostgreSQL]:
    """One that may be stopped."""
    with running_postgresql() as server:
        yield server


def test_acknowledged_writes_outlive_a_kill(tmp_path: Path) -> None:
    write_until_killed(tmp_path, times=1)


def test_a_database_that_is_away_is_told(own_postgresql: PostgreSQL, tmp_path: Path) -> None:
    with clio_server(tmp_path, {"CLIO_DB": own_postgresql.new_database()}) as clio:
        path = f"/v2/annotations/{DATASET}"
        clio.told("u@t.com", "POST", path, {"kind": "point", "pos": [1, 2, 3]})
        clio.told("u@t.com", "POST", "/v2/kv/s/k", {"a": 1})
        own_postgresql.stop()
        try:
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
        finally:
            own_postgresql.start()
        assert [one["key"] for one in clio.told("u@t.com", "GET", path)] == ["Pt1_2_3"]
        assert clio.told("u@t.com", "GET", "/v2/kv/s/k") == {"a": 1}
        assert clio.told("stranger@t.com", "GET", "/v2/roles")["datasets"] == {}
