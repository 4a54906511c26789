"""``wkdvid testserver``: what it says is so, and it ends when it is told to."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import requests

from tests.cli.program import command, environment, wkdvid
from tests.servers import running
from wkdvid.core.geometry import Box
from wkdvid.tissue import synthesize


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_boss_can_be_served_as_it_says_and_ends_cleanly(tmp_path: Path, ending: signal.Signals) -> None:
    process = subprocess.Popen(
        command("testserver", "boss", "--size", "70"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(3))
        found = re.fullmatch(
            r"BossDB stand-in +(\S+)\nstart wkdvid with +WKDVID_SOURCES__HTTP_HOSTS=(\S+)\ndatasets\.json +(.+)\n", said
        )
        assert found is not None, said
        assert requests.get(f"{found[1]}/ping/", timeout=10).ok
        if ending == signal.SIGINT:
            check_voxels(tmp_path, json.loads(found[3]), found[2])
    finally:
        process.send_signal(ending)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")
    with pytest.raises(requests.ConnectionError):
        requests.get(found[1], timeout=5)


def check_voxels(folder: Path, entries: dict[str, object], host: str) -> None:
    with running(folder / "data", entries, environ={"WKDVID_SOURCES__HTTP_HOSTS": host}) as server:
        wanted = {"position": [32, 32, 0], "mag": [1, 1, 1], "cubeSize": 32}
        grey, cells = synthesize(Box((32, 32, 0), (64, 64, 32)))
        assert server.buckets("test/tissue/layers/em", wanted).content == grey.tobytes("F")
        assert server.buckets("test/tissue/layers/cells", wanted).content == cells.tobytes("F")


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--size", "3", "16 to 512"),
        ("--size", "4096", "16 to 512"),
        ("--port", "65536", "0 to 65535"),
        ("--port", "1e3", "0 to 65535"),
    ],
)
def test_numbers_that_cannot_be(tmp_path: Path, option: str, value: str, allowed: str) -> None:
    done = wkdvid("testserver", "boss", option, value, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {option}: '{value}' is not a whole number from {allowed}" in done.stderr


def test_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = wkdvid("testserver", "boss", "--size", "16", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "wkdvid testserver: [Errno 98] Address already in use\n"


def test_webknossos_says_how_to_become_its_datastore(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("testserver", "webknossos"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = [process.stdout.readline().rstrip("\n")[22:] for _ in range(3)]
        url, settings, token = said
        environ = dict(setting.split("=", 1) for setting in shlex.split(settings))
        assert environ["WKDVID_WEBKNOSSOS__URL"] == url
        user = requests.get(f"{url}/api/user", headers={"X-Auth-Token": token}, timeout=10).json()
        assert user["isAdmin"] is True
    finally:
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")
