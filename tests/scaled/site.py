"""The scaled profile as processes on loopback: the balancer and two servers by the files that docker-compose uses."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.backends.s3 import s3_server
from tests.servers import Server, free_port, running

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NAMES = ("one", "two")
START_S = 30.0


class Site:
    """Two hosts that share a data directory, a database and a bucket, and what stands before them."""

    def __init__(self, folder: Path, database_url: str, endpoint: str, bucket: Any) -> None:
        self.data_dir = folder / "data"
        self.bucket = bucket
        """A client of the store."""
        self.ports = {name: free_port() for name in NAMES}
        self.servers: dict[str, Server] = {}
        self.base = f"http://127.0.0.1:{free_port()}"
        self.balancer_log = folder / "haproxy.log"
        self._folder = folder
        self._environ = _environ(folder, database_url, endpoint)

    def server(self, name: str, *, shutdown_delay_s: int = 0) -> AbstractContextManager[Server]:
        """One of the hosts, always at the same address."""
        environ = {
            **self._environ,
            "WKDVID_SERVER__STATE_DIR": str(self._folder / name),
            "WKDVID_SERVER__SHUTDOWN_DELAY": str(shutdown_delay_s),
        }
        return running(self.data_dir, environ=environ, port=self.ports[name], log=f"{name}.log")

    def balancer(self) -> AbstractContextManager[None]:
        return running_balancer(self.balancer_log, self.base, self.ports)

    def get(self, path: str) -> requests.Response:
        """Through the balancer, as all that follows, each by a connection of its own."""
        return requests.get(self.base + path, timeout=60)

    def post(self, path: str, **options: Any) -> requests.Response:
        return requests.post(self.base + path, timeout=60, **options)


def _environ(folder: Path, database_url: str, endpoint: str) -> Mapping[str, str]:
    """What docker-compose.yml says of both servers, with the addresses of this test."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    text = (DEPLOY / "wkdvid.toml").read_text()
    assert "http://s3:8333" in text
    (folder / "wkdvid.toml").write_text(text.replace("http://s3:8333", endpoint))
    return {
        **compose["wkdvid-1"]["environment"],
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PGPASSWORD": "",
        "WKDVID_CONFIG": str(folder / "wkdvid.toml"),
        "WKDVID_METADATA__DATABASE_URL": database_url,
    }


@contextlib.contextmanager
def running_balancer(log: Path, base: str, ports: Mapping[str, int]) -> Iterator[None]:
    """
    Args:
        base: Its own address.
        ports: Of the servers.
    """
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "this test needs HAProxy (Debian: apt-get install haproxy)"
    addresses = {f"SERVER_{name.upper()}": f"127.0.0.1:{port}" for name, port in ports.items()}
    environ = {**os.environ, **addresses, "BALANCER_BIND": base.removeprefix("http://")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "-db", "-f", DEPLOY / "haproxy.cfg"], env=environ, stdout=output, stderr=output
        )
    try:
        _wait_for(base, process)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(base: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers, whatever that is."""
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{base}/health/live", timeout=5)
            return
        time.sleep(0.02)
    raise RuntimeError("the balancer does not answer")


@contextlib.contextmanager
def running_site(folder: Path, database_url: str) -> Iterator[Site]:
    with ExitStack() as stack:
        endpoint, client = stack.enter_context(s3_server())
        client.create_bucket(Bucket="wkdvid")
        site = Site(folder, database_url, endpoint, client)
        for name in NAMES:
            site.servers[name] = stack.enter_context(site.server(name))
        stack.enter_context(site.balancer())
        yield site
