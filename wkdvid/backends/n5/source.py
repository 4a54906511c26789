"""Opens N5 arrays and pyramids, through TensorStore where it can read them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorstore as ts

from wkdvid.backends.array_layer import ArrayLayer, ArrayLevel, make_volumes
from wkdvid.backends.axes import FASTEST_FIRST, choose_axes
from wkdvid.backends.n5.lz4 import open_lz4
from wkdvid.backends.n5.metadata import ArrayMetadata, parse_array
from wkdvid.backends.n5.pyramid import Place, count_of_levels, listed_paths, place_levels
from wkdvid.backends.opening import Opener
from wkdvid.backends.stored_files import open_files
from wkdvid.core.entries import LayerEntry
from wkdvid.core.source import Source
from wkdvid.core.volume import Category, Volume
from wkdvid.errors import AuthRejected, CorruptChunk, InvalidRequest

OPTIONS = frozenset({"source", "axes", "channel", "t"})
DOCUMENT = "attributes.json"
MARKERS = (DOCUMENT, f"s0/{DOCUMENT}")
INHERITED = ("downsamplingFactors", "scales", "pixelResolution", "resolution", "units")
"""What a level takes from the groups above it."""
GUESSED_LEVELS = 8
"""Asked for at a time where nothing says how many there are."""
LARGEST_ID = 2**64 - 1
VARLENGTH_MODES = (1, 2)
"""The mode, a big-endian uint16, that a block begins with: 0 is the plain one (N5 specification)."""


@dataclass(frozen=True, slots=True)
class Pyramid:
    source: Source
    group: Mapping[str, Any]
    """Attributes of the group, with those it inherits."""
    levels: Mapping[str, Mapping[str, Any]]
    """Attributes of each level by its path, s0 first."""
    category: Category = "color"
    is_timepoint: bool = False
    """``t`` has chosen its folder, and means no axis."""


async def open_layer(entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
    """Open an array or a pyramid.

    Raises:
        InvalidRequest: it is neither, or one that cannot be read; with what would help.
        BackendError: it cannot be reached.
    """
    source = await opener.source(entry.options.get("source"), DOCUMENT)
    pyramid = await _find(opener, source, entry.options)
    what = pyramid.source.name
    arrays = [parse_array(attributes, f"{what} ({path})") for path, attributes in pyramid.levels.items()]
    places, notes = place_levels(pyramid.group, list(pyramid.levels.values()), what)
    if pyramid.is_timepoint:
        entry = replace(entry, options={name: value for name, value in entry.options.items() if name != "t"})
    children = [opener.guard.child(pyramid.source, path) for path in pyramid.levels]
    await _check_mode(opener, children[-1], arrays[-1])
    opened = [
        _open(opener, source, array, place, entry.options)
        for source, array, place in zip(children, arrays, places, strict=True)
    ]
    largest = pyramid.group.get("maxId")
    layer = ArrayLayer(
        what=what,
        format="n5",
        levels=await asyncio.gather(*opened),
        category=pyramid.category,
        notes=() if entry.voxel_size_nm else notes,
        largest_segment_id=largest if type(largest) is int and 0 < largest <= LARGEST_ID else None,
    )
    return make_volumes(entry, opener, layer)


async def _open(
    opener: Opener, source: Source, array: ArrayMetadata, place: Place, options: Mapping[str, Any]
) -> ArrayLevel:
    what = source.name
    named = place.axes if place.axes is not None and len(place.axes) == array.rank else array.axes
    axes = choose_axes(options.get("axes"), named, FASTEST_FIRST, array.rank, what)
    return ArrayLevel(
        store=await (open_lz4(opener, source, array) if array.is_lz4 else _open_by_tensorstore(opener, source, array)),
        encoding="lz4" if array.is_lz4 else None,
        axes=axes,
        voxel_size_nm=place.voxel_size_nm,
        voxel_offset=place.voxel_offset,
        files=await open_files(opener, source, "n5", axes),
    )


async def _open_by_tensorstore(opener: Opener, source: Source, array: ArrayMetadata) -> ts.TensorStore:
    kvstore = await opener.overlay(source, DOCUMENT, array.document)
    return await opener.open({"driver": "n5", "kvstore": kvstore}, source.name)


async def _check_mode(opener: Opener, source: Source, array: ArrayMetadata) -> None:
    """Nothing but the blocks themselves says that they are of variable length; the first of a level is asked."""
    block = await opener.read_start(source, "/".join("0" * array.rank), 2)
    if block is not None and int.from_bytes(block, "big") in VARLENGTH_MODES:
        raise InvalidRequest(f"{source.name}: varlength blocks cannot be read; write the array with plain blocks")


async def _find(opener: Opener, source: Source, options: Mapping[str, Any]) -> Pyramid:
    """The levels of what a folder is: an array, a pyramid, Paintera's group of one, or BigDataViewer's setup."""
    own = await _group(opener, source)
    paintera = own.get("painteraData")
    if isinstance(paintera, dict):
        return await _paintera(opener, source, own, paintera)
    if "dimensions" in own:
        above = await _inherited(opener, source)
        return Pyramid(source, above, {"": _with_factors(source, own, above)})
    above, levels = await asyncio.gather(_inherited(opener, source), _levels(opener, source, own))
    if levels:
        return Pyramid(source, {**above, **own}, levels)
    return await _timepoint(opener, source, own, options.get("t") or 0)


async def _group(opener: Opener, source: Source) -> dict[str, Any]:
    """Attributes, which a group need not have. Some buckets refuse what they lack: its levels tell if so."""
    try:
        return await opener.read_json(source, DOCUMENT) or {}
    except AuthRejected:
        return {}


def _with_factors(source: Source, own: Mapping[str, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    """A level that is named alone, such as ``.../s1``, has its factors from the list of the group above it."""
    name = re.search(r"/s(\d+)/$", source.path)
    listed = above.get("downsamplingFactors", above.get("scales"))
    if name is None or not isinstance(listed, list) or int(name[1]) >= len(listed):
        return own
    return {"downsamplingFactors": listed[int(name[1])], **own}


async def _paintera(opener: Opener, source: Source, own: Mapping[str, Any], paintera: Mapping[str, Any]) -> Pyramid:
    data = opener.guard.child(source, "data")
    group = await _group(opener, data)
    if group.get("isLabelMultiset"):
        parse_array(group, data.name)
    levels = await _levels(opener, data, group)
    if not levels:
        raise InvalidRequest(f"{source.name}: painteraData without the levels data/s0, data/s1...")
    category: Category = "segmentation" if paintera.get("type") == "label" else "color"
    return Pyramid(data, {**own, **group}, levels, category)


async def _levels(opener: Opener, source: Source, group: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Attributes of the levels that the group lists, else of s0, s1... up to the first that is not there."""
    paths = listed_paths(group)
    if paths is None:
        return await _numbered(opener, source, count_of_levels(group))
    opener.check_levels(len(paths), source.name)
    found = await _attributes(opener, source, paths)
    if None in found:
        raise InvalidRequest(f"{source.name}: there is no array {paths[found.index(None)]!r}, which multiscales names")
    return {path: document for path, document in zip(paths, found, strict=True) if document is not None}


async def _numbered(opener: Opener, source: Source, count: int | None) -> dict[str, Mapping[str, Any]]:
    """s0, s1... up to the first that is not there: as many at a time as there should be, if one knows that."""
    opener.check_levels(count or 0, source.name)
    step = count or GUESSED_LEVELS
    levels: dict[str, Mapping[str, Any]] = {}
    for first in range(0, count or opener.limits.levels + 1, step):
        paths = [f"s{i}" for i in range(first, first + step)]
        found = await _attributes(opener, source, paths, refusal_is_absence=first > 0)
        for path, document in zip(paths, found, strict=True):
            if document is None:
                return levels
            levels[path] = document
    return levels


async def _attributes(
    opener: Opener, source: Source, paths: Sequence[str], *, refusal_is_absence: bool = False
) -> list[dict[str, Any] | None]:
    try:
        return await opener.read_documents([(opener.guard.child(source, path), DOCUMENT) for path in paths])
    except AuthRejected:
        if refusal_is_absence:
            return [None] * len(paths)
        raise


async def _inherited(opener: Opener, source: Source) -> dict[str, Any]:
    """What the two folders above say."""
    documents = await asyncio.gather(*(_above(opener, source, key) for key in ("../..", "..")))
    return {name: document[name] for document in documents for name in INHERITED if name in document}


async def _above(opener: Opener, source: Source, key: str) -> Mapping[str, Any]:
    """A folder that may not be looked at, or is no N5 group, says nothing."""
    try:
        return await opener.read_json(opener.guard.child(source, key), DOCUMENT) or {}
    except (InvalidRequest, AuthRejected, CorruptChunk):
        return {}


async def _timepoint(opener: Opener, source: Source, own: Mapping[str, Any], t: object) -> Pyramid:
    """BigDataViewer: ``setupN/timepointM/sK``; the source names the setup or the time point."""
    timepoint = opener.guard.child(source, f"timepoint{t}")
    group = await _group(opener, timepoint)
    levels = await _levels(opener, timepoint, {**own, **group})
    if levels:
        return Pyramid(timepoint, {**own, **group}, levels, is_timepoint=True)
    raise InvalidRequest(
        f"{source.name}: there is no N5 array (attributes.json with dimensions) nor a pyramid of them (s0, s1...);"
        " name one, of BigDataViewer a setup such as setup0"
    )
