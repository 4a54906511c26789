"""A server and its credentials: whom they are for in each access mode, and that nobody is shown them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cli.program import wkdvid
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


def check_keys_in_entries(server: Server) -> None:
    """As webknossos-connect has them, they are refused."""
    entry = {"layers": LAYERS, "credentials": {"private_key": SECRET}}
    for path, document in (
        ("/data/datasets", {"neuroglancer": {"lab": {"brain": entry}}}),
        ("/api/inspect", {"backend": "neuroglancer", **entry}),
    ):
        refused = server.post(path, json=document, headers={"X-Auth-Token": "admin"})
        assert refused.status_code == 400
        assert "the operator grants them by address (sources.credentials)" in refused.text
        assert SECRET not in refused.text


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
        check_keys_in_entries(server)
        store.wanted = {"Authorization": "nobody"}
        told = [register(server, f"{store.url}/lab/em", 400), refused, server.get("/data/datasets").text]
        told += [server.get(path).text for path in ("/", "/api/repos/info", "/data/datasets/lab/brain")]
    told.append((tmp_path / "server.log").read_text())
    store.wanted = {}
    for text in told:
        assert SECRET not in text
        assert TOKEN not in text
