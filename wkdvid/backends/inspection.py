"""What is at an address: the format found out, the volume opened, and what is odd about it said in plain words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import load_backends
from wkdvid.core.entries import DatasetKey, LayerEntry
from wkdvid.core.geometry import Box, volume_of
from wkdvid.core.pyramid import MAX_FACTOR, SMALL_ENOUGH
from wkdvid.core.source import Source, read_source
from wkdvid.core.volume import LayerInfo, Volume
from wkdvid.errors import BackendError, InvalidRequest

MARKERS: Mapping[str, Sequence[str]] = {
    "precomputed": ("info",),
    "wkw": ("datasource-properties.json", "header.wkw", "1/header.wkw"),
    "zarr": ("zarr.json", ".zattrs", ".zarray", ".zgroup"),
    "n5": ("attributes.json", "s0/attributes.json"),
}
"""Backend -> documents, one of which is in every folder of its format."""
HINTS: Mapping[str, str] = {"zarr2": "zarr", "zarr3": "zarr"}
"""Format in front of a URL -> backend, where they differ."""
LARGE_CHUNK_BYTES = 10_000_000
"""Decoded; a browser's read of 32^3 or 64^3 voxels waits for whole chunks."""
NOT_DRAWN: Mapping[str, str] = {"int64": "Neuroglancer", "float64": "Neuroglancer and webKnossos"}
"""Who cannot draw voxels of a type at all."""
NOT_OVER_DVID = frozenset({"int8", "int16", "int32", "int64", "float64"})
"""DVID has no type for them (decisions in docs/dvid.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedLayer:
    info: LayerInfo
    problems: tuple[str, ...]
    """The source's oddities and what they mean for who looks at it, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    url: str
    """The folder, without secrets; of a file its real path."""
    backend: str
    """By which it can be registered."""
    layers: tuple[InspectedLayer, ...]
    """Several where the source's channels are layers of their own."""


async def inspect_source(url: str, opener: Opener) -> Inspection:
    """Find out what a folder holds.

    Args:
        url: As in datasets.json; ``precomputed://``, ``zarr://`` or ``n5://`` before it leave no other format to try.
    Raises:
        InvalidRequest: it is not allowed, or no volume that can be read; with what would help.
        BackendError: it cannot be reached, or is damaged.
    """
    source = await opener.source(url)
    failures: list[InvalidRequest | BackendError] = []
    for backend in await _candidates(url, opener):
        try:
            volumes = await _open(backend, url, _layer_name(source), opener)
        except (InvalidRequest, BackendError) as error:
            failures.append(error)
        else:
            return Inspection(url=source.url, backend=backend, layers=tuple([await _inspected(v) for v in volumes]))
    if failures:
        raise failures[0]
    looked_for = ", ".join(keys[0] for keys in MARKERS.values())
    raise InvalidRequest(f"{source.name}: no precomputed, zarr or N5 volume is there (no {looked_for}...)")


async def _candidates(url: str, opener: Opener) -> Sequence[str]:
    """Backends that the folder may be for: the one that the URL names, else those with a document there."""
    hint = read_source(url).format_hint
    if hint is not None:
        return [HINTS.get(hint, hint)]
    keys = [(backend, key) for backend, keys in MARKERS.items() for key in keys]
    answers = await asyncio.gather(*(_has(url, key, opener) for _, key in keys))
    found = [backend for (backend, _), answer in zip(keys, answers, strict=True) if answer is True]
    failures = [answer for answer in answers if isinstance(answer, Exception)]
    if failures and not found:
        raise failures[0]
    return list(dict.fromkeys(found))


async def _has(url: str, key: str, opener: Opener) -> bool | InvalidRequest | BackendError:
    """Whether the document is there, or why that is not known: some hosts refuse, or redirect, what they lack."""
    try:
        return await opener.read_start(await opener.source(url, key), key, 1) is not None
    except (InvalidRequest, BackendError) as error:
        return error


def _layer_name(source: Source) -> str:
    path = unquote(source.path) if source.is_http else source.path
    return path.rstrip("/").rpartition("/")[2] or source.authority


async def _open(backend: str, url: str, name: str, opener: Opener) -> Sequence[Volume]:
    entry = LayerEntry(
        name=name,
        dataset=DatasetKey("inspected", name),
        backend=backend,
        category=None,
        voxel_size_nm=None,
        compression=None,
        options={"source": url},
        path="source",
    )
    return await load_backends()[backend].open_layer(entry, opener)


async def _inspected(volume: Volume) -> InspectedLayer:
    await volume.aclose()
    return InspectedLayer(info=volume.info, problems=(*volume.info.notes, *_problems(volume.info)))


def _problems(info: LayerInfo) -> Iterator[str]:
    yield from _type_problems(info)
    yield from _pyramid_problems(info)
    for i, level in enumerate(info.levels):
        size = volume_of(level.chunk_shape) * info.voxel_bytes
        if size > LARGE_CHUNK_BYTES:
            yield f"A chunk of level {i} has {size / 1e6:.0f} MB decoded: small reads are slow; viewers like 64x64x64."
    if min(info.levels[0].extent.start) < 0:
        yield f"The volume begins at {info.levels[0].extent.start}; webKnossos does not show negative positions."


def _type_problems(info: LayerInfo) -> Iterator[str]:
    name = info.dtype.name
    if name in NOT_DRAWN:
        yield f"{NOT_DRAWN[name]} cannot draw voxels of type {name}."
    if name in NOT_OVER_DVID:
        yield f"Voxels of type {name} are not offered over DVID, which has no such type."
    if info.category == "color" and name in ("uint64", "int64"):
        yield f"webKnossos shows voxels of type {name} as a segmentation only; if they are ids, say so by the type."
    if info.category == "segmentation" and info.dtype.kind == "f":
        yield f"A segmentation of type {name} has no ids; its type is image, or it has to be converted."


def _pyramid_problems(info: LayerInfo) -> Iterator[str]:
    finest, coarsest = info.levels[0], info.levels[-1]
    beyond = max(coarsest.extent.size) > SMALL_ENOUGH * MAX_FACTOR
    if len(info.levels) == 1 and max(finest.extent.size) > SMALL_ENOUGH:
        reach = f"only down to a {MAX_FACTOR}th" if beyond else "from all of its voxels"
        yield f"There is one level only: views that are zoomed out are computed, {reach}, which is slow."
    elif beyond:
        yield f"The coarsest level still has {_times(coarsest.extent.size)} voxels: the whole cannot be seen at once."
    for i, level in enumerate(info.levels[1:], 1):
        covered = level.extent.scaled_up(level.mag)
        if not covered.contains(finest.extent):
            yield f"Level {i} covers {_range(covered)} of {_range(finest.extent)}: the rest is not seen from afar."


def _times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _range(box: Box) -> str:
    return f"{box.start} to {box.stop}"
