"""Real servers for tests: ``python -m wkdvid serve`` on a free port of loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

START_S = 60.0
COME_S = 60.0


def come_to(expected: Callable[[], bool]) -> None:
    """Wait until something is as expected.

    Raises:
        AssertionError: it does not come to that.
    """
    end = time.monotonic() + COME_S
    while not expected():
        assert time.monotonic() < end
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


class Server:
    """One running server and its data directory."""

    def __init__(self, process: subprocess.Popen[bytes], base: str, data_dir: Path, log: Path) -> None:
        self.process = process
        self.base = base
        self.data_dir = data_dir
        self.log = log

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.base + path, timeout=60, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return requests.post(self.base + path, timeout=60, **options)

    def buckets(self, layer_path: str, *wanted: Mapping[str, Any]) -> requests.Response:
        """POST bucket requests to ``/data/datasets/{layer_path}/data``."""
        return self.post(f"/data/datasets/{layer_path}/data", json=list(wanted))


@contextlib.contextmanager
def running(
    data_dir: Path,
    datasets: Mapping[str, Any] | None = None,
    *,
    workers: int = 1,
    environ: Mapping[str, str] | None = None,
    port: int | None = None,
    log: str = "server.log",
    program: Sequence[str] | None = None,
) -> Iterator[Server]:
    """A server over ``data_dir``, with ``datasets`` as its datasets.json; stopped by SIGTERM at the end.

    Args:
        port: None: a free one.
        log: Name of a file in the data directory.
        program: Of another environment; None: of this one.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    if datasets is not None:
        (data_dir / "datasets.json").write_text(json.dumps(datasets))
    port = port or free_port()
    logged = data_dir / log
    arguments = ["serve", "--data-dir", str(data_dir), "--port", str(port), "--workers", str(workers)]
    with logged.open("wb") as output:
        process = subprocess.Popen(
            [*(program or (sys.executable, "-m", "wkdvid")), *arguments],
            env={**os.environ, "WKDVID_LOG__FORMAT": "text", **(environ or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all its processes can be found, and killed
        )
    try:
        _wait_until_healthy(process, f"http://127.0.0.1:{port}", logged)
        yield Server(process, f"http://127.0.0.1:{port}", data_dir, logged)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{base}/data/health", timeout=5).text == "Ok":
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not answer within {START_S:g} s:\n{log.read_text()}")
