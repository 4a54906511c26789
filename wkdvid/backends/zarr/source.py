"""Opens zarr arrays and OME-Zarr images, through TensorStore where it can read them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from wkdvid.backends.array_layer import SIZE_NOTE, UNKNOWN_SIZE, ArrayLayer, ArrayLevel, make_volumes
from wkdvid.backends.axes import SLOWEST_FIRST, choose_axes
from wkdvid.backends.opening import Opener
from wkdvid.backends.stored_files import open_files
from wkdvid.backends.zarr.foreign import open_foreign
from wkdvid.backends.zarr.nodes import LISTED, Node, find_node, image_paths, read_level
from wkdvid.backends.zarr.ome import OmeLevel, dataset_paths, named_axes, parse_image
from wkdvid.core.entries import LayerEntry
from wkdvid.core.volume import Volume
from wkdvid.errors import InvalidRequest
from wkdvid.extras import install, is_installed

OPTIONS = frozenset({"source", "axes", "channel", "t", "box"})
MARKERS = ("zarr.json", ".zattrs", ".zarray", ".zgroup")


async def open_layer(entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
    """Open an array or an image.

    Raises:
        InvalidRequest: it is neither, or one that cannot be read; with what would help.
        BackendError: it cannot be reached.
    """
    node = await find_node(opener, entry.options.get("source"))
    layer = await (_plain(entry, opener, node) if node.array is not None else _image(entry, opener, node))
    return make_volumes(entry, opener, layer)


async def _plain(entry: LayerEntry, opener: Opener, node: Node) -> ArrayLayer:
    what = node.source.name
    array = node.metadata(opener)
    axes = choose_axes(entry.options.get("axes"), array.axes, SLOWEST_FIRST, array.rank, what)
    level = await _open(opener, node, axes, OmeLevel(UNKNOWN_SIZE, (0, 0, 0)))
    return ArrayLayer(what=what, format="zarr", levels=[level], notes=() if entry.voxel_size_nm else (SIZE_NOTE,))


async def _image(entry: LayerEntry, opener: Opener, group: Node) -> ArrayLayer:
    what = group.source.name
    multiscale, notes = await _multiscale(opener, group)
    paths = dataset_paths(multiscale, what)
    opener.check_levels(len(paths), what)
    nodes = await asyncio.gather(*(_array(opener, group, path) for path in paths))
    ranks = [node.metadata(opener).rank for node in nodes]
    if len(set(ranks)) > 1:
        raise InvalidRequest(f"{what}: the levels have {ranks} dimensions")
    axes = choose_axes(entry.options.get("axes"), named_axes(multiscale), SLOWEST_FIRST, ranks[0], what)
    image = parse_image(multiscale, axes, what)
    return ArrayLayer(
        what=what,
        format="zarr",
        levels=await asyncio.gather(
            *(_open(opener, node, axes, level) for node, level in zip(nodes, image.levels, strict=True))
        ),
        category="segmentation" if "image-label" in group.ome else "color",
        notes=(*notes, *(() if entry.voxel_size_nm else image.notes)),
    )


async def _multiscale(opener: Opener, group: Node) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    multiscales = group.ome.get("multiscales")
    if not isinstance(multiscales, list) or not multiscales or not isinstance(multiscales[0], dict):
        paths = await image_paths(opener, group)
        listed = f"; it holds {', '.join(paths[:LISTED])}" if paths else ""
        raise InvalidRequest(f"{group.source.name}: a zarr group that is no image; name one in it{listed}")
    several = (
        f"The source has {len(multiscales)} multiscale images, of which the first is served: make groups of their own"
        " of the others."
    )
    return multiscales[0], (several,) if len(multiscales) > 1 else ()


async def _array(opener: Opener, group: Node, path: str) -> Node:
    node = await read_level(opener, group, path)
    if node is None:
        raise InvalidRequest(f"{group.source.name}: there is no array {path!r}, which multiscales names")
    return node


async def _open(opener: Opener, node: Node, axes: str, place: OmeLevel) -> ArrayLevel:
    """
    Raises:
        InvalidRequest: a codec whose package is not installed.
        InvalidRequest, BackendError: as ``Opener.open`` and ``Opener.check_ranges``.
    """
    metadata = node.metadata(opener)
    if metadata.sharded:
        await opener.check_ranges(node.source, "zarr.json")
    foreign = metadata.foreign
    fill_value = None
    if foreign is None:
        store = await node.open(opener)
    elif is_installed("zarr"):
        store, fill_value = await open_foreign(opener, node)
    else:
        raise InvalidRequest(f"{node.source.name}: codec {foreign!r} needs a package: {install('codecs')}")
    files = await open_files(opener, node.source, "zarr2" if node.version == 2 else "zarr3", axes)
    return ArrayLevel(
        store=store,
        encoding=foreign,
        fill_value=fill_value,
        axes=axes,
        voxel_size_nm=place.voxel_size_nm,
        voxel_offset=place.voxel_offset,
        files=files,
    )
