"""The stored files of layers, for clients that read the formats themselves (webknossos.md B.11, mode PROXY_PATH)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from wkdvid.core.geometry import parse_mag
from wkdvid.core.layers import Layer
from wkdvid.core.limits import Limits
from wkdvid.core.volume import FileFormat, StoredFiles, StoresFiles
from wkdvid.errors import CorruptChunk, NotFound, TooLarge
from wkdvid.frontends.ranges import ByteRange

Found = TypeVar("Found")

DATA_FORMATS: Mapping[FileFormat, str] = {
    "zarr2": "zarr",
    "zarr3": "zarr3",
    "n5": "n5",
    "precomputed": "neuroglancerPrecomputed",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A file or a part of it, as it is answered."""

    status: int
    body: bytes
    content_range: str | None = None


def stored(layer: Layer) -> dict[str, Any]:
    """What a DataSource says of a layer whose files are handed on; no mags where they cannot be."""
    files = _files(layer)
    mags = [_mag(layer, i, one) for i, one in enumerate(files)]
    return {"dataFormat": DATA_FORMATS[files[0].format] if files else "zarr3", "mags": mags}


def _files(layer: Layer) -> Sequence[StoredFiles]:
    """A client takes the last part of a path for the key of a precomputed scale, so that must be all of it."""
    files = layer.volume.files if isinstance(layer.volume, StoresFiles) else ()
    return () if any("/" in one.folder for one in files) else files


def _mag(layer: Layer, level: int, files: StoredFiles) -> dict[str, Any]:
    mag = layer.info.levels[level].mag
    path = f"./layers/{layer.info.name}/mags/{'-'.join(map(str, mag))}"
    if files.format == "precomputed":
        return {"mag": list(mag), "path": f"{path}/{files.folder}"}
    return {"mag": list(mag), "path": path, "axisOrder": {axis: files.axes.index(axis) for axis in files.axes}}


def find_files(layer: Layer, mag: str) -> StoredFiles:
    """
    Raises:
        NotFound: the layer has no files of such a mag that can be handed on.
    """
    wanted = parse_mag(mag)
    for level, files in zip(layer.info.levels, _files(layer), strict=False):
        if level.mag == wanted:
            return files
    raise NotFound(f"layer {layer.info.name!r} has no files of mag {mag[:40]!r}")


async def read_part(files: StoredFiles, key: str, asked: ByteRange | None, limits: Limits) -> Part:
    """
    Raises:
        NotFound: there is no such file. A reader takes that for data that was never written.
        TooLarge: what is asked for is over the limit.
        BackendError: it cannot be read.
    """
    if asked is None:
        return Part(200, _there(await files.read_whole(key, limits.unstreamed_bytes), key))
    if asked.first is not None and asked.last is not None:
        try:
            return await _read(files, key, range(asked.first, asked.last + 1), "*", limits)
        except CorruptChunk:
            pass  # it is shorter
    length = _there(await files.length(key), key)
    part = asked.of(length)
    if part is None:
        return Part(416, b"", f"bytes */{length}")
    return await _read(files, key, part, str(length), limits)


async def _read(files: StoredFiles, key: str, part: range, length: str, limits: Limits) -> Part:
    if len(part) > limits.unstreamed_bytes:
        raise TooLarge(f"{len(part)} bytes, the limit is {limits.unstreamed_bytes} (limits.unstreamed_bytes)")
    body = _there(await files.read(key, part.start, part.stop), key)
    return Part(206, body, f"bytes {part.start}-{part.stop - 1}/{length}")


def _there(found: Found | None, key: str) -> Found:
    if found is None:
        raise NotFound(f"there is no file {key[:200]!r} of this mag")
    return found
