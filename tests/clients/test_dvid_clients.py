"""DVID's clients read the volume: ``intern`` as it is, and the requests of those that are no Python package.

neuclease and libdvid come by conda alone; what they ask for is asked for in the same way.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import lz4.block
import numpy as np
import pytest
import requests
from intern.remote.dvid import DVIDRemote
from PIL import Image

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.codecs import label_block
from wkdvid.codecs.block_stream import iter_records
from wkdvid.codecs.payload import gunzip
from wkdvid.core.geometry import Vec3

UUID = "c11e47"
OFFSET: Vec3 = (32, -16, 8)
"""Of the 16-bit layer."""
BLOCK = 64
VOXEL_NM = (10, 10, 10)
WHO = {"u": "somebody", "app": "tests"}
"""Every client of today says so."""


@pytest.fixture(scope="module")
def arrays(medulla: Mapping[str, Voxels]) -> Mapping[str, Voxels]:
    """(x, y, z)."""
    grey, bodies = medulla["grayscale"], medulla["bodies"].astype(np.uint64)
    return {"grey": grey, "deep": grey[:70, :60, :50] * np.uint16(257), "seg": bodies}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, arrays: Mapping[str, Voxels]) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("dvid_clients")
    write_precomputed(data / "grey", [((1, 1, 1), arrays["grey"])], voxel_size_nm=VOXEL_NM)
    write_precomputed(data / "deep", [((1, 1, 1), arrays["deep"])], voxel_size_nm=VOXEL_NM, offsets=[OFFSET])
    write_precomputed(data / "seg", [((1, 1, 1), arrays["seg"])], voxel_size_nm=VOXEL_NM, kind="segmentation")
    layers: dict[str, Any] = {name: {"source": name} for name in arrays}
    layers["grey"]["compression"] = "jpeg"
    with running(data, {"precomputed": {"lab": {"medulla": {"uuid": UUID, "layers": layers}}}}) as started:
        yield started


@pytest.fixture(scope="module")
def remote(server: Server) -> DVIDRemote:
    return DVIDRemote({"protocol": "http", "host": server.base.removeprefix("http://")})


@pytest.mark.parametrize("name", ["grey", "deep", "seg"])
def test_intern_cuts_out_what_the_array_holds(remote: DVIDRemote, arrays: Mapping[str, Voxels], name: str) -> None:
    array, origin = arrays[name], OFFSET if name == "deep" else (0, 0, 0)
    resource = remote.get_instance(UUID, name, array.dtype.name)
    ranges = [[o + 3, o + n - 5] for o, n in zip(origin, array.shape, strict=True)]
    cutout = remote.get_cutout(resource, 0, *ranges)
    np.testing.assert_array_equal(cutout.transpose(2, 1, 0), array[3:-5, 3:-5, 3:-5])


def test_intern_understands_what_we_say_of_ourselves(remote: DVIDRemote) -> None:
    resource = remote.get_instance(UUID, "deep", "uint16")
    assert remote.get_extents(resource) == [[32, 101], [-16, 43], [8, 57]]
    assert remote.get_metadata(resource)["Properties"]["BlockSize"] == [BLOCK] * 3
    assert remote.get_project(resource) == (UUID, "deep")
    assert {"uint8blk", "labelmap"} <= remote.get_server_types().keys()
    assert remote.get_server_info()["DVID Version"] == "v1.0.0"


def test_intern_is_told_that_nothing_is_written(remote: DVIDRemote) -> None:
    with pytest.raises(requests.HTTPError, match=f"Cannot do post on locked node {UUID}"):
        remote.post_log(UUID, "changed")


def asked(server: Server, path: str, **query: str) -> bytes:
    response = server.get(f"/api/node/{UUID}/{path}", params={**query, **WHO})
    assert response.status_code == 200, response.text
    return response.content


def volume(records: Mapping[Vec3, Voxels], shape: tuple[int, ...], dtype: type[np.generic]) -> Voxels:
    """Blocks at their places, zeros where there is none; (x, y, z)."""
    whole = np.zeros([-(-n // BLOCK) * BLOCK for n in shape], dtype)
    for index, block in records.items():
        whole[tuple(slice(i * BLOCK, (i + 1) * BLOCK) for i in index)] = block
    return whole[tuple(slice(n) for n in shape)]


def label_blocks(body: bytes) -> Mapping[Vec3, Voxels]:
    return {index: label_block.decode(gunzip(data, 1 << 26)) for index, data in iter_records(body)}


def test_neuclease_reads_label_blocks(server: Server, arrays: Mapping[str, Voxels]) -> None:
    seg = arrays["seg"]
    box = "blocks/256_256_256/0_0_0"
    voxels = label_blocks(asked(server, f"seg/{box}", compression="blocks", throttle="true", supervoxels="false"))
    np.testing.assert_array_equal(volume(voxels, seg.shape, np.uint64), seg)
    wanted = ",".join(f"{x},{y},{z}" for z, y, x in itertools.product(range(-1, 9), repeat=3))
    specific = label_blocks(asked(server, "seg/specificblocks", blocks=wanted, supervoxels="true"))
    np.testing.assert_array_equal(volume(specific, seg.shape, np.uint64), seg)


def test_neuclease_reads_jpeg_blocks(server: Server, arrays: Mapping[str, Voxels]) -> None:
    """Each block is one tall picture, as near to the voxels as Pillow's of the same quality."""
    grey = np.pad(arrays["grey"], [(0, -n % BLOCK) for n in arrays["grey"].shape]).astype(int)
    records = dict(iter_records(asked(server, "grey/subvolblocks/256_256_256/0_0_0")))
    assert len(records) == 4**3
    for index, data in records.items():
        block = grey[tuple(slice(i * BLOCK, (i + 1) * BLOCK) for i in index)].T.reshape(BLOCK**2, BLOCK)
        pillows = io.BytesIO()
        Image.fromarray(block.astype(np.uint8)).save(pillows, "JPEG", quality=80)
        ours, theirs = (np.asarray(Image.open(file)) for file in (io.BytesIO(data), pillows))
        assert np.abs(ours - block).mean() <= 1.02 * np.abs(theirs - block).mean()


def test_libdvid_reads_boxes(server: Server, arrays: Mapping[str, Voxels]) -> None:
    box = "raw/0_1_2/100_90_80/20_30_40"
    inside = (slice(20, 120), slice(30, 120), slice(40, 120))
    grey = asked(server, f"grey/{box}", throttle="on")
    assert grey == arrays["grey"][inside].tobytes("F")
    labels = asked(server, f"seg/{box}", throttle="on", compression="lz4")
    assert lz4.block.decompress(labels, uncompressed_size=100 * 90 * 80 * 8) == arrays["seg"][inside].tobytes("F")
