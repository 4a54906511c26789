"""What a running server holds: its processes, their threads, memory and open files, and what it has logged."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.servers import Server

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def processes(server: Server) -> set[int]:
    """Ids of the server's main process and workers: it was started as the leader of a group of its own."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile
                # The name, in parentheses, may hold anything; state, parent and group follow it.
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(group) == server.process.pid and state != "Z":
                    found.add(int(entry.name))
    return found


def kill(server: Server) -> None:
    """End all its processes at once, as a loss of power would."""
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    while processes(server):
        time.sleep(0.01)


def open_files(server: Server) -> int:
    return sum(len(list(Path(f"/proc/{process}/fd").iterdir())) for process in processes(server))


def threads(server: Server) -> int:
    return sum(len(list(Path(f"/proc/{process}/task").iterdir())) for process in processes(server))


def resident_bytes(server: Server) -> int:
    """Of all its processes; pages that they share count once for each."""
    pages = (Path(f"/proc/{process}/statm").read_text().split()[1] for process in processes(server))
    return PAGE_BYTES * sum(map(int, pages))


def complaints(server: Server) -> list[str]:
    """Lines of the log that no request may cause, whatever it holds and whenever its client goes away."""
    lines = server.log.read_text(errors="replace").splitlines()
    return [line for line in lines if "Traceback" in line or " ERROR " in line or " CRITICAL " in line]
