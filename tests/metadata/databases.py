"""Databases for tests: SQLite files, and a PostgreSQL server of our own on a socket in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

USER = "postgres"


def programs() -> Path:
    """Folder of PostgreSQL's server programs, which Debian keeps out of the path."""
    found = shutil.which("initdb")
    return Path(found).parent if found else max(Path("/usr/lib/postgresql").glob("*/bin"))


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """URL of a database of a server that runs meanwhile. As root it runs as another user: it refuses root."""
    with tempfile.TemporaryDirectory(prefix="wkdvid-pg", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        _run("initdb", "--pgdata", folder / "db", "--auth", "trust", "--username", "tester", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        _run("pg_ctl", "start", "--wait", "-D", folder / "db", "-l", folder / "log", "-o", options)
        try:
            yield f"postgresql://tester@/postgres?host={folder}"
        finally:
            _run("pg_ctl", "stop", "--mode", "fast", "-D", folder / "db")


def _run(program: str, *arguments: str | Path) -> None:
    user = USER if os.geteuid() == 0 else None
    group = pwd.getpwnam(USER).pw_gid if user else None
    command = [str(programs() / program), *map(str, arguments)]
    done = subprocess.run(
        command,
        user=user,
        group=group,
        extra_groups=[] if user else None,
        cwd="/",
        check=False,
        timeout=60,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr.decode()}")
