"""Opens what users of TensorStore name by its own JSON: a spec per level, as far as the guard admits it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorstore as ts

from wkdvid.backends.array_layer import SIZE_NOTE, UNKNOWN_SIZE, ArrayLayer, ArrayLevel, make_volumes
from wkdvid.backends.axes import FASTEST_FIRST, SLOWEST_FIRST, axes_of_names, choose_axes, nm_per_unit
from wkdvid.backends.n5.metadata import parse_array
from wkdvid.backends.n5.source import DOCUMENT
from wkdvid.backends.opening import Opener
from wkdvid.backends.precomputed.source import open_source
from wkdvid.backends.zarr.nodes import PROBES, read_node
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import Float3, Vec3
from wkdvid.core.source import Source
from wkdvid.core.volume import Volume
from wkdvid.errors import InvalidRequest

OPTIONS = frozenset({"source", "axes", "channel", "t", "mags"})
PRECOMPUTED = "neuroglancer_precomputed"
INFO = "info"
ZARR_VERSIONS: Mapping[str, int] = {"zarr": 2, "zarr2": 2, "zarr3": 3}


@dataclass(frozen=True, slots=True)
class Place:
    """An admitted spec and the folder that it reads."""

    source: Source
    spec: Mapping[str, Any]

    @property
    def driver(self) -> str:
        return str(self.spec["driver"])

    @property
    def whole(self) -> bool:
        """Precomputed without a choice of scale: users mean all of them, TensorStore the first."""
        return self.driver == PRECOMPUTED and self.spec.keys() <= {"driver", "kvstore"}


async def open_layer(entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
    """Open one array per level, or all scales of a precomputed volume.

    Raises:
        InvalidRequest: a spec that is not valid or not allowed, or arrays that do not make a pyramid.
        BackendError: an array cannot be read.
    """
    given = entry.options.get("source")
    specs: list[Any] = given if isinstance(given, list) else [given]
    if not specs or not all(isinstance(spec, dict) for spec in specs):
        raise InvalidRequest("source: expected a TensorStore spec, or a list of them, finest level first")
    opener.check_levels(len(specs), "source")
    places = [await _admit(opener, spec) for spec in specs]
    if len(places) == 1 and places[0].whole and not {"axes", "mags"} & entry.options.keys():
        return await open_source(entry, opener, places[0].source)
    stores = await asyncio.gather(*(_open(opener, place) for place in places))
    axes = [_axes(entry.options.get("axes"), place, store) for place, store in zip(places, stores, strict=True)]
    sizes, notes = _voxel_sizes(stores, axes, entry.options.get("mags"))
    layer = ArrayLayer(
        what=places[0].source.name,
        format="tensorstore",
        levels=[
            ArrayLevel(store=store, axes=letters, voxel_size_nm=size)
            for store, letters, size in zip(stores, axes, sizes, strict=True)
        ],
        notes=() if entry.voxel_size_nm else notes,
    )
    return make_volumes(entry, opener, layer)


async def _admit(opener: Opener, spec: Mapping[str, Any]) -> Place:
    source = opener.guard.spec_source(spec)
    driver = spec["driver"]
    probe = DOCUMENT if driver == "n5" else INFO if driver == PRECOMPUTED else PROBES[ZARR_VERSIONS[driver]]
    source = await opener.guard.follow_redirects(source, probe)
    return Place(source, {**opener.guard.check_spec(spec), "kvstore": source.kvstore})


async def _open(opener: Opener, place: Place) -> ts.TensorStore:
    what = place.source.name
    try:
        ts.Spec({**place.spec, "kvstore": {"driver": "memory"}})  # whose errors hold no path
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{what}: not a valid spec: {str(error).split(' [', 1)[0]}") from error
    kvstore = await _readable(opener, place)
    return await opener.open({**place.spec, "kvstore": kvstore}, what)


async def _readable(opener: Opener, place: Place) -> Mapping[str, Any]:
    """The spec's store, its metadata as TensorStore reads it; what it cannot read is refused by its name."""
    if place.driver in ZARR_VERSIONS:
        node = await read_node(opener, place.source, ZARR_VERSIONS[place.driver])
        if node is not None:
            _check_codec(node.metadata(opener).foreign, "zarr", place)
            return await node.kvstore(opener)
    if place.driver == "n5":
        attributes = await opener.read_json(place.source, DOCUMENT)
        if attributes is not None:
            array = parse_array(attributes, place.source.name)
            _check_codec("lz4" if array.is_lz4 else None, "n5", place)
            return await opener.overlay(place.source, DOCUMENT, {**attributes, **array.document})
    if place.driver == PRECOMPUTED:
        await opener.read_start(place.source, INFO, 1)  # that it is there (``Opener.presence``); TensorStore reads it
    return place.source.kvstore


def _check_codec(foreign: str | None, backend: str, place: Place) -> None:
    """
    Raises:
        InvalidRequest: a codec that TensorStore lacks.
    """
    if foreign is not None:
        raise InvalidRequest(
            f"{place.source.name}: codec {foreign!r} cannot be read through a TensorStore spec;"
            f" register the folder under the backend {backend!r}"
        )


def _axes(option: object, place: Place, store: ts.TensorStore) -> str:
    by_rank = SLOWEST_FIRST if place.driver in ZARR_VERSIONS else FASTEST_FIRST
    return choose_axes(option, axes_of_names(store.domain.labels), by_rank, store.rank, place.source.name)


def _voxel_sizes(
    stores: Sequence[ts.TensorStore], axes: Sequence[str], mags: object
) -> tuple[list[Float3], tuple[str, ...]]:
    """Nanometres per level: of the arrays' dimension units, the entry's mags, or one for all, which means unknown."""
    measured = [_measured(store, letters) for store, letters in zip(stores, axes, strict=True)]
    known = [size for size in measured if size is not None]
    if mags is not None:
        x, y, z = measured[0] or UNKNOWN_SIZE
        first, *_ = factors = _mags(mags, len(stores))
        sizes = [(x * f[0] / first[0], y * f[1] / first[1], z * f[2] / first[2]) for f in factors]
        return sizes, () if measured[0] else (SIZE_NOTE,)
    if len(known) == len(stores):
        return known, ()
    return [measured[0] or UNKNOWN_SIZE] * len(stores), () if measured[0] else (SIZE_NOTE,)


def _measured(store: ts.TensorStore, axes: str) -> Float3 | None:
    """x, y, z from the units of the dimensions; None if x, y or a z that is there has none that is a length."""
    units = dict(zip(axes, store.dimension_units, strict=True))
    sizes = [_nm(units[letter]) if letter in units else 1.0 for letter in "xyz"]
    x, y, z = (size or 0.0 for size in sizes)
    return (x, y, z) if min(x, y, z) > 0 else None


def _nm(unit: ts.Unit | None) -> float | None:
    factor = nm_per_unit(unit.base_unit) if unit is not None else None
    return unit.multiplier * factor if unit is not None and factor is not None else None


def _mags(mags: object, count: int) -> list[Vec3]:
    if isinstance(mags, list) and len(mags) == count and all(_is_mag(mag) for mag in mags):
        found = [(mag[0], mag[1], mag[2]) for mag in mags]
        if len(set(found)) == count:
            return found
    raise InvalidRequest(
        f"mags: expected {count} lists [x, y, z] of positive whole numbers, no two alike, got {mags!r}"
    )


def _is_mag(mag: object) -> bool:
    return (
        isinstance(mag, list)
        and len(mag) == 3
        and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in mag)
    )
