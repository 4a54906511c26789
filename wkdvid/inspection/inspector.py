"""Opens what is at an address as a registration would, and looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import ALIASES, Backend, Backends, load_backends
from wkdvid.core.catalog import Dataset, State
from wkdvid.core.concurrent import for_each
from wkdvid.core.entries import DatasetEntry, LayerEntry
from wkdvid.core.layers import Layer, Opened, arrange_layers
from wkdvid.core.service_account import is_key
from wkdvid.core.volume import LayerInfo, Volume
from wkdvid.errors import BackendError, InvalidEntry, InvalidRequest, RequestError
from wkdvid.inspection.problems import layer_problems, sample_problems
from wkdvid.inspection.recognition import candidates, layer_name
from wkdvid.inspection.sampling import LevelSample, sample_levels

TIME_S = 5.0
"""For looking at chunks, of all layers together."""
SOURCE_OPTIONS = ("source", "path")
"""What backends call the address of a volume."""
ORGANIZATION = DATASET = "inspected"
"""Names of what is not registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedLayer:
    entry: Mapping[str, Any]
    """What a dataset's entry says of it, if it is registered by the inspection's backend."""
    info: LayerInfo
    volume: Volume
    """Open until the inspection is closed."""
    served: Layer | None
    """As it would be; None: a registration would refuse it, and the problems say why."""
    samples: Sequence[LevelSample]
    """Of each level."""
    problems: Sequence[str]
    """The source's oddities and what they mean for who looks at it, one sentence each, with what helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    backend: str
    """By which it can be registered."""
    dataset: Dataset
    """What would be served."""
    layers: Sequence[InspectedLayer]
    """Several where the source's channels are layers of their own, or the source is a dataset of several."""
    problems: Sequence[str]
    """Of the whole."""

    async def aclose(self) -> None:
        for layer in self.layers:
            await layer.volume.aclose()


class Inspector:
    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._backends = load_backends()
        self._parse = Backends(opener).parse

    async def inspect(self, options: Mapping[str, Any]) -> Inspection:
        """Find out what an entry would serve.

        Args:
            options: ``source`` alone: its format is found out. With ``backend`` and others: a layer's entry, or a
                dataset's.
        Raises:
            RequestError: it is not allowed, or no volume that can be read; with what would help.
            BackendError: it cannot be reached, or is damaged.
        """
        failures: list[RequestError | BackendError] = []
        for backend in await self._candidates(options):
            for form in self._forms(backend, {k: v for k, v in options.items() if k != "backend"}):
                try:
                    return await self._inspect(backend, form)
                except (RequestError, BackendError) as error:
                    failures.append(error)
        raise next((one for one in failures if not isinstance(one, InvalidEntry)), failures[0])

    async def _candidates(self, options: Mapping[str, Any]) -> Sequence[str]:
        named = options.get("backend")
        if named is None:
            url = options.get("source")
            if not isinstance(url, str):
                raise InvalidRequest("source: expected a URL or a path; or name the backend")
            return await candidates(url, self._backends, self._opener)
        backend = ALIASES.get(named, named) if isinstance(named, str) else None
        if backend not in self._backends:
            raise InvalidRequest(f"backend: {named!r} is not one of {', '.join(sorted({*self._backends, *ALIASES}))}")
        return [backend]

    def _forms(self, name: str, options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The options as those of a dataset, where they may be such, then as those of its only layer."""
        backend = self._backends[name]
        place = _place(backend)
        options = {place if key == "source" else key: value for key, value in options.items()}
        source = options.get(place)
        whole = "layers" in options or source is None
        if whole or backend.find_layers is not None:
            yield options
        if not whole:
            yield {"layers": {layer_name(source) if isinstance(source, str) else "layer": options}}

    async def _inspect(self, backend: str, options: Mapping[str, Any]) -> Inspection:
        entry = self._entry(backend, options)
        found, problems = await self._open(entry)
        layers, more = _arranged(entry, [one for one, _ in found])
        dataset = Dataset(entry, 0, State.OPEN, layers)
        time_s = TIME_S / len(found)
        inspected = [
            await self._look_at(one.volume, layers.get(one.volume.info.name), written, time_s) for one, written in found
        ]
        return Inspection(backend=backend, dataset=dataset, layers=inspected, problems=[*problems, *more])

    def _entry(self, backend: str, options: Mapping[str, Any]) -> DatasetEntry:
        entries, problems = self._parse({backend: {ORGANIZATION: {DATASET: options}}})
        if problems:
            raise InvalidEntry([plain(problem, backend) for problem in problems])
        return entries[0]

    async def _open(self, entry: DatasetEntry) -> tuple[list[tuple[Opened, Mapping[str, Any]]], list[str]]:
        """The layers that can be opened, each with what an entry says of it, and what is wrong with the others.

        Raises:
            InvalidRequest, BackendError: there is none.
        """
        layers = await self._found(entry.layers)
        opened: list[tuple[Opened, Mapping[str, Any]]] = []
        failures: dict[str, Exception] = {}
        for layer, found in zip(layers, await for_each(self._open_layer, layers), strict=True):
            if isinstance(found, Exception):
                failures[layer.name] = found
            else:
                several = len(found) > 1
                opened += [
                    (Opened(layer.compression, volume), _written(entry, layer, i if several else None))
                    for i, volume in enumerate(found)
                ]
        if not opened:
            raise next(iter(failures.values()), InvalidRequest("source: there is no layer"))
        return opened, [f"Layer {name} cannot be served: {error}." for name, error in failures.items()]

    async def _open_layer(self, layer: LayerEntry) -> Sequence[Volume] | InvalidRequest | BackendError:
        try:
            return await self._backends[layer.backend].open(layer, self._opener)
        except (InvalidRequest, BackendError) as error:
            return error

    async def _found(self, layers: Sequence[LayerEntry]) -> Sequence[LayerEntry]:
        find, first = self._backends[layers[0].backend].find_layers, layers[0]
        return await find(first, self._opener.of(first)) if find is not None and not first.name else layers

    async def _look_at(
        self, volume: Volume, served: Layer | None, entry: Mapping[str, Any], time_s: float
    ) -> InspectedLayer:
        info = volume.info
        samples = await sample_levels(volume, self._opener.context, time_s)
        problems = [*info.notes, *layer_problems(info), *sample_problems(samples)]
        return InspectedLayer(entry=entry, info=info, volume=volume, served=served, samples=samples, problems=problems)


def _place(backend: Backend) -> str:
    return next((name for name in SOURCE_OPTIONS if name in backend.options), "source")


def _written(entry: DatasetEntry, layer: LayerEntry, channel: int | None) -> Mapping[str, Any]:
    """What the entry says of a layer, or would have to say of one that the backend has found; but no key of an account.

    Args:
        channel: Of those that are layers of their own, the one that is meant.
    """
    listed = entry.options.get("layers", {}).get(layer.name)
    written = dict(_found(entry, layer) if listed is None else listed)
    if is_key(written.get("credentials")):
        del written["credentials"]
    return written if channel is None else {**written, "channel": channel}


def _found(entry: DatasetEntry, layer: LayerEntry) -> Mapping[str, Any]:
    written = dict(layer.options)
    if layer.backend != entry.backend:
        written["backend"] = layer.backend
    if layer.category is not None:
        written["type"] = "image" if layer.category == "color" else layer.category
    if layer.voxel_size_nm is not None:
        written |= {"voxel_size": list(layer.voxel_size_nm), "voxel_unit": "nm"}
    return written


def _arranged(entry: DatasetEntry, opened: Sequence[Opened]) -> tuple[Mapping[str, Layer], Sequence[str]]:
    """The layers as they would be served, and why a registration would refuse them: then those that are well alone."""
    try:
        return arrange_layers(entry, opened), ()
    except InvalidEntry as error:
        problems = [f"A registration would be refused: {plain(text, entry.backend)}." for text in error.problems]
    layers: dict[str, Layer] = {}
    for one in opened:
        try:
            layers |= arrange_layers(entry, [one])
        except InvalidEntry:
            continue  # it is among the problems already
    return layers, problems


def plain(problem: str, backend: str) -> str:
    """Without the place in a document that nobody wrote."""
    place = f"{backend}.{ORGANIZATION}.{DATASET}"
    return problem.removeprefix(f"{place}.").removeprefix(f"{place}: ")
