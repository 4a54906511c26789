"""Starting and stopping what is measured: our server and nginx, each on its core, on free ports of loopback."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 120.0
BALANCER = Path(__file__).parents[1] / "deploy" / "haproxy.cfg"
MB = 10**6

NGINX = """
user {user};
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    client_body_temp_path temp-body;
    proxy_temp_path temp-proxy;
    fastcgi_temp_path temp-fastcgi;
    uwsgi_temp_path temp-uwsgi;
    scgi_temp_path temp-scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root "{root}";
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """In MB (10^6 bytes)."""

    worker_peak: float
    """Largest resident size that the worker has had (VmHWM): of the largest process, which it is."""
    all_now: float
    """Proportional sizes (PSS) of all its processes together, now."""


@dataclass(frozen=True, slots=True)
class Server:
    base: str
    """Scheme, host and port."""
    pid: int
    start_s: float
    """From starting the process until it answered."""

    def memory(self) -> Memory:
        processes = self._processes()
        peaks = [_kilobytes(pid, "status", "VmHWM") for pid in processes]
        now = [_kilobytes(pid, "smaps_rollup", "Pss") for pid in processes]
        return Memory(max(peaks) * 1024 / MB, sum(now) * 1024 / MB)

    def cpu_s(self) -> float:
        """Processor time that all its processes have taken so far."""
        return sum(map(_cpu_s, self._processes()))

    def forget_peak(self) -> None:
        """Let ``worker_peak`` begin anew (proc(5): 5 written to clear_refs)."""
        for pid in self._processes():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _processes(self) -> list[int]:
        return [self.pid, *_descendants(self.pid)]


@contextlib.contextmanager
def wkdvid(
    data_dir: Path,
    datasets: Mapping[str, Any],
    *,
    core: int,
    file_root: Path,
    cache_mib: int,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """One worker with access checks, its state new.

    Args:
        file_root: Directory that sources may lie in.
        cache_mib: ``sources.cache_bytes``.
    """
    shutil.rmtree(data_dir, ignore_errors=True)
    data_dir.mkdir(parents=True)
    (data_dir / "datasets.json").write_text(json.dumps(datasets))
    port = free_port()
    program = [sys.executable, "-m", "wkdvid", "serve", "--data-dir", str(data_dir), "--workers", "1"]
    settings = {
        "WKDVID_ACCESS__MODE": "token",
        "WKDVID_ADMIN_TOKEN": secrets.token_hex(),
        "WKDVID_SOURCES__FILE_ROOTS": str(file_root),
        "WKDVID_SOURCES__CACHE_BYTES": f"{cache_mib}MiB",
        **(environ or {}),
    }
    with _running(
        [*program, "--port", str(port)], core, port, data_dir / "server.log", "/data/health", settings
    ) as one:
        yield one


@contextlib.contextmanager
def nginx(folder: Path, root: Path, *, core: int) -> Iterator[Server]:
    """One worker that serves the files of ``root``; all that it writes is in ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    root.mkdir(parents=True, exist_ok=True)
    port = free_port()
    user = pwd.getpwuid(os.geteuid()).pw_name
    (folder / "nginx.conf").write_text(NGINX.format(user=user, port=port, root=root.resolve()))
    program = ["nginx", "-p", str(folder.resolve()), "-e", "stderr", "-c", "nginx.conf", "-g", "daemon off;"]
    with _running(program, core, port, folder / "error.log", "/", {}) as one:
        yield one


@contextlib.contextmanager
def haproxy(folder: Path, behind: Sequence[Server], *, core: int) -> Iterator[Server]:
    """The load balancer of deploy/, before two servers."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    one, two = (server.base.removeprefix("http://") for server in behind)
    addresses = {"BALANCER_BIND": f"127.0.0.1:{port}", "SERVER_ONE": one, "SERVER_TWO": two}
    program = ["haproxy", "-db", "-f", str(BALANCER)]
    with _running(program, core, port, folder / "haproxy.log", "/data/health", addresses) as running:
        yield running


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextlib.contextmanager
def _running(
    program: list[str], core: int, port: int, log: Path, health: str, environ: Mapping[str, str]
) -> Iterator[Server]:
    begin = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *program],
            env={**os.environ, **environ},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        base = f"http://127.0.0.1:{port}"
        _wait(process, base + health, log)
        yield Server(base, process.pid, time.monotonic() - begin)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until it answers, with whatever status."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=START_S):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _descendants(pid: int) -> Iterator[int]:
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    children = [child for child, parent in parents.items() if parent == pid]
    for child in children:
        yield child
        yield from _descendants(child)


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _kilobytes(pid: int, file: str, name: str) -> int:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0
