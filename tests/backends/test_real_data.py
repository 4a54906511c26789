"""The medulla volume, written by other libraries in each format, comes back as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends import test_n5, test_precomputed, test_zarr
from tests.backends.arrays import Array
from wkdvid.core.geometry import Vec3
from wkdvid.testing.volume_suite import StoredLevel, check, open_layers

SIZE: Vec3 = (133, 121, 77)

Write = Callable[[Path, Array], Array]


def precomputed(**options: Any) -> Write:
    return lambda folder, array: test_precomputed.write(folder, array, **options)[0].array


def zarr(**options: Any) -> Write:
    return lambda folder, array: test_zarr.write_array(folder, array, **options)


def n5(folder: Path, array: Array) -> Array:
    return test_n5.write_array(folder.parent, folder.name, array)


WRITERS: Mapping[str, Write] = {
    "precomputed": precomputed(),
    "precomputed sharded": precomputed(sharding={**test_precomputed.SHARDING, "shard_bits": 6}),
    "precomputed compressed": precomputed(encoding="compressed_segmentation"),
    "zarr v2": zarr(zarr_format=2),
    "zarr v3 sharded": zarr(shards=(64, 64, 64)),
    "n5": n5,
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["grayscale", "bodies"])
async def test_comes_back(tmp_path: Path, medulla: Mapping[str, Any], kind: str, name: str) -> None:
    x, y, z = SIZE
    crop = np.asfortranarray(medulla[name][None, :x, :y, :z])
    if kind == "precomputed compressed":
        crop = crop.astype(np.uint64)
    expected = WRITERS[kind](tmp_path / "a", crop)
    (volume,) = await open_layers(kind.split(maxsplit=1)[0], {"source": "a"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=expected).extent), expected)
    assert expected.any()
