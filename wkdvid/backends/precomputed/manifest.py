"""Metadata of precomputed meshes as values (mesh.rst of the format's description in Neuroglancer)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.backends.numbers import is_number, is_size
from wkdvid.backends.precomputed.sharding import Sharding, parse_sharding
from wkdvid.core.geometry import Float3
from wkdvid.core.segments import Fragment, MeshLevel
from wkdvid.errors import CorruptChunk

MULTI_LOD, LEGACY = "neuroglancer_multilod_draco", "neuroglancer_legacy_mesh"
MAX_LEVELS = 32
MAX_QUANTIZATION_BITS = 31
MAX_FRAGMENTS = 50_000
"""Of a legacy mesh: each is a file to be read."""
FRAGMENT_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f\x7f]{1,1024}")


@dataclass(frozen=True, slots=True)
class MultiLodInfo:
    """The ``info`` of meshes with levels of detail."""

    vertex_quantization_bits: int
    scale: Float3
    """From the stored model's space to nanometres."""
    translation_nm: Float3
    sharding: Sharding | None

    @property
    def vertex_scale(self) -> float:
        return 1 / ((1 << self.vertex_quantization_bits) - 1)


def parse_multi_lod(document: Mapping[str, Any], what: str) -> MultiLodInfo:
    """
    Raises:
        CorruptChunk: a member that is missing or wrong, by its path.
    """
    bits = document.get("vertex_quantization_bits")
    if type(bits) is not int or not 1 <= bits <= MAX_QUANTIZATION_BITS:
        raise CorruptChunk(f"{what}: vertex_quantization_bits: expected 10 or 16, got {str(bits)[:80]!r}")
    transform = document.get("transform")
    if not isinstance(transform, list) or len(transform) != 12 or not all(map(is_number, transform)):
        raise CorruptChunk(f"{what}: transform: expected 12 numbers")
    rows = np.array(transform, float).reshape(3, 4)
    scale = rows.diagonal()
    if np.count_nonzero(rows[:, :3]) > 3 or not all(map(is_size, scale.tolist())):
        raise CorruptChunk(f"{what}: transform: only positive scales and a translation are supported")
    sharding = document.get("sharding")
    return MultiLodInfo(
        bits,
        _float3(scale),
        _float3(rows[:, 3]),
        None if sharding is None else parse_sharding(sharding, f"{what}: sharding"),
    )


def parse_manifest(data: bytes, info: MultiLodInfo, stretch: Float3, what: str) -> tuple[MeshLevel, ...]:
    """The binary manifest of a segment. Offsets begin at its first fragment; empty fragments are left out.

    Args:
        stretch: By what the dataset's nanometres are more than the source's.
    Raises:
        CorruptChunk: it is none.
    """
    reader = _Reader(data, what)
    chunk_shape, grid_origin = reader.floats(3), reader.floats(3)
    (count,) = reader.numbers("<u4", 1).tolist()
    if not 1 <= count <= MAX_LEVELS or not all(map(is_size, chunk_shape.tolist())):
        raise CorruptChunk(f"{what}: expected 1 to {MAX_LEVELS} levels of detail and chunks of a positive size")
    reader.floats(count)  # from which distance on each level is shown
    vertex_offsets = reader.floats(3 * count).reshape(count, 3)
    fragment_counts = reader.numbers("<u4", count).tolist()
    levels, offset = [], 0
    for level, fragments in enumerate(fragment_counts):
        positions = reader.numbers("<u4", 3 * fragments).reshape(3, fragments).T
        sizes = reader.numbers("<u4", fragments).tolist()
        cell = chunk_shape * 2.0**level
        corner = (grid_origin + vertex_offsets[level] + np.array(info.translation_nm) / info.scale) / cell
        offsets = np.cumsum([offset, *sizes], dtype=np.int64).tolist()
        levels.append(
            MeshLevel(
                _float3(cell * info.scale * stretch),
                tuple(
                    Fragment(_float3(position), start, size)
                    for position, start, size in zip(positions + corner, offsets, sizes, strict=False)
                    if size
                ),
            )
        )
        offset = offsets[-1]
    reader.check_end()
    return tuple(levels)


def data_size(levels: Sequence[MeshLevel]) -> int:
    """Bytes from the first fragment of a segment to the end of its last one."""
    return max((one.offset + one.size for level in levels for one in level.fragments), default=0)


def legacy_fragments(document: Mapping[str, Any], what: str) -> list[str]:
    """The names of the fragments that a manifest of the legacy format lists.

    Raises:
        CorruptChunk: no list of names of files beside it.
    """
    names = document.get("fragments")
    if isinstance(names, list) and all(isinstance(name, str) and FRAGMENT_NAME.fullmatch(name) for name in names):
        if len(names) <= MAX_FRAGMENTS:
            return names
        raise CorruptChunk(f"{what}: {len(names)} fragments, the limit is {MAX_FRAGMENTS}")
    raise CorruptChunk(f"{what}: fragments: expected a list of names of files in the same folder")


class _Reader:
    """Takes numbers off the begin of bytes. What a manifest declares is looked for before it is made room for."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def numbers(self, dtype: str, count: int) -> npt.NDArray[Any]:
        if count * 4 > len(self._data) - self._at:
            raise CorruptChunk(f"{self._what}: the manifest is shorter than it says")
        found = np.frombuffer(self._data, dtype, count, self._at)
        self._at += count * 4
        return found

    def floats(self, count: int) -> npt.NDArray[np.float64]:
        found = self.numbers("<f4", count).astype(np.float64)
        if not np.isfinite(found).all():
            raise CorruptChunk(f"{self._what}: the manifest holds what is no finite number")
        return found

    def check_end(self) -> None:
        if self._at != len(self._data):
            raise CorruptChunk(f"{self._what}: the manifest is longer than it says")


def _float3(values: npt.NDArray[Any]) -> Float3:
    x, y, z = values.tolist()
    return (x, y, z)
