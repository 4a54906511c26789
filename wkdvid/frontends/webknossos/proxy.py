"""The stored files of layers, for clients that read the formats themselves (webknossos.md B.11, mode PROXY_PATH)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wkdvid.core.geometry import parse_mag
from wkdvid.core.layers import Layer
from wkdvid.core.volume import FileFormat, StoredFiles, StoresFiles
from wkdvid.errors import NotFound

DATA_FORMATS: Mapping[FileFormat, str] = {
    "zarr2": "zarr",
    "zarr3": "zarr3",
    "n5": "n5",
    "precomputed": "neuroglancerPrecomputed",
}


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
