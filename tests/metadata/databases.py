"""Databases for tests: SQLite files, and a PostgreSQL server of our own on a socket in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from wkdvid.metadata.engine import migrate

USER = "postgres"


def programs() -> Path:
    """Folder of PostgreSQL's server programs, which Debian keeps out of the path."""
    found = shutil.which("initdb")
    return Path(found).parent if found else max(Path("/usr/lib/postgresql").glob("*/bin"))


class PostgreSQL:
    """A server on a socket in a folder. As root it runs as another user: it refuses root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        _run("initdb", "--pgdata", folder / "db", "--auth", "trust", "--username", "tester", "--no-sync")

    def start(self) -> None:
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off"
        _run("pg_ctl", "start", "--wait", "-D", self._folder / "db", "-l", self._folder / "log", "-o", options)

    def stop(self) -> None:
        _run("pg_ctl", "stop", "--mode", "immediate", "-D", self._folder / "db")

    def new_database(self) -> str:
        """URL of an empty one."""
        name = f"test_{secrets.token_hex(8)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    @contextlib.contextmanager
    def away(self, url: str) -> Iterator[None]:
        """One database lets nobody in, and has ended who was there; the others go on."""
        name = url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            try:
                yield
            finally:
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

    def _url(self, database: str) -> str:
        return f"postgresql://tester@/{database}?host={self._folder}"


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    with tempfile.TemporaryDirectory(prefix="wkdvid-pg", ignore_cleanup_errors=True) as name:
        server = PostgreSQL(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()


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


def new_database(request: pytest.FixtureRequest, folder: Path) -> str:
    """URL of one of the kind that the fixture's parameter names, ``sqlite`` or ``postgresql``, up to date and empty."""
    if request.param == "sqlite":
        url = f"sqlite:///{folder}/wkdvid.db"
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.new_database()
    migrate(url)
    return url
