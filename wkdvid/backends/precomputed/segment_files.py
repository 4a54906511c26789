"""The folders of meshes and skeletons as files, for programs that read them themselves. Nothing else is handed out.

What an entry says of the voxel size stretches them: in the transformation that their ``info`` tells, or, where there is
none, in the files.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import orjson

from wkdvid.backends.opening import Opener, parse_document
from wkdvid.backends.precomputed.folder import Folder, open_folder
from wkdvid.backends.precomputed.manifest import FRAGMENT_NAME, LEGACY, MULTI_LOD, legacy_fragments, parse_multi_lod
from wkdvid.backends.precomputed.meshes import mesh_info, read_legacy_fragment
from wkdvid.backends.precomputed.skeletons import IDENTITY, parse_skeleton_info, skeleton_info
from wkdvid.backends.stored_files import Files
from wkdvid.backends.stored_objects import TooShort, open_objects
from wkdvid.codecs import surface
from wkdvid.core.geometry import Float3
from wkdvid.core.source import Source
from wkdvid.errors import TooLarge

ReadKey: TypeAlias = Callable[[str], Awaitable[bytes | None]]
"""None: there is none of this name. Raises BackendError."""

_ID = "(?:0|[1-9][0-9]{0,19})"
_SHARD = re.compile(r"[0-9a-f]+\.shard")
_MESH, _MESH_MANIFEST = re.compile(_ID), re.compile(rf"{_ID}\.index")
_LEGACY_MANIFEST = re.compile(f"{_ID}:0")
_SKELETON = re.compile(_ID)
_NOTHING = re.compile(r"(?!)")


class SegmentFiles:
    """As ``core.volume.ReadsFiles``: ``info``, small files that are read whole, and others that are read in parts."""

    def __init__(self, info: Mapping[str, Any], read_small: ReadKey, large: Files) -> None:
        self._info = orjson.dumps(info)
        self._read_small = read_small
        self._large = large

    async def length(self, key: str) -> int | None:
        small = await self._small(key)
        return len(small) if small is not None else await self._large.length(key)

    async def read(self, key: str, start: int, stop: int) -> bytes | None:
        small = await self._small(key)
        if small is None:
            return await self._large.read(key, start, stop)
        if stop > len(small):
            raise TooShort(f"{key}: has no bytes {start} to {stop}")
        return small[start:stop]

    async def read_whole(self, key: str, limit: int) -> bytes | None:
        small = await self._small(key)
        if small is None:
            return await self._large.read_whole(key, limit)
        if len(small) > limit:
            raise TooLarge(f"{key}: has more than {limit} bytes; ask for a part of it")
        return small

    async def _small(self, key: str) -> bytes | None:
        return self._info if key == "info" else await self._read_small(key)


async def open_mesh_files(opener: Opener, source: Source, key: str, stretch: Float3) -> SegmentFiles:
    """Arguments and errors as ``meshes.open_meshes``."""
    folder = await open_folder(opener, source, key)
    document = await mesh_info(folder)
    if document["@type"] == LEGACY:
        return SegmentFiles({"@type": LEGACY}, _legacy(folder, stretch), await _large(folder, _NOTHING))
    info = parse_multi_lod(document, folder.where("info"))
    known = ("vertex_quantization_bits", "lod_scale_multiplier", "sharding")
    told = {
        "@type": MULTI_LOD,
        "transform": _stretched(document["transform"], stretch),
        **{name: document[name] for name in known if name in document},
    }
    if info.sharding is not None:
        return SegmentFiles(told, _small(folder, _NOTHING), await _large(folder, _SHARD))
    return SegmentFiles(told, _small(folder, _MESH_MANIFEST), await _large(folder, _MESH))


async def open_skeleton_files(opener: Opener, source: Source, key: str, stretch: Float3) -> SegmentFiles:
    """Arguments and errors as ``skeletons.open_skeletons``."""
    folder = await open_folder(opener, source, key)
    document = await skeleton_info(folder)
    info = parse_skeleton_info(document, folder.where("info"))
    told = {
        "@type": document["@type"],
        "transform": _stretched(document.get("transform", IDENTITY), stretch),
        **{name: document[name] for name in ("vertex_attributes", "sharding") if name in document},
    }
    if info.sharding is not None:
        return SegmentFiles(told, _small(folder, _NOTHING), await _large(folder, _SHARD))
    return SegmentFiles(told, _small(folder, _SKELETON), await _large(folder, _NOTHING))


def _stretched(transform: object, stretch: Float3) -> list[float]:
    """Rows of four, which were checked."""
    rows: list[float] = (np.array(transform, np.float64).reshape(3, 4) * np.array(stretch)[:, None]).ravel().tolist()
    return rows


async def _large(folder: Folder, keys: re.Pattern[str]) -> Files:
    return Files(await open_objects(folder.source, folder.opener.context), folder.opener, keys)


def _small(folder: Folder, keys: re.Pattern[str]) -> ReadKey:
    async def read(key: str) -> bytes | None:
        return await folder.read(key, folder.opener.limits.chunk_bytes) if keys.fullmatch(key) else None

    return read


def _legacy(folder: Folder, stretch: Float3) -> ReadKey:
    """Names of fragments are any: what is no fragment is not handed out."""

    async def read(key: str) -> bytes | None:
        if _LEGACY_MANIFEST.fullmatch(key):
            return await _legacy_manifest(folder, key)
        found = await read_legacy_fragment(folder, key) if FRAGMENT_NAME.fullmatch(key) else None
        if found is None:
            return None
        vertices, faces = found
        return surface.ngmesh([((vertices * np.array(stretch)).astype("<f4"), faces)])

    return read


async def _legacy_manifest(folder: Folder, key: str) -> bytes | None:
    text = await folder.read(key, folder.opener.limits.metadata_bytes)
    if text is None:
        return None
    where = folder.where(key)
    return orjson.dumps({"fragments": legacy_fragments(await asyncio.to_thread(parse_document, text, where), where)})
