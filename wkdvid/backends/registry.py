"""Backends by name. Third parties add theirs through the entry point ``wkdvid.backends``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TypeAlias

from wkdvid.backends.label_index.source import open_index
from wkdvid.backends.opening import Opener
from wkdvid.backends.quoting import LONGEST_MESSAGE, plain
from wkdvid.backends.stored_pyramid import with_pyramid
from wkdvid.backends.tensorstore_volume import TensorStoreVolume
from wkdvid.core.concurrent import for_each
from wkdvid.core.entries import DatasetEntry, Document, EntryParser, LayerEntry
from wkdvid.core.layers import Opened
from wkdvid.core.refused_holes import with_refused_holes
from wkdvid.core.volume import Volume
from wkdvid.errors import BackendError, ConfigError, CorruptChunk, InvalidEntry, InvalidRequest

OpenLayer: TypeAlias = Callable[[LayerEntry, Opener], Awaitable[Sequence[Volume]]]
FindLayers: TypeAlias = Callable[[LayerEntry, Opener], Awaitable[Sequence[LayerEntry]]]

BUILT_IN: Mapping[str, str] = {
    "precomputed": "wkdvid.backends.precomputed.source",
    "zarr": "wkdvid.backends.zarr.source",
    "n5": "wkdvid.backends.n5.source",
    "tiff": "wkdvid.backends.tiff.source",
    "wkw": "wkdvid.backends.wkw.source",
    "tensorstore": "wkdvid.backends.tensorstore_spec",
    "boss": "wkdvid.backends.bossdb.source",
}
ALIASES: Mapping[str, str] = {"neuroglancer": "precomputed", "bossdb": "boss"}
_NO_PATH = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Backend:
    """A module with ``OPTIONS``, ``open_layer`` and, where its datasets need not list their layers, ``find_layers``.

    ``SECRETS`` are those of its options that refer to secrets.
    By ``MARKERS`` or ``PATHS`` an inspection finds out that an address is of its format.
    """

    options: frozenset[str]
    """What a layer's entry may say beside the options of every layer."""
    open_layer: OpenLayer
    find_layers: FindLayers | None
    """From a nameless entry to those of the layers that the source has, each with what ``open_layer`` needs."""
    markers: tuple[str, ...] = ()
    """Keys of documents, one of which is in every folder of the format; the first is what most have."""
    secrets: frozenset[str] = frozenset()
    """Options that refer to secrets: variables in them are not replaced by their values."""
    paths: re.Pattern[str] = _NO_PATH
    """What the path of an address of the format is like as a whole, if that tells."""

    async def open(self, entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
        """As ``open_layer`` does, and as the entry says what absent is."""
        opener = self.opener_of(entry, opener)
        through = opener.guard.through
        try:
            volumes = await self.open_layer(entry, opener)
        except CorruptChunk:
            if through is not None:
                through.doubt()
            raise
        for volume in volumes:
            if isinstance(volume, TensorStoreVolume):
                volume.presence = opener.presence
                volume.doubt = None if through is None else through.doubt
        return [with_refused_holes(volume) for volume in volumes] if entry.refused_holes else volumes

    def opener_of(self, entry: LayerEntry, opener: Opener) -> Opener:
        return opener.of(entry, has_secrets=not self.secrets.isdisjoint(entry.options))


def load_backends() -> dict[str, Backend]:
    """
    Raises:
        ConfigError: a backend of a third party that cannot be imported.
    """
    return {name: _load(name, module) for name, module in {**BUILT_IN, **third_parties()}.items()}


@cache
def third_parties() -> Mapping[str, str]:
    """Modules by the names of backends. To look through all that is installed takes as long as to open a volume."""
    return {point.name: point.value for point in entry_points(group="wkdvid.backends")}


def _load(name: str, module_name: str) -> Backend:
    try:
        module = importlib.import_module(module_name)
        return Backend(
            options=frozenset(module.OPTIONS),
            open_layer=module.open_layer,
            find_layers=getattr(module, "find_layers", None),
            markers=tuple(getattr(module, "MARKERS", ())),
            secrets=frozenset(getattr(module, "SECRETS", ())),
            paths=getattr(module, "PATHS", _NO_PATH),
        )
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"backend {name!r} ({module_name}) cannot be loaded: {error}") from error


class Backends:
    """Parses entries and opens their layers."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._backends = load_backends()
        self._options = {name: backend.options for name, backend in self._backends.items()}
        self._secrets = frozenset(name for backend in self._backends.values() for name in backend.secrets)
        self._finders = frozenset(name for name, backend in self._backends.items() if backend.find_layers is not None)

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._backends)

    def parse(self, document: Document) -> tuple[Sequence[DatasetEntry], Sequence[str]]:
        """Entries of a document, and every problem of it with its JSON path."""
        parser = EntryParser(self._options, ALIASES, self._finders, self._opener.variables, self._secrets)
        entries = parser.parse(document)
        return entries, parser.problems

    async def open_layers(self, entry: DatasetEntry) -> Sequence[Opened]:
        """Open every layer of an entry, with what was made of it.

        Raises:
            InvalidEntry: with the JSON path of the layer that the source does not fit.
            BackendError: a source cannot be read.
        """
        return [await self._with_made(entry, layer, volume) for layer, volume in await self.open_sources(entry)]

    async def _with_made(self, entry: DatasetEntry, layer: LayerEntry, volume: Volume) -> Opened:
        info = volume.info
        pyramid, folder = entry.pyramids.get(info.name), entry.indexes.get(info.name)
        index, notes = (None, ()) if folder is None else await open_index(layer, info, folder, self._opener)
        joined = volume if pyramid is None else await with_pyramid(volume, layer, pyramid, self._opener.of(layer))
        return Opened(layer.compression, joined, index, notes)

    async def open_sources(self, entry: DatasetEntry) -> Sequence[tuple[LayerEntry, Volume]]:
        """The layers of an entry as their sources have them, without pyramids that are stored apart.

        Raises:
            InvalidEntry, BackendError: as ``open_layers``.
        """
        if entry.problems:
            raise InvalidEntry(entry.problems)
        problems: list[str] = []
        failure: BackendError | None = None
        volumes: list[tuple[LayerEntry, Volume]] = []
        layers = await self._found(entry.layers)
        for layer, opened in zip(layers, await for_each(self._open, layers), strict=True):
            if isinstance(opened, InvalidRequest):
                problems.append(f"{layer.path}: {plain(opened, LONGEST_MESSAGE)}")
            elif isinstance(opened, BackendError):
                failure = failure or type(opened)(f"{layer.path}: {plain(opened, LONGEST_MESSAGE)}")
            else:
                volumes += [(layer, volume) for volume in opened]
        if problems:
            raise InvalidEntry(problems)
        if failure is not None:
            raise failure
        return volumes

    async def _found(self, layers: Sequence[LayerEntry]) -> Sequence[LayerEntry]:
        """The layers of an entry; where it lists none, those that the source has.

        Raises:
            InvalidEntry, BackendError: as ``open_layers``.
        """
        backend = self._backends[layers[0].backend] if layers and not layers[0].name else None
        if backend is None or backend.find_layers is None:
            return layers
        (whole,) = layers
        try:
            return await backend.find_layers(whole, backend.opener_of(whole, self._opener))
        except InvalidRequest as error:
            raise InvalidEntry([f"{whole.path}: {plain(error, LONGEST_MESSAGE)}"]) from error
        except BackendError as error:
            raise type(error)(f"{whole.path}: {plain(error, LONGEST_MESSAGE)}") from error

    async def _open(self, layer: LayerEntry) -> Sequence[Volume] | InvalidRequest | BackendError:
        try:
            return await self._backends[layer.backend].open(layer, self._opener)
        except (InvalidRequest, BackendError) as error:
            return error
