"""webKnossos's browser, in what it asks and in what it accepts: a batch whole or not at all. ``Batch`` is its logic."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.geometry import Vec3

ORIGIN = "https://webknossos.example"
DATASET_ID = hashlib.sha256(b"lab/medulla").hexdigest()[:24]
MAGS: tuple[Vec3, ...] = ((1, 1, 1), (2, 2, 1))
SIDE = 32
ELEMENTS = {"grey": ("uint8", 1), "deep": ("uint16", 1), "rgb": ("uint8", 3), "seg": ("uint64", 1)}


@pytest.fixture(scope="module")
def arrays(medulla: Mapping[str, Voxels]) -> Mapping[str, Mapping[Vec3, Voxels]]:
    """(c, x, y, z) by layer and mag; the coarser mag is no mean, so that it shows which was read."""
    grey = medulla["grayscale"]
    finest = {
        "grey": grey[None],
        "deep": grey[None, :70, :60, :50] * np.uint16(257),
        "rgb": np.stack([grey, 255 - grey, grey // 2])[:, :100, :90, :80],
        "seg": medulla["bodies"][None].astype(np.uint64) + np.uint64(2**53),
    }
    return {name: {MAGS[0]: array, MAGS[1]: array[:, ::2, ::2]} for name, array in finest.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, arrays: Mapping[str, Mapping[Vec3, Voxels]]) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("webknossos_clients")
    for name, levels in arrays.items():
        stored = [(mag, array.transpose(1, 2, 3, 0)) for mag, array in levels.items()]
        kind = "segmentation" if name == "seg" else "image"
        write_precomputed(data / name, stored, voxel_size_nm=(10, 10, 20), kind=kind)
    layers = {name: {"source": name} for name in arrays}
    with running(data, {"precomputed": {"lab": {"medulla": {"layers": layers}}}}) as started:
        yield started


@pytest.fixture(scope="module")
def browser(server: Server) -> Iterator[httpx.Client]:
    """Keeps its connections, takes what is compressed, and says where its page is from."""
    headers = {"Origin": ORIGIN, "Accept-Encoding": "gzip, deflate, br"}
    with httpx.Client(base_url=server.base, headers=headers, timeout=60) as client:
        yield client


@dataclass(frozen=True)
class Batch:
    """One answer to a request for buckets, as the browser takes it apart."""

    response: httpx.Response
    wanted: Sequence[Mapping[str, Any]]
    dtype: str
    channels: int

    def indices(self, header: str) -> list[int]:
        exposed = self.response.headers["Access-Control-Expose-Headers"].split(", ")
        assert header in exposed
        found: list[int] = json.loads(self.response.headers[header])
        return found

    def buckets(self) -> list[Voxels | None]:
        """(c, x, y, z) of each; None for what is missing.

        The browser rejects the whole batch where its length is not what the headers say.
        """
        assert self.response.headers["Access-Control-Allow-Origin"] == "*"
        empty, failed = self.indices("Empty-Bucket-Indices"), self.indices("Failure-Bucket-Indices")
        assert self.indices("MISSING-BUCKETS") == sorted(empty + failed)
        body = self.response.content
        if self.wanted[0].get("fourBit"):
            pairs = np.frombuffer(body, np.uint8)
            body = np.stack([pairs & 0xF0, pairs << 4], axis=1).astype(np.uint8).tobytes()
        size = SIDE**3 * self.channels * np.dtype(self.dtype).itemsize
        present = [i for i in range(len(self.wanted)) if i not in {*empty, *failed}]
        assert len(body) == len(present) * size
        found: list[Voxels | None] = [None] * len(self.wanted)
        for at, i in enumerate(present):
            piece = np.frombuffer(body[at * size : (at + 1) * size], self.dtype)
            found[i] = piece.reshape((self.channels, SIDE, SIDE, SIDE), order="F")
        return found


def bucket(index: Vec3, mag: Vec3, **more: Any) -> dict[str, Any]:
    """As the browser of today asks for a bucket."""
    position = [i * SIDE * m for i, m in zip(index, mag, strict=True)]
    unused = {"applyAgglomerate": None, "additionalCoordinates": None, "version": 1}
    return {"position": position, "mag": list(mag), "cubeSize": SIDE, "fourBit": False, **unused, **more}


def ask(browser: httpx.Client, name: str, wanted: Sequence[Mapping[str, Any]]) -> Batch:
    response = browser.post(f"/data/datasets/{DATASET_ID}/layers/{name}/data?token=abc", json=wanted)
    assert response.status_code == 200
    return Batch(response, wanted, *ELEMENTS[name])


def piece_of(array: Voxels, index: Vec3) -> Voxels:
    """One bucket of a whole level, zeros outside."""
    out = np.zeros((len(array), SIDE, SIDE, SIDE), array.dtype)
    inside = array[(slice(None), *(slice(i * SIDE, (i + 1) * SIDE) for i in index))]
    out[tuple(slice(n) for n in inside.shape)] = inside
    return out


@pytest.mark.parametrize("mag", MAGS)
@pytest.mark.parametrize("name", ELEMENTS)
def test_the_browser_gets_every_bucket(
    browser: httpx.Client, arrays: Mapping[str, Mapping[Vec3, Voxels]], name: str, mag: Vec3
) -> None:
    array = arrays[name][mag]
    indices = [(x, y, z) for x, y, z in itertools.product(*(range(n // SIDE + 2) for n in array.shape[1:]))]
    for start in range(0, len(indices), 64):
        part = indices[start : start + 64]
        found = ask(browser, name, [bucket(index, mag) for index in part]).buckets()
        for index, voxels in zip(part, found, strict=True):
            expected = piece_of(array, index)
            assert (voxels is None) == (not expected.any())
            if voxels is not None:
                np.testing.assert_array_equal(voxels, expected)


@pytest.mark.parametrize("name", ["grey", "rgb"])
def test_four_bits_are_the_upper_ones(
    browser: httpx.Client, arrays: Mapping[str, Mapping[Vec3, Voxels]], name: str
) -> None:
    part: list[Vec3] = [(0, 0, 0), (9, 9, 9), (2, 1, 0)]
    found = ask(browser, name, [bucket(index, MAGS[0], fourBit=True) for index in part]).buckets()
    assert found[1] is None
    for index, voxels in zip(part, found, strict=True):
        if voxels is not None:
            np.testing.assert_array_equal(voxels, piece_of(arrays[name][MAGS[0]], index) & 0xF0)


def test_the_browser_is_allowed_to_ask(browser: httpx.Client) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-auth-token"}
    answer = browser.options(f"/data/datasets/{DATASET_ID}/layers/grey/data?token=abc", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type,x-auth-token"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    health = browser.get("/data/health")
    assert (health.text, health.headers["Access-Control-Allow-Origin"]) == ("Ok", "*")
