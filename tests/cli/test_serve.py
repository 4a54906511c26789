"""``wkdvid serve``: what it says, how it stops, what it refuses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.cli.program import command, environment, wkdvid
from wkdvid.cli.serve import announcement
from wkdvid.config import load_config


@dataclass(frozen=True)
class Started:
    process: subprocess.Popen[str]
    folder: Path

    @property
    def base(self) -> str:
        return self.address("home page").rstrip("/")

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def address(self, what: str) -> str:
        """The one that was printed for ``what``."""
        found = re.search(rf"^{what} +(\S+)", self.output, re.MULTILINE)
        assert found, self.output + self.log
        return found[1]


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, **variables: str) -> Iterator[Started]:
    """A server that chose its port itself; ended with its workers, if the test has not done so."""
    with (folder / "output").open("w") as output, (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command(*arguments, "--port", "0"),
            cwd=folder,
            env=environment(**variables),
            stdout=output,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    server = Started(process, folder)
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def _wait_until_healthy(server: Started) -> None:
    for _ in range(600):
        assert server.process.poll() is None, server.output + server.log
        if "access mode" in server.output:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{server.base}/data/health", timeout=5).text == "Ok":
                    return
        time.sleep(0.05)
    raise AssertionError(server.output + server.log)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Started]:
    # No verb: it serves.
    with serving(tmp_path, "--workers", "1") as started:
        yield started


def test_every_printed_address_answers_and_sigterm_stops_it_cleanly(server: Started) -> None:
    assert requests.get(server.base + "/", timeout=10).headers["content-type"] == "text/html; charset=utf-8"
    assert requests.get(server.address("API description"), timeout=10).ok
    assert requests.get(server.address("run-time datasets"), timeout=10).json() == {"datasets": []}
    assert requests.get(server.address("DVID") + "/server/info", timeout=10).ok
    health = re.search(r"health: (\S+)\)", server.output)
    assert health is not None
    assert requests.get(health[1], timeout=10).text == "Ok"
    assert f"dvid://{server.base}/UUID/LAYER" in server.output
    assert server.address("catalog") == "data/datasets.json"
    server.process.terminate()
    assert server.process.wait(30) == 0
    assert server.log == ""
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{server.base}/data/health", timeout=5)


def test_ctrl_c_stops_it_cleanly(server: Started) -> None:
    """It goes to the workers as well."""
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.process.wait(30) == 0
    assert server.log == ""


@pytest.mark.parametrize("after_s", [0, 0.4, 1.6, *(pytest.param(s, marks=pytest.mark.soak) for s in (0.2, 0.8))])
def test_a_signal_while_the_workers_start_is_heeded(tmp_path: Path, after_s: float) -> None:
    process = subprocess.Popen(
        command("--workers", "1", "--port", "0"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        while "access mode" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(after_s)
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_port_in_use_is_one_plain_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = wkdvid("serve", "--port", str(port), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"wkdvid serve: server.httpAddress: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    )


def test_mode_token_makes_a_token_and_prints_it_once(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2", WKDVID_ACCESS__MODE="token") as server:
        (token,) = re.findall(r"^Administrators' token .*: (\S{40,})$", server.output, re.MULTILINE)
        body = {"zarr": {"a": {"b": {"layers": {"c": {"source": "missing"}}}}}}
        refused = requests.post(f"{server.base}/data/datasets", json=body, timeout=10)
        assert refused.status_code == 403
        for _ in range(8):  # both workers know it
            headers = {"Authorization": f"Bearer {token}"}
            answer = requests.post(f"{server.base}/data/datasets", json=body, headers=headers, timeout=10)
            assert answer.status_code == 400
        assert server.output.count(token) == 1
        assert token not in server.log


OPERATORS_TOKEN = "known to the operator only"


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """In mode token, with a DVID's configuration and a dataset that is gone."""
    folder = tmp_path_factory.mktemp("configured")
    (folder / "data").mkdir()
    (folder / "data" / "datasets.json").write_text(
        '{"zarr": {"lab": {"gone": {"layers": {"em": {"source": "missing"}}}}}}'
    )
    (folder / "dvid.toml").write_text('[server]\nrpcAddress = ":8001"\n[email]\nserver = "mail"\n')
    variables = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": OPERATORS_TOKEN}
    with serving(folder, "--config", "dvid.toml", "--workers", "1", **variables) as server:
        requests.get(f"{server.base}/data/datasets", timeout=10)
        yield server


def test_mode_token_prints_no_token_of_the_operator(configured: Started) -> None:
    assert OPERATORS_TOKEN not in configured.output + configured.log
    assert "Administrators' token" not in configured.output


def test_dvids_own_keys_are_named_once(configured: Started) -> None:
    named, *_ = configured.log.splitlines()
    assert named == "dvid.toml: without meaning here, ignored: [email], server.rpcAddress"
    assert configured.log.count("without meaning here") == 1


def test_our_log_lines_come_from_the_workers_with_their_time(configured: Started) -> None:
    _, line = configured.log.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING wkdvid\.catalog: dataset lab/gone cannot", line)


@pytest.mark.parametrize(
    ("variable", "value", "base"),
    [
        ("PUBLIC_URL", "https://em.example.org", "https://em.example.org"),
        ("HTTP_ADDRESS", "[::1]:9000", "http://[::1]:9000"),
        ("HTTP_ADDRESS", ":9000", "http://127.0.0.1:9000"),
    ],
)
def test_what_is_printed_is_how_clients_reach_it(variable: str, value: str, base: str) -> None:
    environ = {f"WKDVID_SERVER__{variable}": value, "WKDVID_ACCESS__MODE": "token"}
    assert announcement(load_config(None, environ, {}))[0] == f"home page             {base}/"
