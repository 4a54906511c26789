"""The catalog in SQL, for several hosts."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from wkdvid.core.catalog_store import COUNTER, EVERYTHING, SharedCounter, Snapshot, read_document
from wkdvid.core.entries import DatasetKey, Document, list_entries
from wkdvid.core.own_accounts import OPTION, holders
from wkdvid.errors import ConfigError, DatabaseUnavailable, InvalidRequest
from wkdvid.metadata.engine import open_engine, transaction
from wkdvid.metadata.schema import catalog, catalog_state

Result = TypeVar("Result")

ANSWER_S = 5.0
"""For a question that requests wait for."""
WRITERS = 4
"""Changes of one worker at a time; they wait for each other anyway."""
LOCK_S = 20
"""How long a change waits for another one."""
SILENCE_S = 60
"""After which the database gives up a change whose host is gone."""


class SqlCatalogStore:
    """A ``core.catalog_store.CatalogStore``; its methods are described there.

    Queries run in threads of its own: those of a database that hangs are lost, but nobody else waits for them.
    """

    def __init__(self, engine: sa.Engine, counter: SharedCounter) -> None:
        """
        Args:
            counter: The generation, as far as this host knows it.
        """
        self._engine = engine
        self._counter = counter
        self._asked = 0
        self._answered = 0
        self._failure: str | None = None
        self._asking = asyncio.Lock()
        self._reader = ThreadPoolExecutor(1, "read catalog")
        self._writers = ThreadPoolExecutor(WRITERS, "write catalog")

    def begin(self, path: Path) -> int:
        """Before the workers of this host run: set the counter, and fill a catalog that never held anything.

        Args:
            path: datasets.json, from which it is filled.
        Returns:
            How many datasets were taken over.
        Raises:
            ConfigError: the file is to be read, and is not such a document, or holds keys of accounts.
        """
        with transaction(self._engine) as connection:
            generation: int = connection.execute(sa.select(catalog_state.c.generation).with_for_update()).scalar_one()
            found = read_document(path) if generation == 0 else {}
            taken_over = len(_rows(found))
            if taken_over:
                try:
                    _write(connection, {}, found)
                except InvalidRequest as error:
                    raise ConfigError(f"{path}: {error}") from error
                generation = _raised(connection)
            self._counter.set(generation)
        self._engine.dispose()  # this process asks nothing else
        return taken_over

    def generation(self) -> int:
        return self._counter.value

    async def load(self) -> Snapshot:
        return await self._query(self._load)

    async def _query(self, query: Callable[[], Result]) -> Result:
        """
        Raises:
            DatabaseUnavailable: no answer, or none in time.
        """
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.get_running_loop().run_in_executor(self._reader, query)
        except TimeoutError:
            raise DatabaseUnavailable(f"the database cannot be used: no answer within {ANSWER_S:g} s") from None

    def _load(self) -> Snapshot:
        """Other workers of this host are to see what this one does, so the counter is raised too."""
        with transaction(self._engine) as connection:
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            snapshot = _snapshot(connection)
        self._counter.raise_to(snapshot.generation)
        return snapshot

    async def refresh(self) -> None:
        """However many wait, one asks for all who have come before it began."""
        self._asked += 1
        mine = self._asked
        async with self._asking:
            if self._answered < mine:
                asked = self._asked
                try:
                    await self._query(self._ask)
                    self._failure = None
                except DatabaseUnavailable as error:
                    self._failure = str(error)
                self._answered = asked
            if self._failure is not None:
                raise DatabaseUnavailable(self._failure)

    def _ask(self) -> None:
        with transaction(self._engine) as connection:
            self._counter.raise_to(connection.execute(sa.select(catalog_state.c.generation)).scalar_one())

    async def update(self, change: Callable[[Document], None], renew: Iterable[str]) -> Snapshot:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writers, self._update, change, frozenset(renew))

    def _update(self, change: Callable[[Document], None], renew: frozenset[str]) -> Snapshot:
        """One transaction, which begins by locking the state: no other writer of any host is in between."""
        with transaction(self._engine) as connection:
            _bound(connection)
            generation = _raised(connection)
            before = _read(connection)
            document = copy.deepcopy(before)
            change(document)
            _write(connection, before, document)
            _renew(connection, renew, generation)
            after = _snapshot(connection)
        self._counter.raise_to(after.generation)
        return after


def open_catalog(database_url: str, state_folder: Path) -> SqlCatalogStore:
    """
    Args:
        state_folder: Holds the counter; the same for all workers of the host.
    Raises:
        ConfigError: as ``open_engine``.
    """
    return SqlCatalogStore(open_engine(database_url), SharedCounter(state_folder / COUNTER))


def _raised(connection: sa.Connection) -> int:
    """The new generation. Until the transaction ends nobody else can change the catalog."""
    raised = sa.update(catalog_state).values(generation=catalog_state.c.generation + 1)
    generation: int = connection.execute(raised.returning(catalog_state.c.generation)).scalar_one()
    return generation


def _bound(connection: sa.Connection) -> None:
    """Neither a writer of another host, nor a host that is lost while it writes, holds up the others for long."""
    for name, seconds in (("lock_timeout", LOCK_S), ("idle_in_transaction_session_timeout", SILENCE_S)):
        connection.execute(sa.text(f"SET LOCAL {name} = '{seconds}s'"))


def _snapshot(connection: sa.Connection) -> Snapshot:
    state = connection.execute(sa.select(catalog_state)).one()
    renewed = {
        f"{row.organization}/{row.dataset}": row.renewed
        for row in connection.execute(sa.select(catalog).where(catalog.c.renewed > 0))
    }
    return Snapshot(_read(connection), {EVERYTHING: state.renewed, **renewed}, state.generation)


def _read(connection: sa.Connection) -> Document:
    document: Document = {}
    for row in connection.execute(sa.select(catalog).order_by(catalog.c.number)):
        document.setdefault(row.backend, {}).setdefault(row.organization, {})[row.dataset] = _entry(row.entry)
    return document


def _entry(text: str) -> object:
    """What somebody has written there by hand may be no JSON. As text it is no entry, so its dataset alone suffers."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _write(connection: sa.Connection, before: Document, after: Document) -> None:
    """What differs between two documents. Of entries that stand twice in the second one the first is kept.

    Raises:
        InvalidRequest: it would put the key of an account into the database, where every host could read it.
    """
    old, new = _rows(before), _rows(after)
    _refuse_keys(after, frozenset(key for key, values in new.items() if old.get(key) != values))
    for key in old.keys() - new.keys():
        connection.execute(sa.delete(catalog).where(_is(key)))
    for key, values in new.items():
        if key not in old:
            row = {"organization": key.organization, "dataset": key.dataset, "renewed": 0, **values}
            connection.execute(sa.insert(catalog).values(row))
        elif old[key] != values:
            connection.execute(sa.update(catalog).where(_is(key)).values(values))


def _refuse_keys(document: Document, changed: frozenset[DatasetKey]) -> None:
    for key, options in holders(document):
        if key in changed and isinstance(options.get(OPTION), dict):
            raise InvalidRequest(
                f"{key}: {OPTION}: several servers share this catalog, so no key stands in it: write $NAME of an"
                " environment variable of theirs, or file:PATH"
            )


def _rows(document: Document) -> Mapping[DatasetKey, Mapping[str, Any]]:
    rows: dict[DatasetKey, Mapping[str, Any]] = {}
    for backend, key, entry in list_entries(document):
        rows.setdefault(key, {"backend": backend, "entry": json.dumps(entry)})
    return rows


def _is(key: DatasetKey) -> sa.ColumnElement[bool]:
    return (catalog.c.organization == key.organization) & (catalog.c.dataset == key.dataset)


def _renew(connection: sa.Connection, names: frozenset[str], generation: int) -> None:
    if EVERYTHING in names:
        connection.execute(sa.update(catalog_state).values(renewed=generation))
    for name in names - {EVERYTHING}:
        organization, _, dataset = name.partition("/")
        connection.execute(sa.update(catalog).where(_is(DatasetKey(organization, dataset))).values(renewed=generation))
