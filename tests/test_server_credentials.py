"""A server and its credentials: whom they are for in each access mode, and that nobody is shown them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cli.program import wkdvid
from tests.credentials.closed import account_key
from tests.doors import Door, door
from tests.servers import Server, running
from tests.volumes import write_precomputed

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "s3cr3t-key", "s3cr3t-token"
LAYERS = {"image": {"source": "s3://lab/em"}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """An S3 that lets everybody in to ``s3://lab/em``, and a web server that wants the token."""
    root = tmp_path_factory.mktemp("store")
    write_precomputed(root / "lab" / "em", [((1, 1, 1), np.ones((8, 8, 8), np.uint8))])
    with door(root) as one:
        yield one


def environ(store: Door, mode: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": store.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "WKDVID_ACCESS__MODE": mode,
        "WKDVID_ADMIN_TOKEN": "admin",
        "WKDVID_SOURCES__HTTP_HOSTS": store.host,
        "FILES_TOKEN": TOKEN,
    }


def register(server: Server, source: str, status: int) -> str:
    document = {"precomputed": {"lab": {"brain": {"layers": {"image": {"source": source}}}}}}
    answer = server.post("/data/datasets", json=document, headers={"X-Auth-Token": "admin"})
    assert answer.status_code == status, answer.text
    return answer.text


def shown(store: Door, since: int) -> set[bool]:
    """Whether requests came with the process's own key."""
    return {f"Credential={KEY}/" in headers.get("Authorization", "") for _, headers in store.seen[since:]}


@pytest.mark.parametrize(("mode", "signed"), [("open", True), ("token", False)])
def test_the_servers_own_keys(store: Door, tmp_path: Path, mode: str, signed: bool) -> None:
    with running(tmp_path, {}, environ=environ(store, mode)) as server:
        since = len(store.seen)
        register(server, "s3://lab/em", 200)
        assert shown(store, since) == {signed}
        bucket = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
        assert server.buckets("lab/brain/layers/image", bucket).status_code == 200
        assert shown(store, since) == {signed}
    assert SECRET not in (tmp_path / "server.log").read_text()


def test_a_secret_that_is_not_there_is_said_at_start(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[[sources.credentials]]\nprefix = "https://lab.org"\nbearer = "$MISSING"\n')
    done = wkdvid("serve", "--data-dir", tmp_path, "--port", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wkdvid serve: sources.credentials: $MISSING: no such secret")


def test_the_command_looks_with_what_is_granted(store: Door, tmp_path: Path) -> None:
    config = tmp_path / "some.toml"
    config.write_text(f'[[sources.credentials]]\nprefix = "{store.url}/lab"\nbearer = "$FILES_TOKEN"\n')
    store.wanted = {"Authorization": f"Bearer {TOKEN}"}
    done = [
        wkdvid("inspect", f"{store.url}/lab/em", cwd=tmp_path, WKDVID_CONFIG=str(config), FILES_TOKEN=token)
        for token in (TOKEN, "another")
    ]
    store.wanted = {}
    assert [one.returncode for one in done] == [0, 1]
    assert TOKEN not in done[0].stdout + done[1].stderr


def test_granted_ones_and_what_is_told_of_them(store: Door, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        f"""
        [[sources.credentials]]
        prefix = "s3://lab/em"
        environment = true
        [[sources.credentials]]
        prefix = "{store.url}/lab"
        bearer = "$FILES_TOKEN"
        [sources.secrets]
        "$FILES_TOKEN" = ["{store.url}/"]
        """
    )
    with running(tmp_path, {}, environ=environ(store, "token")) as server:
        since = len(store.seen)
        register(server, "s3://lab/em", 200)
        assert shown(store, since) == {True}
        store.wanted = {"Authorization": f"Bearer {TOKEN}"}
        register(server, f"{store.url}/lab/em", 200)
        refused = register(server, "s3://lab/other", 400)
        assert "no credentials of the server are granted for it" in refused
        store.wanted = {"Authorization": "nobody"}
        told = [register(server, f"{store.url}/lab/em", 400), refused, server.get("/data/datasets").text]
        told += [server.get(path).text for path in ("/", "/api/repos/info", "/data/datasets/lab/brain")]
    told.append((tmp_path / "server.log").read_text())
    store.wanted = {}
    for text in told:
        assert SECRET not in text
        assert TOKEN not in text


@pytest.fixture
def account(store: Door) -> Iterator[dict[str, str]]:
    """A key that opens ``gs://lab/em``, which nothing else does meanwhile."""
    store.token = lambda assertion: TOKEN
    store.wanted = {"Authorization": f"Bearer {TOKEN}"}
    yield account_key(store, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    store.wanted, store.token = {}, None


def own(account: object) -> dict[str, Any]:
    """An entry as webknossos-connect's form posts it."""
    return {"layers": {"image": {"source": "gs://lab/em", "type": "image"}}, "credentials": account}


def put(server: Server, name: str, entry: dict[str, Any], status: int = 200) -> str:
    answer = server.post("/data/datasets?token=admin", json={"neuroglancer": {"lab": {name: entry}}})
    assert answer.status_code == status, answer.text
    return answer.text


def check_served(server: Server, name: str) -> None:
    bucket = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
    answer = server.buckets(f"lab/{name}/layers/image", bucket)
    assert (answer.status_code, answer.headers["MISSING-BUCKETS"], answer.content[0]) == (200, "[]", 1), answer.text


def kept_keys(server: Server) -> list[Path]:
    return list((server.data_dir / ".wkdvid" / "credentials").iterdir())


def test_keys_in_entries(store: Door, tmp_path: Path, account: dict[str, str]) -> None:
    """As webknossos-connect's file and its form have them: they count, and are kept apart where the file is written."""
    settings = {**environ(store, "token"), "TENSORSTORE_GCS_HTTP_URL": store.url}
    told: list[str] = []
    with running(tmp_path, {"neuroglancer": {"lab": {"old": own(account)}}}, environ=settings) as server:
        check_served(server, "old")
        told.append(put(server, "new", own(account)))
        written = (tmp_path / "datasets.json").read_text()
        assert {file.stat().st_mode & 0o777 for file in kept_keys(server)} == {0o600}
        assert [json.loads(file.read_text()) for file in kept_keys(server)] == [account, account]
        for name in ("old", "new"):
            check_served(server, name)
        reference = json.loads(written)["neuroglancer"]["lab"]["new"]["credentials"]
        told += [
            put(server, "without", {"layers": own(None)["layers"]}, 400),
            put(server, "thief", own(reference), 400),
            put(server, "thief", own("$AWS_SECRET_ACCESS_KEY"), 400),
            put(server, "thief", own({**account, "token_uri": "https://lab.org/token"}), 400),
            put(server, "thief", own({"private_key": account["private_key"]}), 400),
        ]
        seen = server.post("/api/inspect?token=admin", json={"backend": "neuroglancer", **own(account)})
        assert seen.status_code == 200, seen.text
        put(server, "new", own({**account, "private_key_id": "2"}))
        assert sorted(json.loads(file.read_text())["private_key_id"] for file in kept_keys(server)) == ["1", "2"]
        told += [seen.text, *(server.get(path).text for path in ("/", "/api/repos/info", "/data/datasets"))]
        told += [server.get(f"/data/datasets/lab/{name}").text for name in ("old", "new")]
        told.append((tmp_path / "server.log").read_text())
    with running(tmp_path, environ=settings) as server:
        check_served(server, "old")
        removed = requests.delete(f"{server.base}/data/datasets/lab/old?token=admin", timeout=60)
        assert removed.status_code == 200, removed.text
        assert [json.loads(file.read_text())["private_key_id"] for file in kept_keys(server)] == ["2"]
        check_served(server, "new")
        told.append((tmp_path / "server.log").read_text())
    assert "PRIVATE KEY" not in written
    for text in told:
        assert "PRIVATE KEY" not in text
        assert reference not in text
        assert TOKEN not in text
