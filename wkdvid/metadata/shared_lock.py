"""One worker of all hosts that share a PostgreSQL, for what only one may do."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from wkdvid.core.host_lock import HostLock

ASK_S = 1.0
"""Between two questions to the database."""
ANSWER_S = 5.0
"""Without an answer for so long the lock counts as lost."""
SILENCE_MS = 20_000
"""Without a question for so long PostgreSQL ends the session, and so lets go of the lock: the host stands still."""
_HEED_SILENCE = sa.text(  # nothing where it is older than 14
    "SELECT set_config(name, :value, false) FROM pg_settings WHERE name = 'idle_session_timeout'"
)
_STILL_THERE = sa.select(sa.true())


class SharedLock:
    """A ``core.host_lock.Lock``: an advisory lock, which PostgreSQL lets go of when the session that holds it ends.

    Of each host only the worker that holds the host's own lock has a session. When one is broken off, its worker and
    the next one may both count as holders for ``ASK_S``.
    """

    def __init__(self, engine: sa.Engine, purpose: str, of_host: HostLock) -> None:
        """
        Args:
            purpose: The same text is the same lock, on every host.
        """
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        number = hashlib.blake2b(purpose.encode(), digest_size=8).digest()
        self._try_it = sa.select(sa.func.pg_try_advisory_lock(int.from_bytes(number, signed=True)))
        self._of_host = of_host
        self._session: _Session | None = None

    def acquire(self) -> bool:
        """Does not wait for the database, so the first answer is no: what counts is its last one."""
        if not self._of_host.acquire():
            return False
        if self._session is None:
            self._session = _Session(self._engine, self._try_it)
        return self._session.holds

    def release(self) -> None:
        if self._session is not None:
            self._session.end()
            self._session = None
        self._of_host.release()


class _Session:
    """Tries for the lock until it has it, and then looks whether it still has it.

    In a thread of its own, which may hang with the database; as a daemon it does not keep the process from ending.
    """

    def __init__(self, engine: sa.Engine, try_it: sa.Select[tuple[bool]]) -> None:
        self._engine = engine
        self._try_it = try_it
        self._ended = threading.Event()
        self._holds_until = 0.0
        """``time.monotonic()``"""
        threading.Thread(target=self._run, name="hold the shared lock", daemon=True).start()

    @property
    def holds(self) -> bool:
        return time.monotonic() < self._holds_until

    def end(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(SQLAlchemyError), self._engine.connect() as connection:
                connection.detach()  # the pool would keep it, and with it the lock
                self._hold(connection)
            self._holds_until = 0.0
            self._ended.wait(ASK_S)

    def _hold(self, connection: sa.Connection) -> None:
        """Until it is ended, or the connection is."""
        connection.execute(_HEED_SILENCE, {"value": str(SILENCE_MS)})
        held = False
        while not self._ended.is_set():
            asked = time.monotonic()
            held = connection.execute(_STILL_THERE if held else self._try_it).scalar_one()
            if held:
                self._holds_until = asked + ANSWER_S
            self._ended.wait(ASK_S)
