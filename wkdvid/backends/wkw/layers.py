"""What a layer is: as ``datasource-properties.json`` of its dataset describes it, or as its folder lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from wkdvid.backends.array_layer import SIZE_NOTE, UNKNOWN_SIZE
from wkdvid.backends.opening import Opener
from wkdvid.backends.quoting import plain
from wkdvid.backends.wkw.mags import StoredMag, described_places, listed_places, open_mags
from wkdvid.backends.wkw.properties import PROPERTIES_FILE, DatasetProperties, LayerProperties, parse_properties
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import Float3
from wkdvid.core.source import Source
from wkdvid.core.volume import Category
from wkdvid.errors import AuthRejected, InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    what: str
    """The source, for messages."""
    mags: Sequence[StoredMag]
    voxel_size_nm: Float3
    """Of mag 1."""
    category: Category = "color"
    """Where the entry does not say."""
    largest_segment_id: int | None = None
    notes: tuple[str, ...] = ()


async def described(entry: LayerEntry, opener: Opener, source: Source) -> Layer | None:
    """The layer as the properties of the dataset have it, if the source is in a dataset."""
    found = await _properties(opener, source)
    if found is None:
        return None
    folder, document = found
    dataset = parse_properties(document, folder.name)
    layer = _choose(dataset, entry, None if folder is source else _folder_name(source), folder.name)
    if layer is None:
        return None
    mags, notes = await open_mags(opener, folder, described_places(layer))
    is_first = layer is next(other for other in dataset.layers.values() if other.backend == "wkw")
    return Layer(
        what=f"{folder.name}, layer {plain(layer.name)}",
        mags=mags,
        voxel_size_nm=dataset.voxel_size_nm,
        category=layer.category,
        largest_segment_id=layer.largest_segment_id,
        notes=(
            *(() if entry.voxel_size_nm else dataset.notes),
            *layer.notes,
            *_element_notes(layer, mags[0]),
            *notes,
            *(f"A layer is left out: {plain(reason, 300)}." for reason in dataset.left_out.values() if is_first),
        ),
    )


async def _properties(opener: Opener, source: Source) -> tuple[Source, Mapping[str, Any]] | None:
    """The dataset's folder, which is the source or the one above it, and its properties."""
    refusal: AuthRejected | None = None
    for folder in (source, *_above(opener, source)):
        try:
            document = await opener.read_json(folder, PROPERTIES_FILE)
        except AuthRejected as error:  # some buckets refuse what they lack
            refusal = error
            continue
        if document is not None:
            return folder, document
    if refusal is not None:
        raise refusal
    return None


def _above(opener: Opener, source: Source) -> Sequence[Source]:
    """The folder above, if it may be looked at."""
    try:
        return (opener.guard.child(source, ".."),)
    except InvalidRequest:
        return ()


def _folder_name(source: Source) -> str:
    path = unquote(source.path) if source.is_http else source.path
    return path.rstrip("/").rpartition("/")[2]


def _choose(dataset: DatasetProperties, entry: LayerEntry, folder: str | None, what: str) -> LayerProperties | None:
    """The layer that an entry means: the one it names, or the only one; or that of a folder, None if there is none.

    Raises:
        InvalidRequest: the properties have no such layer, or one that cannot be read here.
    """
    chosen = entry.options.get("layer")
    name = folder or (entry.name if chosen is None else chosen)
    readable = {layer.name: layer for layer in dataset.layers.values() if layer.backend == "wkw"}
    if not isinstance(name, str):
        raise InvalidRequest(f"layer: expected the name of a layer, got {name!r}")
    if name in readable:
        return readable[name]
    if name in dataset.left_out:
        raise InvalidRequest(dataset.left_out[name])
    if name in dataset.layers:
        raise InvalidRequest(
            f"{what}: layer {plain(name)} is stored as zarr; name its own folder, with the backend zarr"
        )
    if folder is not None:
        return None
    if chosen is None and len(readable) == 1:
        return next(iter(readable.values()))
    if not readable and dataset.left_out:
        raise InvalidRequest("; ".join(dataset.left_out.values()))
    raise InvalidRequest(
        f"{what}: there is no WKW layer {plain(name)!r}; it has {plain(', '.join(readable), 500) or 'none'}"
    )


def _element_notes(layer: LayerProperties, mag: StoredMag) -> tuple[str, ...]:
    stored = mag.header.grid.voxels
    if layer.element in (None, stored):
        return ()
    return (f"{PROPERTIES_FILE} says {layer.element}; the files have {stored}, which is served.",)


async def listed(entry: LayerEntry, opener: Opener, source: Source) -> Layer:
    """The layer as its folder has it, which says nothing but what the mags' folders are called."""
    places = await listed_places(opener, source)
    if not places:
        raise InvalidRequest(
            f"{source.name}: there is no {PROPERTIES_FILE}, nor in the folder above"
            + ("; a web server does not list the mags of a layer" if source.is_http else ", and there are no mags")
        )
    mags, notes = await open_mags(opener, source, places)
    size_notes = () if entry.voxel_size_nm else (SIZE_NOTE,)
    return Layer(what=source.name, mags=mags, voxel_size_nm=UNKNOWN_SIZE, notes=(*size_notes, *notes))
