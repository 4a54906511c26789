"""The middle slice as a PNG, as another library reads it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.volumes import write_precomputed
from wkdvid.core.volume import Array
from wkdvid.inspection.picture import SIDE, middle_slice
from wkdvid.testing.volume_suite import open_layers


async def picture(root: Path, *levels: Array, kind: str = "image") -> Array:
    stored = [((2**i, 2**i, 1), level) for i, level in enumerate(levels)]
    write_precomputed(root / "v", stored, kind=kind)
    (volume,) = await open_layers("precomputed", {"source": "v", "type": kind}, roots=[root])
    return np.asarray(Image.open(io.BytesIO(await middle_slice(volume))))


def noise(*shape: int, dtype: str = "uint8") -> Array:
    return np.random.default_rng(1).integers(0, 200, shape, dtype=dtype)


async def test_gray(tmp_path: Path) -> None:
    voxels = noise(30, 20, 9)
    np.testing.assert_array_equal(await picture(tmp_path, voxels), voxels[:, :, 4].T)


async def test_colours(tmp_path: Path) -> None:
    voxels = noise(30, 20, 9, 3)
    np.testing.assert_array_equal(await picture(tmp_path, voxels), voxels[:, :, 4].transpose(1, 0, 2))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
async def test_other_types_are_stretched(tmp_path: Path, dtype: str) -> None:
    voxels = np.zeros((30, 20, 3), dtype)
    voxels[0, 0], voxels[1, 0], voxels[2, 0] = -500 if dtype != "uint16" else 0, 1000, 500
    if dtype == "float32":
        voxels[3, 0] = np.nan
    shown = await picture(tmp_path, voxels)
    assert (shown.min(), shown.max(), shown[0, 0], shown[0, 1]) == (0, 255, 0, 255)


async def test_a_slice_of_one_value(tmp_path: Path) -> None:
    assert (await picture(tmp_path, np.full((30, 20, 3), 9, np.uint16)) == 0).all()


async def test_segments_have_colours_by_their_ids(tmp_path: Path) -> None:
    ids = noise(30, 20, 9, dtype="uint64") % 5 * 2**40
    shown = await picture(tmp_path, ids, kind="segmentation")
    colours = {int(id_): {tuple(rgb) for rgb in shown[id_ == ids[:, :, 4].T]} for id_ in np.unique(ids[:, :, 4])}
    assert all(len(found) == 1 for found in colours.values())
    assert colours[0] == {(0, 0, 0)}
    assert len(set.union(*colours.values())) == len(colours) == 5


async def test_the_finest_level_that_fits_or_the_middle_of_the_coarsest(tmp_path: Path) -> None:
    fine = noise(SIDE + 100, 40, 1)
    assert (await picture(tmp_path, fine, fine[::2, ::2])).shape == (20, SIDE // 2 + 50)
    np.testing.assert_array_equal(await picture(tmp_path / "cut", fine), fine[50 : 50 + SIDE, :, 0].T)
