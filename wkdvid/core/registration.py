"""Registering datasets: validate everything, open everything, then commit, or change nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from wkdvid.core.catalog import OPENINGS, Catalog, OpenLayers, ParseEntries
from wkdvid.core.concurrent import for_each
from wkdvid.core.entries import (
    DatasetEntry,
    DatasetKey,
    Document,
    dataset_names,
    put_entry,
    put_made,
    remove_entry,
)
from wkdvid.core.entry_text import EntryText, entry_text, tag_of, with_kept
from wkdvid.core.layers import Layer, arrange_layers
from wkdvid.core.repositories import Repositories
from wkdvid.errors import BackendError, Conflict, InvalidEntry, NotFound, RequestError

Check: TypeAlias = Callable[[Document, Sequence[DatasetEntry]], None]
"""Of the stored document and the entries that are to go into it. Raises RequestError."""


def _no_check(stored: Document, entries: Sequence[DatasetEntry]) -> None:
    """Whatever is there is replaced."""


def path_of(entry: DatasetEntry) -> str:
    """Where it stands in a document, for messages."""
    return f"{entry.backend}.{entry.key.organization}.{entry.key.dataset}"


AddMade: TypeAlias = Callable[[DatasetEntry, str, str], Awaitable[None]]
"""``Registrar.add_pyramid`` or ``add_index``: of a dataset's entry and layer, and the folder of what was made."""


class Registrar:
    """The one way by which datasets come and go."""

    def __init__(
        self,
        catalog: Catalog,
        repositories: Repositories,
        parse: ParseEntries,
        open_layers: OpenLayers,
        unshare: Callable[[DatasetKey], Awaitable[None]],
    ) -> None:
        """
        Args:
            unshare: Revokes the links to a dataset: another one of its name is not shared by them.
        """
        self._catalog = catalog
        self._unshare = unshare
        self._repositories = repositories
        self._parse = parse
        self._open_layers = open_layers

    async def add(self, document: Document) -> Sequence[DatasetKey]:
        """As ``register``, but none of the datasets may be there yet."""

        def refuse_known(stored: Document, entries: Sequence[DatasetEntry]) -> None:
            known = dataset_names(stored)
            problems = [f"{path_of(one)}: there is a dataset of this name" for one in entries if str(one.key) in known]
            if problems:
                raise InvalidEntry(problems)

        return await self.register(document, refuse_known)

    async def entry(self, key: DatasetKey) -> EntryText:
        """What is written of a dataset, for who administrates.

        Raises:
            NotFound: no such dataset.
            InvalidRequest: it stands in the server's configuration.
        """
        self._catalog.refuse_configured(key)
        await self._catalog.look_again()
        entry = self._catalog.find(key).entry
        return entry_text(entry.backend, entry.options)

    async def edit(self, key: DatasetKey, options: Mapping[str, Any], tag: str) -> None:
        """Write a dataset's entry anew.

        Args:
            options: With ``entry_text.KEPT`` in the place of secrets that stay.
            tag: Of the entry as it was seen.
        Raises:
            NotFound: no such dataset.
            InvalidRequest: it stands in the server's configuration.
            InvalidEntry, DatabaseUnavailable: as ``register``.
            Conflict: it was changed meanwhile.
        """
        self._catalog.refuse_configured(key)
        await self._catalog.look_again()
        entry = self._catalog.find(key).entry

        def refuse_stale(stored: Document, entries: Sequence[DatasetEntry]) -> None:
            if tag_of(stored.get(entry.backend, {}).get(key.organization, {}).get(key.dataset)) != tag:
                raise Conflict(f"{key} was changed meanwhile; load it again")

        whole = with_kept(options, entry.options)
        await self.register({entry.backend: {key.organization: {key.dataset: whole}}}, refuse_stale)

    async def register(self, document: Document, check: Check = _no_check) -> Sequence[DatasetKey]:
        """Add or replace every dataset of a document in the form of datasets.json.

        Args:
            check: Of what is stored, while nobody else changes it.
        Returns:
            The keys, in the document's order.
        Raises:
            InvalidEntry: with every problem that was found; nothing is changed then.
            DatabaseUnavailable: nobody knows which UUIDs are taken.
            RequestError: whatever ``check`` raises.
        """
        entries, problems = self._parse(document)
        await self._repositories.catch_up()
        problems = [*problems, *self._taken(entries)]
        if problems:
            raise InvalidEntry(problems)
        opened = await self._open_all(entries)

        def put_all(stored: Document) -> None:
            check(stored, entries)
            for entry in entries:
                put_entry(stored, entry)

        await self._catalog.update(put_all, opened)
        return [entry.key for entry in entries]

    def _taken(self, entries: Sequence[DatasetEntry]) -> Iterator[str]:
        for entry in entries:
            if self._repositories.with_uuid(entry.uuid) is not None:
                yield f"{path_of(entry)}.uuid: {entry.uuid} is a node of a repository already"

    async def _open_all(self, entries: Sequence[DatasetEntry]) -> Mapping[DatasetKey, Mapping[str, Layer]]:
        results = await for_each(self._open, entries, OPENINGS)
        opened: dict[DatasetKey, Mapping[str, Layer]] = {}
        problems: list[str] = []
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, InvalidEntry):
                problems += result.problems
            elif isinstance(result, RequestError | BackendError):
                problems.append(f"{path_of(entry)}: {result}")
            else:
                opened[entry.key] = result
        if problems:
            raise InvalidEntry(problems)
        return opened

    async def _open(self, entry: DatasetEntry) -> Mapping[str, Layer] | RequestError | BackendError:
        try:
            return arrange_layers(entry, await self._open_layers(entry))
        except (RequestError, BackendError) as error:
            return error

    async def remove(self, key: DatasetKey) -> None:
        """
        Raises:
            NotFound: no such dataset.
            InvalidRequest: it stands in the server's configuration.
        """
        self._catalog.refuse_configured(key)

        def take_out(stored: Document) -> None:
            if not remove_entry(stored, key):
                raise NotFound(f"there is no dataset {key}")

        await self._unshare(key)
        await self._catalog.update(take_out, {})

    async def add_pyramid(self, entry: DatasetEntry, layer: str, source: str) -> None:
        """Have the levels that are stored in a folder served with a layer, by every worker.

        Raises:
            InvalidRequest: the dataset is gone, or is not what ``entry`` says any more.
        """
        await self._catalog.update(lambda stored: put_made(stored, entry, "pyramids", layer, source), {})

    async def add_index(self, entry: DatasetEntry, layer: str, source: str) -> None:
        """Have the label index that is stored in a folder used for a layer, by every worker; errors as above."""
        await self._catalog.update(lambda stored: put_made(stored, entry, "indexes", layer, source), {})

    async def reload(self, key: DatasetKey | None) -> None:
        """Open the sources of one dataset afresh, or of all, in every worker.

        Raises:
            NotFound: no such dataset.
        """
        await self._catalog.renew(key)
