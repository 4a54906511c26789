"""Datasets of what is named on a command line: volumes, or folders that hold some."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from wkdvid.core.entries import DatasetKey, Document
from wkdvid.errors import BackendError, InvalidRequest, RequestError
from wkdvid.inspection.recognition import layer_name

ORGANIZATION = "local"
DEEPEST = 2
"""Folders below the one that is named: ``FOLDER/DATASET/LAYER``."""
MOST_LOOKED_AT = 500
"""Folders and files below one that is named."""

Entry: TypeAlias = tuple[str, Mapping[str, Any]]
"""Backend and options."""
Inspect: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Entry]]
"""What an entry of these options (``Inspector.inspect``) would be registered with; errors as there."""


async def document_of(sources: Sequence[str], inspect: Inspect) -> Document:
    """A datasets.json of them. A volume is a dataset; of a folder each folder that holds volumes is one, with them as
    its layers where they fit together, else each of them.

    Raises:
        RequestError: there is no volume, with what would help.
        BackendError: it cannot be reached, or is damaged.
    """
    document: Document = {}
    names: set[str] = set()
    for source in sources:
        for name, (backend, options) in (await _Search(inspect).datasets(source)).items():
            free = next(one for one in _spellings(name) if one not in names)
            names.add(free)
            document.setdefault(backend, {}).setdefault(ORGANIZATION, {})[free] = dict(options)
    return document


def keys_of(document: Document) -> Sequence[DatasetKey]:
    return [DatasetKey(ORGANIZATION, name) for below in document.values() for name in below[ORGANIZATION]]


def _spellings(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _contents(folder: str) -> list[str]:
    """What is in it and not hidden; nothing, if it is no folder."""
    path = Path(folder)
    return [str(one) for one in sorted(path.iterdir()) if one.name[0] != "."] if path.is_dir() else []


class _Search:
    """What is at one address."""

    def __init__(self, inspect: Inspect) -> None:
        self._inspect = inspect
        self._left = MOST_LOOKED_AT

    async def datasets(self, source: str) -> Mapping[str, Entry]:
        try:
            return {layer_name(source): await self._inspect({"source": source})}
        except InvalidRequest as error:
            found = await self._below(source, DEEPEST) if "://" not in source else {}
            if not found:
                raise error
            return found

    async def _below(self, folder: str, depth: int) -> Mapping[str, Entry]:
        volumes: dict[str, Entry] = {}
        others: list[str] = []
        for path in _contents(folder)[: self._left]:
            self._left -= 1
            try:
                volumes[layer_name(path)] = await self._inspect({"source": path})
            except (RequestError, BackendError):
                others.append(path)
        found = await self._joined(layer_name(folder), volumes)
        if depth > 1:
            for path in others:
                found |= await self._below(path, depth - 1)
        return found

    async def _joined(self, name: str, volumes: Mapping[str, Entry]) -> dict[str, Entry]:
        """One dataset of all, if they stand on one grid."""
        layers = {
            layer: {"backend": backend, **options["layers"][layer]}
            for layer, (backend, options) in volumes.items()
            if layer in options.get("layers", {})
        }
        if len(layers) < max(len(volumes), 2):
            return dict(volumes)
        backend = next(iter(layers.values()))["backend"]
        options = {"layers": layers}
        try:
            return {name: await self._inspect({"backend": backend, **options})}
        except (RequestError, BackendError):
            return dict(volumes)
