"""A server in mode ``clio`` with users of every role, each with a token."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from tests.servers import Server, running
from wkdvid.identity.own import OwnTokens
from wkdvid.metadata.clio.dump import TABLES
from wkdvid.metadata.engine import open_engine, transaction
from wkdvid.metadata.schema import metadata

SECRET = "a secret of more than thirty-two bytes"
OWNER = "owner@t.com"
DATASET = "mb20"
ROLES: Mapping[str, Mapping[str, Any]] = {
    "u@t.com": {"datasets": {DATASET: ["clio_general"]}, "groups": ["g1"], "name": "U"},
    "v@t.com": {"datasets": {DATASET: ["clio_general"]}, "groups": ["g1"]},
    "w@t.com": {"datasets": {DATASET: ["clio_write"]}},
    "r@t.com": {"datasets": {DATASET: ["clio_read"]}},
    "d@t.com": {"datasets": {DATASET: ["dataset_admin"]}},
    "off@t.com": {"datasets": {DATASET: ["clio_general"]}, "disabled": True},
}
TOKENS = OwnTokens(SECRET)
ON_ONE_DATABASE = pytest.mark.parametrize("clio", ["sqlite"], indirect=True, scope="module")
"""For what no SQL of its own serves."""
_LOCAL = threading.local()


class Clio:
    """A running server, and requests to it as one user or another."""

    def __init__(self, server: Server, environ: Mapping[str, str] | None = None) -> None:
        """
        Args:
            environ: With which it was started.
        """
        self.server = server
        self.environ = environ or {}

    def ask(self, user: str | None, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """
        Args:
            user: Email; None: without a token.
        """
        headers = {**(options.pop("headers", {})), **({} if user is None else self.header(user))}
        data = {} if body is None else {"json": body}
        return _session().request(method, self.server.base + path, headers=headers, timeout=60, **data, **options)

    def told(self, user: str | None, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of an answer that is 200."""
        answer = self.ask(user, method, path, body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @staticmethod
    @cache
    def header(user: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {TOKENS.mint(user, {})}"}

    @property
    def database_url(self) -> str:
        return self.environ.get("CLIO_DB", f"sqlite:///{self.server.data_dir / 'wkdvid.db'}")

    def begin_anew(self) -> None:
        """Without what earlier tests have left."""
        engine = open_engine(self.database_url)
        with transaction(engine) as connection:
            for name in TABLES:
                connection.execute(sa.delete(metadata.tables[name]))
        engine.dispose()
        self.told(OWNER, "POST", "/v2/users", ROLES)
        self.told(OWNER, "POST", "/v2/datasets", {DATASET: {"description": "4nm MB", "location": "gs://x"}})


def _session() -> requests.Session:
    """One for each thread: connections are kept."""
    if not hasattr(_LOCAL, "session"):
        _LOCAL.session = requests.Session()
    session: requests.Session = _LOCAL.session
    return session


@contextlib.contextmanager
def clio_server(folder: Path, environ: Mapping[str, str] | None = None, *, workers: int = 1) -> Iterator[Clio]:
    variables = {"WKDVID_ACCESS__MODE": "clio", "OWNER": OWNER, "FLYEM_SECRET": SECRET, **(environ or {})}
    with running(folder, environ=variables, workers=workers) as server:
        clio = Clio(server, variables)
        clio.begin_anew()
        yield clio
