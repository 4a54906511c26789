"""What stands beside the scales of a precomputed volume: files of meshes and skeletons; and a dataset's annotations."""

from __future__ import annotations

from urllib.parse import unquote

import orjson

from wkdvid.core.annotations import View
from wkdvid.core.geometry import Float3
from wkdvid.core.layers import Layer
from wkdvid.core.limits import Limits
from wkdvid.core.segments import StoresSegments
from wkdvid.core.volume import ReadsFiles
from wkdvid.errors import NotFound
from wkdvid.export.annotations import tree
from wkdvid.export.annotations.precomputed import TYPES
from wkdvid.export.precomputed import MESHES, SKELETONS
from wkdvid.frontends.files import Part, read_part
from wkdvid.frontends.ranges import ByteRange

ANNOTATIONS = "annotations"
"""Where a layer of this name would be, its kinds' folders are beside what that has."""


def is_of_annotations(layer: str, path: str) -> bool:
    return layer == ANNOTATIONS and path.partition("/")[0] in TYPES


def is_of_segments(path: str) -> bool:
    return path.startswith((f"{MESHES}/", f"{SKELETONS}/"))


async def segment_file(layer: Layer, path: str, asked: ByteRange | None, limits: Limits) -> Part:
    """
    Raises:
        NotFound: there is no such file; a reader takes that for a segment that has none.
        TooLarge: it is asked for whole, and too large for that.
        BackendError: it cannot be read.
    """
    folder, _, key = path.partition("/")
    files = await _files(layer, folder)
    if files is None:
        raise NotFound(f"layer {layer.info.name!r} has no {folder}")
    return await read_part(files, unquote(key), asked, limits)


async def _files(layer: Layer, folder: str) -> ReadsFiles | None:
    source = layer.volume
    if layer.info.category != "segmentation" or not isinstance(source, StoresSegments):
        return None
    return await source.mesh_files() if folder == MESHES else await source.skeleton_files()


async def annotation_file(view: View | None, path: str, voxel_size_nm: Float3) -> bytes:
    """
    Raises:
        NotFound: there is no such file, or there are no annotations.
        DatabaseUnavailable: the database does not answer.
    """
    if view is None:
        raise NotFound("there are no annotations")
    match path.split("/"):
        case [kind, "info"]:
            return orjson.dumps(await tree.info(view.store, view.wanted, kind, voxel_size_nm))
        case [kind, "by_id", number]:
            return await tree.by_id(view.store, view.wanted, kind, number)
        case [kind, "spatial", grid, cell]:
            return await tree.cell(view.store, view.wanted, kind, grid, cell)
    raise NotFound(f"annotations have no {path[:200]!r}")
