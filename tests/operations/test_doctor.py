"""``wkdvid doctor``: what is well, and what to do where something is not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from tests.backends.s3 import s3_server
from tests.volumes import write_precomputed
from wkdvid.cli import main
from wkdvid.config import load_config
from wkdvid.doctor import Finding, examine
from wkdvid.metadata.engine import migrate

SUBJECTS = [
    "configuration",
    "data directory",
    "file roots",
    "credentials",
    "database",
    "disk cache",
    "jobs",
    "port",
    "traces",
    "catalog",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    write_precomputed(data / "v", [((1, 1, 1), np.full((32, 32, 32), 5, np.uint8))])
    layers = {"layers": {"em": {"source": "v", "type": "image"}}}
    (data / "datasets.json").write_text(json.dumps({"precomputed": {"lab": {"well": layers}}}))
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def found(folder: Path, toml: str = "", **environ: str) -> dict[str, Finding]:
    (folder / "wkdvid.toml").write_text(toml)
    variables = {"WKDVID_DATA_DIR": str(folder / "data"), "WKDVID_SERVER__HTTP_ADDRESS": "127.0.0.1:0", **environ}
    config = load_config(folder / "wkdvid.toml", variables, {})
    return {finding.subject: finding async for finding in examine(config)}


def files(folder: Path) -> set[Path]:
    return {*folder.rglob("*")}


async def test_all_is_well_and_nothing_is_changed(folder: Path) -> None:
    before = files(folder) | {folder / "wkdvid.toml"}
    findings = await found(folder)
    assert [*findings] == [*SUBJECTS, "dataset lab/well"]
    assert [finding for finding in findings.values() if not finding.is_well] == []
    assert findings["dataset lab/well"].text == "em"
    assert files(folder) == before


async def test_each_problem_is_named_with_what_to_do(folder: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((folder / "data" / "datasets.json").read_text())
    document["precomputed"]["lab"]["gone"] = {"layers": {"em": {"source": "nowhere", "type": "image"}}}
    document["precomputed"]["lab"]["odd"] = {"layers": {"em": {"sauce": "v"}}}
    (folder / "data" / "datasets.json").write_text(json.dumps(document))
    (folder / "data" / "wkdvid.db").write_bytes(b"no database")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    toml = '[sources]\nfile_roots = ["/nowhere"]\nsecrets = {"$NOT_SET" = ["https://host/"]}\n'
    toml += f'disk_cache_path = "{folder / "data" / "wkdvid.db" / "kept"}"\n[jobs]\nscheduler = "tcp://127.0.0.1:9"\n'
    findings = await found(folder, toml, WKDVID_SERVER__HTTP_ADDRESS=f"127.0.0.1:{taken}")
    wrong = {finding.subject: finding for finding in findings.values() if not finding.is_well}
    assert [*wrong] == [*SUBJECTS[2:], "dataset lab/gone"]
    assert "/nowhere is no folder" in wrong["file roots"].text
    assert "$NOT_SET" in wrong["credentials"].text
    assert "not a database" in wrong["database"].text
    assert f"{folder / 'data' / 'wkdvid.db'} is no folder" in wrong["disk cache"].text
    assert "tcp://127.0.0.1:9 does not answer" in wrong["jobs"].text
    assert f"port {taken}: Address already in use" in wrong["port"].text
    assert "'grpc' is not offered" in wrong["traces"].text
    assert "sauce" in wrong["catalog"].text
    assert all(finding.advice for subject, finding in wrong.items() if subject != "traces")
    assert findings["dataset lab/well"].is_well


async def test_the_disk_cache_needs_its_room(folder: Path) -> None:
    toml = '[sources]\ndisk_cache_path = "{}"\ndisk_cache_bytes = "{}"\n'
    assert (await found(folder, toml.format(folder / "kept", "16MiB")))["disk cache"].is_well
    assert (
        "more than its disk has left"
        in (await found(folder, toml.format(folder / "kept", "9000TiB")))["disk cache"].text
    )
    assert not (folder / "kept").exists()


async def test_the_bucket_of_what_clients_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with s3_server() as (endpoint, client):
        client.create_bucket(Bucket="lab")
        toml = '[volumes]\nurl = "s3://{}/volumes"\n[[sources.credentials]]\nprefix = "s3://{}/"\nenvironment = true\n'
        toml += f'endpoint = "{endpoint}"\nregion = "us-east-1"\n'
        well = (await found(folder, toml.format("lab", "lab")))["volumes"]
        assert well == Finding("volumes", is_well=True, text="s3://lab/volumes")
        ill = (await found(folder, toml.format("none", "none")))["volumes"]
        assert (ill.is_well, "s3://none/volumes" in ill.text, "make the bucket" in ill.advice) == (False, True, True)


async def test_a_scheduler_that_listens_is_well(folder: Path, taken: int) -> None:
    toml = f'[jobs]\nscheduler = "tcp://127.0.0.1:{taken}"\n'
    assert (await found(folder, toml))["jobs"] == Finding(
        "jobs", is_well=True, text=f"handed to the workers of tcp://127.0.0.1:{taken}"
    )


async def test_databases_of_other_versions(folder: Path) -> None:
    url = f"sqlite:///{folder / 'data' / 'wkdvid.db'}"
    migrate(url)
    assert (await found(folder))["database"].text.endswith("up to date")
    for version, is_well in (("0001", True), ("9999", False)):
        with sa.create_engine(url).begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})
        assert (await found(folder))["database"].is_well == is_well


async def test_the_catalog_may_be_broken(folder: Path) -> None:
    (folder / "data" / "datasets.json").write_text("{")
    assert "line 1, column 2" in (await found(folder))["catalog"].text


def test_the_command_says_it_and_its_status_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WKDVID_SERVER__HTTP_ADDRESS", "127.0.0.1:0")
    options = ["doctor", "--data-dir", str(folder / "data")]
    assert main(options) == 0
    said = capsys.readouterr()
    assert "ok       dataset lab/well: em\n" in said.out
    assert said.err == ""
    monkeypatch.setenv("WKDVID_SERVER__WORKER", "3")
    assert main([*options, "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["ok"], finding["subject"]) == (False, "configuration")
    assert "server.workers" in finding["text"]
