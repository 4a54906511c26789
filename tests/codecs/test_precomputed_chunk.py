"""Chunks of precomputed volumes, read by TensorStore from what was encoded; and what does not seem to be one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tensorstore as ts

from tests.backends.arrays import Array, grey, labels, noise
from wkdvid.codecs.precomputed_chunk import encode, seems
from wkdvid.core.geometry import Vec3

SHAPE: Vec3 = (19, 10, 7)
CHUNKS: list[tuple[str, Array, int]] = [
    ("raw", noise("uint64", SHAPE), 0),
    ("raw", noise("uint8", SHAPE, channels=3), 0),
    ("jpeg", grey(SHAPE), 8),
    ("jpeg", grey((2, 512, 256)), 8),  # higher than JPEG knows images, if a row had two pixels
    ("jpeg", grey(SHAPE, channels=3), 30),
    ("png", noise("uint8", SHAPE), 0),
    ("png", noise("uint16", SHAPE), 0),
    ("compressed_segmentation", labels("uint32", SHAPE), 0),
    ("compressed_segmentation", labels("uint64", SHAPE), 0),
]


def decoded(data: bytes, encoding: str, like: Array) -> Array:
    """By TensorStore, as the only chunk of a volume."""
    size = like.shape[1:]
    scale: dict[str, Any] = {"key": "k", "size": size, "resolution": [1] * 3, "chunk_sizes": [size]}
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    kind = "segmentation" if encoding == "compressed_segmentation" else "image"
    info = {"type": kind, "data_type": like.dtype.name, "num_channels": len(like)}
    context = ts.Context()
    store = ts.KvStore.open({"driver": "memory"}, context=context).result()
    store.write("info", json.dumps({**info, "scales": [{**scale, "encoding": encoding}]}).encode()).result()
    store.write("k/" + "_".join(f"0-{n}" for n in size), data).result()
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "memory"}}
    found: Array = ts.open(spec, context=context).result().read().result().transpose(3, 0, 1, 2)
    return found


@pytest.mark.parametrize(("encoding", "voxels", "tolerance"), CHUNKS, ids=lambda one: getattr(one, "shape", one))
def test_what_is_encoded_is_read(encoding: str, voxels: Array, tolerance: int) -> None:
    data = bytes(encode(voxels, encoding))
    assert np.abs(decoded(data, encoding, voxels).astype(object) - voxels.astype(object)).max() <= tolerance
    kind = {"channels": len(voxels), "itemsize": voxels.itemsize}
    shape = voxels.shape[1:]
    assert seems(data, encoding, shape, **kind)
    larger = (shape[0] * 2, shape[1], shape[2] * 2)
    for other in (b"", data[:-1], data[1:], data + b"\0", b"<html>login</html>"):
        assert not seems(other, encoding, shape, **kind), other[:20]
    if encoding != "compressed_segmentation":  # whose bytes do not say how large it is
        assert not seems(data, encoding, larger, **kind)
