"""Runs and blocks of a label's voxels, decoded by a reading of their own."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wkdvid.codecs import sparse_volume as codec
from wkdvid.codecs.sparse_volume import Mask, Runs

masks = arrays.array_shapes(min_dims=3, max_dims=3, max_side=9).flatmap(lambda shape: arrays.arrays(np.bool_, shape))
origins = st.tuples(*[st.integers(-(2**20), 2**20)] * 3)


def voxels_of(runs: Runs) -> list[tuple[int, int, int]]:
    return [(x + i, y, z) for x, y, z, length in runs.tolist() for i in range(length)]


def set_voxels(mask: Mask, origin: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Ordered by z, y, x."""
    z, y, x = np.nonzero(mask.T)
    a, b, c = origin
    return list(zip((x + a).tolist(), (y + b).tolist(), (z + c).tolist(), strict=True))


@given(masks, origins)
def test_runs_are_the_voxels_in_order_and_as_few_as_can_be(mask: Mask, origin: tuple[int, int, int]) -> None:
    runs = codec.runs_of(np.asfortranarray(mask), origin)
    voxels = set_voxels(mask, origin)
    assert voxels_of(runs) == voxels
    following = set(voxels)
    assert len(runs) == sum((x - 1, y, z) not in following for x, y, z in voxels)


@given(masks, st.integers(1, 8), st.integers(1, 8), st.randoms())
def test_runs_of_parts_are_joined(mask: Mask, x: int, z: int, random: st.DataObject) -> None:
    parts = []
    for a, b in ((slice(x), 0), (slice(x, None), x)):
        for c, d in ((slice(z), 0), (slice(z, None), z)):
            parts.append(codec.runs_of(mask[a, :, c], (b, 0, d)))
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert np.array_equal(codec.join(np.concatenate(parts)), codec.runs_of(mask, (0, 0, 0)))


def test_runs_of_a_label_as_dvid_sends_them() -> None:
    """The header and runs of dvid.md H5, ordered by z and y."""
    mask = np.zeros((64, 64, 64), np.bool_, order="F")
    mask[10:20, 3:6, 2:5] = True
    sent = codec.rles(codec.runs_of(mask, (0, 0, 0)))
    assert sent[:12].hex() == "000300000000000009000000"
    assert sent[12:28].hex() == "0a00000003000000020000000a000000"
    assert (len(sent), hashlib.md5(sent).hexdigest()) == (156, "331bde603d5052eed132a2ccb055803a")
    assert codec.srles(codec.runs_of(mask, (0, 0, 0))) == sent[12:]


def test_blocks_of_a_label_as_dvid_sends_them() -> None:
    sent = codec.rles(codec.coarse_runs(np.zeros((1, 3), np.int64)))
    assert sent.hex() == "00030000000000000100000000000000000000000000000001000000"
    blocks = np.array([[-1, 1, -2], [0, 1, -2], [2, 1, -2], [0, -5, 3]])
    assert codec.coarse_runs(blocks).tolist() == [[-1, 1, -2, 2], [2, 1, -2, 1], [0, -5, 3, 1]]
    record = codec.coarse_record(2**63 + 1, codec.coarse_runs(blocks))
    assert struct.unpack_from("<Qi", record) == (2**63 + 1, 3)
    assert np.frombuffer(record, "<i4", offset=12).reshape(-1, 4).tolist() == codec.coarse_runs(blocks).tolist()


def test_nothing_has_no_runs() -> None:
    nothing = codec.runs_of(np.zeros((4, 5, 6), np.bool_), (0, 0, 0))
    assert (nothing.shape, codec.join(nothing).shape) == ((0, 4), (0, 4))
    assert codec.rles(codec.coarse_runs(np.empty((0, 3), np.int64))).hex() == "000300000000000000000000"


def decoded(data: bytes, shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], Mask]:
    """A block record, bit by bit."""
    x, y, z, kind = struct.unpack_from("<3iB", data)
    mask, at = np.zeros(shape, np.bool_), 13
    for k, j, i in np.ndindex(shape[2] // 8, shape[1] // 8, shape[0] // 8):
        part = mask[8 * i : 8 * i + 8, 8 * j : 8 * j + 8, 8 * k : 8 * k + 8]
        if kind != 2:
            part[:] = kind == 1
            continue
        flag, at = data[at], at + 1
        if flag != 2:
            part[:] = flag == 1
            continue
        for voxel in range(512):
            part[voxel % 8, voxel // 8 % 8, voxel // 64] = data[at + voxel // 8] >> voxel % 8 & 1
        at += 64
    assert at == len(data)
    return (x, y, z), mask


@pytest.mark.parametrize("shape", [(16, 16, 16), (64, 64, 64), (24, 8, 16)])
def test_block_records(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(4)
    mixed = random.random(shape) < 0.1
    mixed[:8, :8, :8], mixed[-8:, -8:, -8:] = True, False
    for mask in (mixed, np.zeros(shape, np.bool_), np.ones(shape, np.bool_)):
        record = codec.block(np.asfortranarray(mask), (-64, 128, -2))
        origin, found = decoded(record, shape)
        assert origin == (-64, 128, -2)
        assert np.array_equal(found, mask)
    assert (
        codec.blocks_header((64, 64, 64), 10**12).hex()
        == "080000000800000008000000" + (10**12).to_bytes(8, "little").hex()
    )
