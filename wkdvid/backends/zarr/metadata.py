"""``.zarray`` and ``zarr.json`` as values: what TensorStore cannot read is refused by its name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkdvid.backends.axes import axes_of_names
from wkdvid.backends.numbers import is_count
from wkdvid.backends.tensorstore_volume import DTYPES
from wkdvid.errors import InvalidRequest

COMPRESSORS = frozenset({"blosc", "zlib", "gzip", "bz2", "zstd"})
"""Of zarr v2, by ``id``."""
CODECS = frozenset({"bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed"})
"""Of zarr v3, by ``name``."""
NUMCODECS = frozenset(
    {
        *("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"),
        *("astype", "bitround", "delta", "fixedscaleoffset", "quantize", "shuffle"),
        *("adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3"),
    }
)
"""What zarr-python decodes beside: compressors and filters of v2, of v3 with ``numcodecs.`` before the name. Not those
of Python's objects, of which one (pickle) runs what it reads, nor zfpy, which reads on behind the end of its bytes."""
V3_NUMCODECS = frozenset(f"numcodecs.{name}" for name in NUMCODECS)
KEY_ENCODINGS = frozenset({"default", "v2"})
INDEX_ENTRY_BYTES = 16
"""Offset and size of one chunk in the index of its shard."""
_KINDS = {"u": "uint", "i": "int", "f": "float", "b": "bool", "c": "complex"}


@dataclass(frozen=True, slots=True)
class ArrayMetadata:
    rank: int
    axes: str | None
    """By the names of the dimensions, if all have one that is known."""
    foreign: str | None = None
    """A codec that TensorStore lacks, by its name."""
    sharded: bool = False


def parse_v2(array: Mapping[str, Any], attributes: Mapping[str, Any], what: str) -> ArrayMetadata:
    """
    Args:
        array: ``.zarray``.
        attributes: ``.zattrs``; xarray's ``_ARRAY_DIMENSIONS`` names the dimensions.
    Raises:
        InvalidRequest: something that is wrong or cannot be read, by its name.
    """
    rank = len(_list(array, "shape", what))
    _check_dtype(_v2_dtype(array.get("dtype")), what)
    compressor = array.get("compressor")
    given = [] if compressor is None else [_name(compressor, "id")]
    for name in given:
        _check_known(name, COMPRESSORS | NUMCODECS, "compressor", what)
    filters = [_name(codec, "id") for codec in _list(array, "filters", what, optional=True)]
    for name in filters:
        _check_known(name, NUMCODECS, "filter", what)
    foreign = [*(name for name in given if name not in COMPRESSORS), *filters]
    return ArrayMetadata(rank, _axes(attributes.get("_ARRAY_DIMENSIONS")), next(iter(foreign), None))


def parse_v3(array: Mapping[str, Any], index_bytes: int, what: str) -> ArrayMetadata:
    """
    Args:
        array: ``zarr.json`` of an array.
        index_bytes: Limit of a shard's index.
    Raises:
        InvalidRequest: something that is wrong or cannot be read, by its name.
    """
    rank = len(_list(array, "shape", what))
    _check_dtype(extension_name(array.get("data_type")), what)
    _check_known(extension_name(array.get("chunk_grid")), frozenset({"regular"}), "chunk grid", what)
    _check_known(extension_name(array.get("chunk_key_encoding")), KEY_ENCODINGS, "chunk key encoding", what)
    for transformer in _list(array, "storage_transformers", what, optional=True):
        _check_known(extension_name(transformer), frozenset(), "storage transformer", what)
    chunk_shape = _shape(configuration(array.get("chunk_grid")), what)
    codecs = _list(array, "codecs", what)
    _check_codecs(codecs, chunk_shape, index_bytes, what)
    sharding = sharding_of(array)
    foreign = [name for name in _names(codecs if sharding is None else sharding["codecs"]) if name in V3_NUMCODECS]
    axes = _axes(array.get("dimension_names"))
    return ArrayMetadata(rank, axes, next(iter(foreign), None), sharded=sharding is not None)


def sharding_of(array: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The configuration of ``sharding_indexed``, if that is all the codecs of a v3 array whose chunks are in shards."""
    codecs = array["codecs"]
    return configuration(codecs[0]) if _names(codecs) == ["sharding_indexed"] else None


def _names(codecs: Sequence[object]) -> list[str]:
    return [extension_name(codec) for codec in codecs]


def _check_codecs(
    codecs: Sequence[object],
    chunk_shape: Sequence[int],
    index_bytes: int,
    what: str,
    known: frozenset[str] = CODECS | V3_NUMCODECS,
) -> None:
    """Within shards that are within others, or have codecs around them, only those that TensorStore knows."""
    names = _names(codecs)
    sharded = "sharding_indexed" in names
    for codec, name in zip(codecs, names, strict=True):
        _check_known(name, CODECS if sharded else known, "codec", what)
        if name == "sharding_indexed":
            inner = known if names == ["sharding_indexed"] else CODECS
            _check_sharding(configuration(codec), chunk_shape, index_bytes, what, inner)


def _check_sharding(
    sharding: Mapping[str, Any], shard_shape: Sequence[int], index_bytes: int, what: str, known: frozenset[str]
) -> None:
    chunk_shape = _shape(sharding, what)
    size = INDEX_ENTRY_BYTES * math.prod(a // b for a, b in zip(shard_shape, chunk_shape, strict=False))
    if size > index_bytes:
        raise InvalidRequest(
            f"{what}: the index of one shard has {size} bytes, the limit is {index_bytes} (limits.chunk_bytes)"
        )
    codecs = _list(sharding, "codecs", what)
    nested = "sharding_indexed" in _names(codecs)
    _check_codecs(codecs, chunk_shape, index_bytes, what, CODECS if nested else known)
    _check_codecs(_list(sharding, "index_codecs", what), chunk_shape, index_bytes, what, CODECS)


def extension_name(extension: object) -> str:
    """The name of an extension of v3: a codec, a chunk grid, a chunk key encoding."""
    return _name(extension, "name")


def configuration(extension: object) -> Mapping[str, Any]:
    """The members of an extension."""
    members = extension.get("configuration") if isinstance(extension, dict) else None
    return members if isinstance(members, dict) else {}


def _shape(configuration: Mapping[str, Any], what: str) -> list[int]:
    shape = _list(configuration, "chunk_shape", what)
    if not all(is_count(n) for n in shape):
        raise InvalidRequest(f"{what}: chunk_shape: expected positive whole numbers, got {shape!r}")
    return shape


def _list(members: Mapping[str, Any], name: str, what: str, *, optional: bool = False) -> list[Any]:
    value = members.get(name)
    if value is None and optional:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(f"{what}: {name}: expected a list, got {value!r}")
    return value


def _name(value: object, member: str) -> str:
    """The name of an extension: text, or an object with the name as a member."""
    return str(value.get(member) if isinstance(value, Mapping) else value)


def _v2_dtype(dtype: object) -> str:
    """``<u2`` as ``uint16``. Others (structures, strings, dates) as they are written."""
    match = re.fullmatch(r"[<>|]([uifbc])(\d+)", dtype) if isinstance(dtype, str) else None
    if match is None:
        return str(dtype)
    return "bool" if match[1] == "b" else f"{_KINDS[match[1]]}{8 * int(match[2])}"


def _check_dtype(name: str, what: str) -> None:
    if name not in DTYPES:
        raise InvalidRequest(
            f"{what}: voxels of type {name} are not supported; convert them to one of {', '.join(sorted(DTYPES))}"
        )


def _check_known(name: str, known: frozenset[str], kind: str, what: str) -> None:
    if name not in known:
        choice = f"with one of {', '.join(sorted(known))}" if known else "without it"
        raise InvalidRequest(f"{what}: {kind} {name!r} cannot be read; write the array {choice}")


def _axes(names: object) -> str | None:
    return axes_of_names(names) if isinstance(names, list) else None
