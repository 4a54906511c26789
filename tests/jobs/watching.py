"""What tests of jobs share: waiting for a job to come to something, and finding who works on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.servers import Server
from tests.soak.processes import processes


def comes_to(server: Server, job_id: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        job: dict[str, Any] = server.get(f"/api/jobs/{job_id}").json()
        if wanted(job):
            return job
        time.sleep(0.02)
    raise AssertionError(f"the job is still {job}")


def runner(server: Server) -> int:
    """The worker that runs jobs: the one process that has its lock open."""
    (found,) = (
        process
        for process in processes(server)
        if any(_target(link).endswith("jobs.lock") for link in Path(f"/proc/{process}/fd").iterdir())
    )
    return found


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile
        return ""


def has_done(tasks: int, job: dict[str, Any]) -> bool:
    return bool(job["done"] > tasks)


def ended(job: dict[str, Any]) -> bool:
    return job["state"] in ("done", "failed", "cancelled")
