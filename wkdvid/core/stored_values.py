"""The contract of what clients store in data instances that are no voxels: values by keys, in versions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from wkdvid.core.keyvalues import KeyValues
from wkdvid.core.repositories import DataInstance, Node, Repository

KEY_BYTES = 1024
"""Of a key in UTF-8: databases refuse to index much more."""

PAGE = 1000
"""Keys that are listed at a time."""

Read: TypeAlias = Callable[[Sequence[str]], Mapping[str, bytes]]
"""Those of the keys that have a value."""
Change: TypeAlias = Callable[[Read], Mapping[str, bytes | None]]
"""From what is stored to what is to be stored; None: nothing more. Is called within the transaction, in any thread."""


@runtime_checkable
class StoredValues(Protocol):
    """The values of a data instance as one node sees them: its own, else its nearest ancestor's.

    Reads see every change that was acknowledged before they began, whichever worker made it. All methods raise
    DatabaseUnavailable where that cannot be known, or where a change could not be stored.
    """

    async def get(self, key: str) -> bytes | None: ...

    async def keys(self, first: str, last: str | None, most: int | None = None) -> Sequence[str]:
        """Keys from ``first`` to ``last`` (inclusive; None: to the end), ascending by their bytes.

        Args:
            most: No more than the first so many.
        """
        ...

    def items(self, keys: Sequence[str]) -> AsyncIterator[tuple[str, bytes | None]]:
        """The keys with their values, in their order, of which few are held at a time."""
        ...

    async def put(self, values: Mapping[str, bytes | None]) -> None:
        """Store all of them, durably, or none. None: nothing more under this key.

        Raises:
            UnsupportedRequest: the node is committed.
            InvalidRequest: a key is empty or too long.
        """
        ...

    async def change(self, change: Change) -> None:
        """As ``put``, of values that follow from those that are there; no other ``change`` comes in between."""
        ...


class ValueStore(Protocol):
    def at(self, repository: Repository, node: Node, instance: DataInstance) -> StoredValues: ...


async def key_pages(values: KeyValues, first: str, last: str | None) -> AsyncIterator[Sequence[str]]:
    """All keys of a range, in pages: a listing is never held whole, where it is stored here."""
    if not isinstance(values, StoredValues):
        yield await values.keys(first, last)
        return
    while page := await values.keys(first, last, PAGE):
        yield page
        first = page[-1] + "\0"


async def items(values: KeyValues, keys: Sequence[str]) -> AsyncIterator[tuple[str, bytes | None]]:
    """The keys with their values, in their order."""
    if isinstance(values, StoredValues):
        async for item in values.items(keys):
            yield item
    else:
        for key in keys:
            yield key, await values.get(key)
