"""Data directories of older versions, and their backups: what was in them is there, and the server answers from it."""

from __future__ import annotations

import json
import sqlite3
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tests.cli.program import wkdvid_here
from tests.servers import Server, running
from wkdvid.metadata.engine import MIGRATIONS, VERSION, Standing, migrate, open_engine, standing, transaction
from wkdvid.metadata.schema import REVISION
from wkdvid.sample import write_sample

ROOT = "3" * 32
"""UUID of the node that the old database knows."""
BORN = {"created": "2026-03-04T05:06:07Z", "updated": "2026-03-04T05:06:08Z"}
DATA_UUID = "4" * 32
CORNERS = json.dumps([[0, 0, 0], [64, 64, 64]])
ROWS: Mapping[str, Mapping[str, Any]] = {
    "jobs": {
        "id": "1" * 32,
        "kind": "pyramid",
        "dataset": "lab/old",
        "layer": "em",
        "state": "done",
        "done": 8,
        "total": 8,
        "message": "made",
        "plan": '{"p": 1}',
        "runner": "a",
        "leased_until": 1.5,
        "created": 2.5,
    },
    "job_tasks": {"job_id": "1" * 32, "number": 3},
    "catalog": {
        "number": 1,
        "organization": "lab",
        "dataset": "old",
        "backend": "n5",
        "entry": '{"layers": {}}',
        "renewed": 7,
    },
    "repositories": {
        "number": 1,
        "root": ROOT,
        "alias": "old",
        "description": "made long ago",
        "log": '["first"]',
        "changed": 4,
        **BORN,
    },
    "nodes": {
        "version": 1,
        "uuid": ROOT,
        "repository": 1,
        "parent": None,
        "branch": "",
        "note": "n",
        "log": "[]",
        "locked": False,
        **BORN,
    },
    "data_instances": {
        "number": 1,
        "data_uuid": DATA_UUID,
        "repository": 1,
        "name": "kv",
        "typename": "keyvalue",
        "versioned": True,
        "tags": "null",
        "settings": "{}",
    },
    "extents": {"instance": 1, "version": 1, "corners": CORNERS, "written": True},
    "stored_values": {"data_uuid": DATA_UUID, "key": b"kept", "version": 1, "value": b"\0 what was kept \xff"},
    "max_labels": {"instance": 1, "version": 1, "label": 2**53},
    "label_blocks": {"instance": 1, "label": 2**53, "block": bytes(12), "version": 1, "voxels": 7},
    "users": {
        "email": "ada@example.org",
        "name": "Ada",
        "org": None,
        "picture": None,
        "disabled": False,
        "global_roles": '["admin"]',
        "datasets": "{}",
        "token_epoch": 0.5,
        "created": 1.5,
        "updated": 2.5,
    },
    "user_groups": {"name": "lab", "email": "ada@example.org"},
    "api_tokens": {"digest": "5" * 64, "email": "ada@example.org", "label": "t", "created": 1.5, "expires": None},
    "clio_values": {"kind": "kv", "email": "", "scope": "a", "key": "b", "at": 1.5, "document": '{"c": 1}'},
}
"""A row of each table, as the revision that made it has it."""
REVISIONS = [f"{number:04}" for number in range(1, int(REVISION))]


def old_database(url: str, revision: str) -> dict[str, list[tuple[Any, ...]]]:
    """As a program of that time left it: all rows, by table."""
    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = sa.MetaData()
        tables.reflect(connection)
        for name, row in ROWS.items():
            if name in tables.tables:
                connection.execute(sa.insert(tables.tables[name]).values(row))
    engine.dispose()
    return all_rows(url)


def all_rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    engine = open_engine(url)
    with transaction(engine) as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        found = {
            name: [tuple(row) for row in connection.execute(sa.select(table))] for name, table in tables.tables.items()
        }
    engine.dispose()
    del found[VERSION.name]
    return found


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_database_of_each_older_version_keeps_every_row(revision: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'wkdvid.db'}"
    before = old_database(url, revision)
    assert before["jobs"] and standing(url) is Standing.OLDER  # noqa: PT018 - one state
    migrate(url)
    assert standing(url) is Standing.CURRENT
    after = all_rows(url)
    assert {name: after[name] for name in before} == before


FIRST_CATALOG = {
    "neuroglancer": {
        "sample": {
            "precomputed": {
                "layers": {
                    "grey": {"source": "sample/precomputed/grey", "type": "image"},
                    "segmentation": {"source": "sample/precomputed/segmentation", "type": "segmentation"},
                }
            }
        }
    },
}
"""datasets.json as it was in the first version of this program: by webknossos-connect's name of the backend."""


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over a data directory of an older version."""
    data_dir = tmp_path_factory.mktemp("old")
    old_database(f"sqlite:///{data_dir / 'wkdvid.db'}", "0005")
    write_sample(data_dir / "sample", 32)
    with running(data_dir, FIRST_CATALOG) as server:
        yield server


def test_a_server_answers_from_an_older_data_directory(upgraded: Server) -> None:
    assert upgraded.get(f"/api/node/{ROOT}/kv/key/kept").content == ROWS["stored_values"]["value"]
    (repository,) = (one for one in upgraded.get("/api/repos/info").json().values() if one and one["Root"] == ROOT)
    assert (repository["Alias"], repository["Description"]) == ("old", "made long ago")
    bucket = {"position": [0, 0, 0], "zoomStep": 0, "cubeSize": 16, "fourBit": False}
    assert len(upgraded.buckets("sample/precomputed/layers/grey", bucket).content) == 16**3
    assert upgraded.get("/api/jobs").json()[0]["id"] == ROWS["jobs"]["id"]


class Writer(threading.Thread):
    """Posts a value after the other, and knows how many were acknowledged."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._address = f"{base}/api/node/{ROOT}/kv/key"
        self.acknowledged = 0
        self.some = threading.Event()
        self.end = threading.Event()

    def run(self) -> None:
        with requests.Session() as session:
            while not self.end.is_set():
                session.post(f"{self._address}/{self.acknowledged:06}", data=b"x" * 2000, timeout=60).raise_for_status()
                self.acknowledged += 1
                if self.acknowledged == 20:
                    self.some.set()


def numbers_in(database: Path) -> list[int]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        keys = connection.execute("SELECT key FROM stored_values ORDER BY key").fetchall()
    return [int(key) for (key,) in keys if key.isdigit()]


def test_a_backup_under_writes_is_that_of_one_moment_and_opens(upgraded: Server, tmp_path: Path) -> None:
    data_dir, copy = upgraded.data_dir, tmp_path / "copies" / "today"
    writer = Writer(upgraded.base)
    writer.start()
    try:
        assert writer.some.wait(60)
        before = writer.acknowledged
        done = wkdvid_here("backup", copy, "--data-dir", data_dir, cwd=tmp_path)
        after = writer.acknowledged
    finally:
        writer.end.set()
        writer.join()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{copy} is made\nnot in it: the folder {data_dir / 'sample'}\n"
    found = numbers_in(copy / "wkdvid.db")
    assert found == list(range(len(found)))
    assert before <= len(found) <= after + 1
    assert json.loads((copy / "datasets.json").read_text()) == json.loads((data_dir / "datasets.json").read_text())
    assert (copy / ".wkdvid/clio.secret").read_bytes() == (data_dir / ".wkdvid/clio.secret").read_bytes()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    migrate(f"sqlite:///{copy / 'wkdvid.db'}")
    again = wkdvid_here("doctor", "--data-dir", copy, cwd=tmp_path).stdout
    assert "PROBLEM  database" not in again


def test_a_backup_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = wkdvid_here("backup", "copies/a", "--data-dir", "data", cwd=tmp_path)
    assert (done.returncode, "there is no data/wkdvid.db" in done.stderr) == (2, True)
    assert list((tmp_path / "copies").iterdir()) == []
    (tmp_path / "data/wkdvid.db").write_bytes(b"this is no database" * 100)
    done = wkdvid_here("backup", "copies/a", "--data-dir", "data", cwd=tmp_path)
    assert (done.returncode, "cannot be copied: file is not a database" in done.stderr) == (1, True)
    assert list((tmp_path / "copies").iterdir()) == []
    done = wkdvid_here("backup", "copies", "--data-dir", "data", cwd=tmp_path)
    assert (done.returncode, "is there already" in done.stderr) == (2, True)


def test_with_postgresql_all_else_is_copied(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/config.toml").write_text('[metadata]\ndatabase_url = "postgresql://nobody@127.0.0.1:1/none"\n')
    done = wkdvid_here("backup", "copy", "--data-dir", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not in it: the database, which PostgreSQL's pg_dump copies" in done.stdout
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [".wkdvid", "config.toml"]
