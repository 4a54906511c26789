"""The catalog in SQL, for several hosts."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from wkdvid.core.catalog_store import COUNTER, EVERYTHING, SharedCounter, Snapshot, read_document
from wkdvid.core.entries import DatasetKey, Document, list_entries
from wkdvid.core.own_accounts import OPTION, holders
from wkdvid.errors import ConfigError, InvalidRequest
from wkdvid.metadata.engine import open_engine, transaction
from wkdvid.metadata.schema import catalog, catalog_state
from wkdvid.metadata.shared_state import SharedState


class SqlCatalogStore(SharedState):
    """A ``core.catalog_store.CatalogStore``; its methods are described there."""

    def fill(self, path: Path) -> int:
        """Before the workers of this host run, as ``begin``: fill a catalog that never held anything.

        Args:
            path: datasets.json, from which it is filled.
        Returns:
            How many datasets were taken over.
        Raises:
            ConfigError: the file is to be read, and is not such a document, or holds keys of accounts.
        """
        with transaction(self._engine) as connection:
            generation = connection.execute(sa.select(catalog_state.c.generation).with_for_update()).scalar_one()
            found = read_document(path) if generation == 0 else {}
            taken_over = len(_rows(found))
            if taken_over:
                try:
                    _write(connection, {}, found)
                except InvalidRequest as error:
                    raise ConfigError(f"{path}: {error}") from error
                self._raised(connection)
        self.begin()
        return taken_over

    async def load(self) -> Snapshot:
        _, snapshot = await self.query(_snapshot)
        return snapshot

    async def update(self, change: Callable[[Document], None], renew: Iterable[str]) -> Snapshot:
        names = frozenset(renew)

        def apply(connection: sa.Connection, generation: int) -> Snapshot:
            before = _read(connection)
            document = copy.deepcopy(before)
            change(document)
            _write(connection, before, document)
            _renew(connection, names, generation)
            return _snapshot(connection)

        return await self.change(apply)


def open_catalog(database_url: str, state_folder: Path) -> SqlCatalogStore:
    """
    Args:
        state_folder: Holds the counter; the same for all workers of the host.
    Raises:
        ConfigError: as ``open_engine``.
    """
    return SqlCatalogStore(open_engine(database_url), SharedCounter(state_folder / COUNTER), catalog_state)


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
