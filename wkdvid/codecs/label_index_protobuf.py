"""LabelIndex and LabelIndices, DVID's protobuf messages (proto3) of the blocks that labels are in.

    message LabelIndex { map<uint64, SVCount> blocks = 1; uint64 label = 2; ... }
    message SVCount { map<uint64, uint32> counts = 1; }
    message LabelIndices { repeated LabelIndex indices = 1; }

An entry of a map is a message of its key (1) and value (2). Many of them are written at once, by numpy.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_U64: TypeAlias = npt.NDArray[np.uint64]

_AXIS_BITS = 21
_SIGN = 1 << 20
_VARINT_BYTES = 10
_TOGETHER = 1 << 14
"""Blocks that are written at once: some 300 bytes of memory each."""
_VARINT, _MESSAGE = 0, 2
"""Wire types."""


def block_keys(blocks: npt.NDArray[np.int64]) -> _U64:
    """Blocks as DVID numbers them: z << 42 | y << 21 | x, each by its sign (bit 20) and magnitude.

    Args:
        blocks: (n, 3), x, y, z in blocks.
    """
    fields = np.abs(blocks) & (_SIGN - 1) | np.where(blocks < 0, _SIGN, 0)
    x, y, z = fields.astype(np.uint64).T
    keys: _U64 = z << np.uint64(2 * _AXIS_BITS) | y << np.uint64(_AXIS_BITS) | x
    return keys


def label_index(label: int, blocks: npt.NDArray[np.int64], counts: npt.NDArray[np.uint32]) -> bytes:
    """A LabelIndex of a label that is its own only supervoxel.

    Args:
        blocks: (n, 3), x, y, z in blocks.
        counts: (n,), voxels of the label in each; none for a label that is not there.
    """
    parts = (slice(first, first + _TOGETHER) for first in range(0, len(counts), _TOGETHER))
    own = _Fields().varint(2, np.array([label], np.uint64)).bytes()
    return b"".join((*(_entries(label, blocks[part], counts[part]) for part in parts), own))


def _entries(label: int, blocks: npt.NDArray[np.int64], counts: npt.NDArray[np.uint32]) -> bytes:
    labels = np.full(len(counts), label, np.uint64)
    count = _Fields().varint(1, labels).varint(2, counts.astype(np.uint64))
    supervoxels = _Fields().message(1, count)
    entry = _Fields().varint(1, block_keys(blocks)).message(2, supervoxels)
    return _Fields().message(1, entry).bytes()


def indices_member(index: bytes) -> bytes:
    """A LabelIndex as one of the members that LabelIndices are, one after the other."""
    length = _Fields().message_head(1, np.array([len(index)], np.uint64))
    return length.bytes() + index


class _Fields:
    """Fields of n messages at a time: a row for each, of which some bytes count."""

    def __init__(self) -> None:
        self._bytes: list[npt.NDArray[np.uint8]] = []
        self._count: list[npt.NDArray[np.bool_]] = []

    def varint(self, number: int, values: _U64) -> _Fields:
        return self._tag(number, _VARINT, len(values))._varint(values)

    def message(self, number: int, inner: _Fields) -> _Fields:
        lengths = np.sum([count.sum(axis=1) for count in inner._count], axis=0).astype(np.uint64)
        self.message_head(number, lengths)
        self._bytes += inner._bytes
        self._count += inner._count
        return self

    def message_head(self, number: int, lengths: _U64) -> _Fields:
        return self._tag(number, _MESSAGE, len(lengths))._varint(lengths)

    def _tag(self, number: int, wire_type: int, rows: int) -> _Fields:
        return self._add(np.full((rows, 1), number << 3 | wire_type, np.uint8), np.ones((rows, 1), np.bool_))

    def _varint(self, values: _U64) -> _Fields:
        """Groups of 7 bits, the lowest first; all but the last have the highest bit set."""
        rest = values[:, None] >> (7 * np.arange(_VARINT_BYTES, dtype=np.uint64))
        count = rest > 0
        count[:, 0] = True
        groups = (rest & np.uint64(127)).astype(np.uint8)
        groups[:, :-1] |= np.where(count[:, 1:], np.uint8(128), np.uint8(0))
        return self._add(groups, count)

    def _add(self, found: npt.NDArray[np.uint8], count: npt.NDArray[Any]) -> _Fields:
        self._bytes.append(found)
        self._count.append(count)
        return self

    def bytes(self) -> bytes:
        found = np.concatenate(self._bytes, axis=1)
        return found[np.concatenate(self._count, axis=1)].tobytes()
