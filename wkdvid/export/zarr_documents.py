"""What zarr and OME-Zarr say of groups and arrays, in both generations: zarr 2 with OME-Zarr 0.4, zarr 3 with 0.5.

A node is described by one document (``zarr.json``), or in zarr 2 by several; here each is by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from wkdvid.codecs import blosc_frame
from wkdvid.core.geometry import Float3

ZarrFormat: TypeAlias = Literal[2, 3]
Document: TypeAlias = dict[str, Any]

ARRAY_NAMES: Mapping[ZarrFormat, str] = {2: ".zarray", 3: "zarr.json"}
OME_VERSIONS: Mapping[ZarrFormat, str] = {2: "0.4", 3: "0.5"}
UNIT = "nanometer"
_BLOSC = {"cname": blosc_frame.COMPRESSOR, "clevel": blosc_frame.LEVEL, "blocksize": 0}
_KEYS = {".": "v2", "/": "default"}
"""How zarr 3 calls the names of chunks, by what stands between their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayForm:
    """One array. Voxels that no chunk has are 0."""

    dtype: np.dtype[Any]
    axes: str
    """One letter for each dimension."""
    shape: Sequence[int]
    chunk_shape: Sequence[int]
    fortran: bool = False
    """Whether the first dimension is the fastest in the bytes of a chunk, else the last."""
    separator: Literal[".", "/"] = "/"
    blosc: bool = True
    """Whether chunks are frames of ``codecs.blosc_frame``."""


def group(zarr_format: ZarrFormat, attributes: Document | None = None) -> Mapping[str, Document]:
    if zarr_format == 3:
        return {"zarr.json": {"zarr_format": 3, "node_type": "group", "attributes": attributes or {}}}
    return {".zgroup": {"zarr_format": 2}, **({} if attributes is None else {".zattrs": attributes})}


def image(zarr_format: ZarrFormat, multiscale: Document, **more: Any) -> Mapping[str, Document]:
    """The group of the levels of an image.

    Args:
        multiscale: As ``multiscale`` makes it.
        more: What is told beside it, such as ``omero``.
    """
    version = OME_VERSIONS[zarr_format]
    if zarr_format == 3:
        return group(3, {"ome": {"version": version, "multiscales": [multiscale], **more}})
    return group(2, {"multiscales": [{"version": version, **multiscale}], **more})


def multiscale(name: str, axes: str, levels: Mapping[str, tuple[Float3, Float3 | None]], unit: str = UNIT) -> Document:
    """The member of ``multiscales`` that describes an image.

    Args:
        axes: One letter for each dimension.
        levels: By path, finest first: the size of a voxel (x, y, z), and where the centre of the first one is; None: at
            the origin, without a word.
    """
    return {
        "name": name,
        "axes": [_axis(axis, unit) for axis in axes],
        "datasets": [
            {"path": path, "coordinateTransformations": _transformations(axes, *level)}
            for path, level in levels.items()
        ],
    }


def _axis(axis: str, unit: str) -> Document:
    return {"name": "c", "type": "channel"} if axis == "c" else {"name": axis, "type": "space", "unit": unit}


def _transformations(axes: str, size: Float3, translation: Float3 | None) -> list[Document]:
    scale = {"type": "scale", "scale": _by_axes(axes, size, 1.0)}
    if translation is None:
        return [scale]
    return [scale, {"type": "translation", "translation": _by_axes(axes, translation, 0.0)}]


def _by_axes(axes: str, vector: Float3, of_channel: float) -> list[float]:
    values = {**dict(zip("xyz", vector, strict=True)), "c": of_channel}
    return [values[axis] for axis in axes]


def array(zarr_format: ZarrFormat, form: ArrayForm) -> Document:
    """``.zarray`` (zarr 2 specification) or ``zarr.json`` (zarr 3 specification)."""
    return _array2(form) if zarr_format == 2 else _array3(form)


def _array2(form: ArrayForm) -> Document:
    shuffle = int(blosc_frame.shuffles(form.dtype.itemsize))
    return {
        "zarr_format": 2,
        "dtype": form.dtype.str,
        "order": "F" if form.fortran else "C",
        "shape": form.shape,
        "chunks": form.chunk_shape,
        "compressor": {"id": "blosc", "shuffle": shuffle, **_BLOSC} if form.blosc else None,
        "filters": None,
        "fill_value": 0,
        "dimension_separator": form.separator,
    }


def _array3(form: ArrayForm) -> Document:
    keys = {"name": _KEYS[form.separator], "configuration": {"separator": form.separator}}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "data_type": form.dtype.name,
        "shape": form.shape,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": form.chunk_shape}},
        "chunk_key_encoding": keys,
        "fill_value": 0,
        "codecs": list(_codecs(form)),
        "dimension_names": list(form.axes),
        "attributes": {},
    }


def _codecs(form: ArrayForm) -> Sequence[Document]:
    """From voxels to bytes."""
    order = list(reversed(range(len(form.axes))))
    transpose = {"name": "transpose", "configuration": {"order": order}}
    size = form.dtype.itemsize
    shuffle = "shuffle" if blosc_frame.shuffles(size) else "noshuffle"
    blosc = {"name": "blosc", "configuration": {"typesize": size, "shuffle": shuffle, **_BLOSC}}
    as_bytes = {"name": "bytes", "configuration": {"endian": "little"}}
    return (*((transpose,) if form.fortran else ()), as_bytes, *((blosc,) if form.blosc else ()))
