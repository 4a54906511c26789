"""What is asked of a layer beside buckets: histograms, thumbnails, places with data, cubes, and what no source has."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.servers import Server, running
from tests.soak.processes import processes
from tests.volumes import Voxels, grid, write_precomputed
from wkdvid.core.geometry import Box
from wkdvid.core.pictures import segment_colors
from wkdvid.core.sampling import sample_boxes

DATASET_ID = hashlib.sha256(b"lab/ds").hexdigest()[:24]
PLACES = ("/data/datasets/lab/ds", f"/data/v15/datasets/{DATASET_ID}")
SIZE = (90, 70, 50)
OFFSET = (6, -20, 3)


def made() -> dict[str, Voxels]:
    """(x, y, z) or (x, y, z, c); values that tell where they are from."""
    x, y, z = grid(SIZE)
    grey = ((x + 2 * y + z) % 250 + 1).astype(np.uint8)
    small = np.zeros((3, 4, 2), np.uint8)
    small[2, 1, 1] = 200
    return {
        "grey": grey,
        "deep": grey.astype(np.uint16) * 100,
        "signed": grey.astype(np.int16) - 126,
        "field": (x - 40 + y / 128).astype(np.float32),
        "rgb": np.stack([grey, 255 - grey, np.zeros_like(grey)], axis=-1),
        "cells": (2**40 + x // 16 + 10 * (y // 16)).astype(np.uint64),
        "small": small,
        "nothing": np.zeros((40, 40, 40), np.uint8),
    }


ARRAYS = made()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("layers")
    for name, array in ARRAYS.items():
        kind = "segmentation" if name == "cells" else "image"
        write_precomputed(folder / name, [((1, 1, 1), array)], offsets=[OFFSET], kind=kind)
    layers = {name: {"source": name} for name in ARRAYS}
    hidden = {"layers": {"grey": {"source": "grey"}}, "public": False}
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "t"}
    with running(folder, {"precomputed": {"lab": {"ds": {"layers": layers}, "hidden": hidden}}}, environ=environ) as s:
        yield s
    assert "Traceback" not in (folder / "server.log").read_text()


def layer(name: str, place: str = PLACES[0]) -> str:
    return f"{place}/layers/{name}"


# ---- histograms -----------------------------------------------------------------------------------------------------


def histograms(server: Server, name: str) -> list[dict[str, Any]]:
    answer = server.get(f"{layer(name)}/histogram")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    assert all(len(one["elementCounts"]) == 256 for one in found)
    assert all(sum(one["elementCounts"]) == one["numberOfElements"] for one in found)
    return found


def test_histogram_of_integers_divides_the_range_of_the_type(server: Server) -> None:
    (grey,) = histograms(server, "grey")
    (deep,) = histograms(server, "deep")
    (signed,) = histograms(server, "signed")
    assert (grey["min"], grey["max"]) == (0, 255)
    assert (deep["min"], deep["max"]) == (0, 65535)
    assert (signed["min"], signed["max"]) == (-32768, 32767)
    assert grey["numberOfElements"] == ARRAYS["grey"].size, "the samples of so small a volume are all of it"
    assert grey["elementCounts"] == np.bincount(ARRAYS["grey"].ravel(), minlength=256).tolist()
    assert deep["elementCounts"] == np.bincount(ARRAYS["deep"].ravel() >> 8, minlength=256).tolist()
    values = ARRAYS["signed"][ARRAYS["signed"] != 0].astype(int)
    assert signed["elementCounts"] == np.bincount((values + 32768) >> 8, minlength=256).tolist()


def test_histogram_of_floats_divides_the_range_of_the_values(server: Server) -> None:
    (field,) = histograms(server, "field")
    values = ARRAYS["field"][ARRAYS["field"] != 0]
    assert (field["min"], field["max"]) == (values.min(), values.max())
    assert field["numberOfElements"] == values.size
    assert field["elementCounts"][255] == np.count_nonzero(values == values.max())


def test_histograms_of_colours(server: Server) -> None:
    red, green, blue = histograms(server, "rgb")
    assert red["elementCounts"] == np.bincount(ARRAYS["grey"].ravel(), minlength=256).tolist()
    assert green["elementCounts"] == red["elementCounts"][::-1]
    assert blue["elementCounts"][0] == ARRAYS["grey"].size


def test_histograms_of_little_and_of_nothing(server: Server) -> None:
    (small,) = histograms(server, "small")
    assert (small["numberOfElements"], small["elementCounts"][200]) == (1, 1)
    (nothing,) = histograms(server, "nothing")
    assert nothing["numberOfElements"] == 0


@given(
    start=st.tuples(*[st.integers(-1000, 1000)] * 3),
    size=st.tuples(*[st.integers(1, 700)] * 3),
)
def test_samples_lie_on_buckets_and_in_the_volume(start: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    extent = Box.at(start, size)
    boxes = list(sample_boxes(extent, (2, 4)))
    assert len(set(boxes)) == len(boxes) <= 1 + 27 + 1
    for box in boxes:
        assert box.size == (32, 32, 32)
        assert all(n % 32 == 0 for n in box.start)
        assert box.intersect(extent) is not None


# ---- a place with data ----------------------------------------------------------------------------------------------


def test_find_data(server: Server) -> None:
    found = server.get(f"{layer('small')}/findData").json()
    assert found == {"position": [OFFSET[0] + 2, OFFSET[1] + 1, OFFSET[2] + 1], "mag": [1, 1, 1]}
    assert server.get(f"{layer('grey')}/findData").json()["position"] == list(OFFSET)
    assert server.get(f"{layer('nothing')}/findData").json() == {"position": None, "mag": None}


# ---- thumbnails -----------------------------------------------------------------------------------------------------


def picture(server: Server, name: str, **query: Any) -> Voxels:
    """(y, x) or (y, x, c) of a thumbnail."""
    answer = server.get(f"{layer(name, PLACES[1])}/thumbnail.jpg", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/jpeg"
    image = Image.open(io.BytesIO(answer.content))
    assert image.size == (query["width"], query["height"])
    return np.asarray(image).astype(int)


def slice_of(name: str, width: int, height: int) -> Voxels:
    """(y, x[, c]) of the middle slice, with the layer's centre in the middle of the picture."""
    array = ARRAYS[name]
    x, y = (n // 2 - m // 2 for n, m in zip(array.shape, (width, height), strict=False))
    part = array[max(x, 0) : x + width, max(y, 0) : y + height, array.shape[2] // 2]
    pad = [(max(-y, 0), height - part.shape[1] - max(-y, 0)), (max(-x, 0), width - part.shape[0] - max(-x, 0))]
    return np.pad(np.swapaxes(part, 0, 1), [*pad, *[(0, 0)] * (array.ndim - 3)])


def close(found: Voxels, expected: Voxels) -> bool:
    """As near as JPEG comes to it, by the mean."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).mean()) < 4


@pytest.mark.parametrize(("width", "height"), [(60, 40), (120, 90)])
def test_the_centre_is_in_the_middle(server: Server, width: int, height: int) -> None:
    grey = slice_of("grey", width, height)
    assert close(picture(server, "grey", width=width, height=height), grey)
    assert close(picture(server, "rgb", width=60, height=40)[..., 0], slice_of("rgb", 60, 40)[..., 0]), "red"


@pytest.mark.parametrize("name", ["deep", "signed", "field"])
def test_other_types_show_the_range_of_the_picture(server: Server, name: str) -> None:
    part = slice_of(name, 60, 40).astype(float)
    low, high = part[part != 0].min(), part[part != 0].max()
    expected = np.clip((part - low) / (high - low), 0, 1) * 255
    assert close(picture(server, name, width=60, height=40), expected)


def test_a_place_a_mag_and_intensities(server: Server) -> None:
    query = {"x": 16, "y": -10, "z": 13, "width": 20, "height": 16, "mag": "1-1-1"}
    part = ARRAYS["deep"][10:30, 10:26, 10].T.astype(float)
    expected = np.clip((part - 5000) / 5000, 0, 1) * 255
    assert close(picture(server, "deep", intensityMin=5000, intensityMax=10000, **query), expected)
    inverted = picture(server, "deep", intensityMin=5000, intensityMax=10000, invertColor="true", **query)
    assert close(inverted, 255 - expected)
    blue = picture(server, "deep", intensityMin=5000, intensityMax=10000, color="#0000ff", **query)
    assert close(blue[..., :2], np.zeros((16, 20, 2)))
    coarse = picture(server, "grey", x=6, y=-20, z=3, width=30, height=30, mag="2")
    box = server.get(f"{layer('grey')}/data?x=6&y=-20&z=3&width=30&height=30&depth=1&mag=2").content
    assert close(coarse, np.frombuffer(box, np.uint8).reshape(30, 30))


def test_segments_have_colours_of_their_own(server: Server) -> None:
    pixels, ids = picture(server, "cells", width=120, height=60), slice_of("cells", 120, 60)
    inner = np.logical_and.reduce([ids == np.roll(ids, by, axis) for axis in (0, 1) for by in (-3, 3)])
    known = np.unique(ids[inner])
    assert len(known) > 5
    colours = [np.median(pixels[(ids == each) & inner], axis=0) for each in known]
    assert np.abs(np.array(colours) - segment_colors(known)).max() < 20
    assert colours[0].max() < 30, "0 is black"


def test_old_main_servers_get_segments_to_see_through(server: Server) -> None:
    """They name the dataset and a size alone."""
    answer = server.get(f"{layer('cells')}/thumbnail.jpg?width=120&height=60")
    assert answer.headers["Content-Type"] == "image/png"
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (120, 60))
    pixels, ids = np.asarray(image), slice_of("cells", 120, 60)
    np.testing.assert_array_equal(pixels[..., 3] == 255, ids != 0)
    np.testing.assert_array_equal(pixels[..., 3] == 0, ids == 0)
    colours = {tuple(pixels[ids == each][0]) for each in np.unique(ids)}
    assert len(colours) == len(np.unique(ids))
    assert all((pixels[ids == each] == pixels[ids == each][0]).all() for each in np.unique(ids))
    for query in ("width=120&height=60&mag=1", "width=120&height=60&x=6&y=-20&z=3&mag=1"):
        answer = server.get(f"{layer('cells')}/thumbnail.jpg?{query}")
        assert answer.headers["Content-Type"] == "image/jpeg", "so today's ask"
    assert server.get(f"{layer('grey')}/thumbnail.jpg?width=20&height=20").headers["Content-Type"] == "image/jpeg"


CORNER = dict(zip("xyz", OFFSET, strict=True))


def composed(server: Server, layers: list[dict[str, Any]], **more: Any) -> Voxels:
    """(y, x, c) of a picture of 48 x 32 pixels."""
    body = {"width": 48, "height": 32, "layers": layers, **more}
    answer = server.post(f"/data/datasets/{DATASET_ID}/thumbnail.jpg", json=body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg"), answer.text
    found = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    assert found.shape == (32, 48, 3)
    return found


def part(name: str, opacity: float = 100, mag: int = 1, **more: Any) -> dict[str, Any]:
    size = {"width": 48 // mag, "height": 32 // mag}
    return {"dataLayerName": name, **CORNER, **size, "mag": f"{mag}-{mag}-{mag}", "opacity": opacity, **more}


def test_layers_are_put_together(server: Server) -> None:
    grey = np.repeat(ARRAYS["grey"][:48, :32, 0].T[..., None], 3, axis=2).astype(int)
    assert close(composed(server, [part("grey", color=None, mappingName=None, invertColor=False)]), grey)
    assert close(composed(server, [part("grey", 50)]), grey // 2)
    red = part("grey", color="#ff0000")
    assert close(composed(server, [red, part("grey", 50)], blendMode="Additive"), added(grey))
    assert close(composed(server, [red, part("grey", 100)], blendMode="Cover"), grey)
    inverted = part("grey", 50, invertColor=True)
    assert close(composed(server, [part("grey"), inverted], blendMode="Cover"), np.full_like(grey, 127))


def added(grey: Voxels) -> Voxels:
    """Red at its full, and half of the gray."""
    sums: Voxels = np.minimum(grey // 2 + grey * np.array([1, 0, 0]), 255)
    return sums


def test_layers_of_different_mags_fit(server: Server) -> None:
    body = {"width": 48, "height": 32, "layers": [part("grey", mag=2)]}
    found = np.asarray(Image.open(io.BytesIO(server.post(f"{PLACES[0]}/thumbnail.jpg", json=body).content))).astype(int)
    fine = np.repeat(ARRAYS["grey"][:48, :32, 0].T[..., None], 3, axis=2).astype(int)
    assert float(np.abs(found - fine).mean()) < 8


def test_segments_lie_on_top(server: Server) -> None:
    """Also where they are named first; where none is they cover nothing."""
    over = composed(server, [part("cells"), part("grey")])
    assert close(over, composed(server, [part("cells")]))
    outside = {**part("cells"), "x": -1000}
    assert close(composed(server, [part("grey"), outside]), composed(server, [part("grey")]))


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ([], 400, "JSON object"),
        ({"width": 1, "height": 1, "layers": []}, 400, "layers: expected a list of 1 to 64"),
        ({"width": 1, "height": 1, "layers": [{}]}, 400, "layers[0].dataLayerName"),
        ({"width": 1, "height": 1, "layers": [part("grey")], "blendMode": "x"}, 400, "blendMode"),
        ({"width": 1, "height": 1, "layers": [part("grey", 101)]}, 400, "layers[0].opacity"),
        ({"width": 1, "height": 1, "layers": [part("grey", True)]}, 400, "layers[0].opacity"),
        ({"width": 1, "height": 1, "layers": [part("grey"), part("grey", width=0)]}, 400, "layers[1].width and"),
        ({"width": 1, "height": 1, "layers": [part("grey", x=1.5)]}, 400, "layers[0].x: expected a whole number"),
        ({"width": 5001, "height": 1, "layers": [part("grey")]}, 400, "from 1 to 5000"),
        ({"width": 1, "height": 1, "layers": [part("no")]}, 404, "'no'"),
        ({"width": 1, "height": 1, "layers": [part("grey", width=5000, height=5000)] * 64}, 413, "limit"),
    ],
)
def test_bad_compositions_say_why(server: Server, body: Any, status: int, text: str) -> None:
    answer = server.post(f"/data/datasets/{DATASET_ID}/thumbnail.jpg", json=body)
    assert answer.status_code == status, answer.text
    assert text in answer.json()["messages"][0]["error"]


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("width=10", 400, "height: missing"),
        ("width=0&height=10", 400, "from 1 to 5000"),
        ("width=10&height=5001", 400, "from 1 to 5000"),
        ("width=1_0&height=10", 400, "width: expected a whole number"),
        ("width=10&height=10&mag=0", 400, "mag"),
        ("width=10&height=10&mag=3", 404, "'grey' has 1"),
        ("width=10&height=10&x=1&y=2&z=3", 400, "mag: missing"),
        ("width=10&height=10&mag=1&x=1", 400, "y: missing"),
        ("width=10&height=10&intensityMin=nan", 400, "intensityMin: expected a number"),
        ("width=10&height=10&intensityMin=5&intensityMax=5", 400, "less than intensityMax"),
        ("width=10&height=10&color=red", 400, "#rrggbb"),
    ],
)
def test_bad_thumbnails_say_why(server: Server, query: str, status: int, text: str) -> None:
    answer = server.get(f"{layer('grey')}/thumbnail.jpg?{query}")
    assert answer.status_code == status
    assert text in answer.json()["messages"][0]["error"]


# ---- cubes ----------------------------------------------------------------------------------------------------------


def test_read_data_and_knossos_cubes_are_cutouts(server: Server) -> None:
    path = layer("cells", PLACES[1])
    wanted = {"position": [16, 0, 32], "mag": [2, 2, 2], "cubeSize": [16, 8, 4], "additionalCoordinates": None}
    answer = server.post(f"{path}/readData", json=wanted)
    query = "x=16&y=0&z=32&width=16&height=8&depth=4&mag=2"
    assert answer.content == server.get(f"{path}/data?{query}").content
    assert (len(answer.content), answer.headers["MISSING-BUCKETS"]) == (16 * 8 * 4 * 8, "[]")
    cube = server.get(f"{path}/mag2/x1/y-1/z0/bucket.raw?cubeSize=16").content
    assert cube == server.get(f"{path}/data?x=32&y=-32&z=0&width=16&height=16&depth=16&mag=2").content
    assert any(cube)
    assert len(server.get(f"{path}/mag1/x0/y0/z0/bucket.raw").content) == 32**3 * 8


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("mag1/x0/y0/0/bucket.raw", 404),
        ("mag1/x0/y0/z0/bucket.raw?cubeSize=0", 400),
        ("magx/x0/y0/z0/bucket.raw", 400),
        ("mag1/x0/yy/z0/bucket.raw", 400),
    ],
)
def test_bad_cubes_say_why(server: Server, path: str, status: int) -> None:
    answer = server.get(f"{layer('grey')}/{path}")
    assert answer.status_code == status
    assert answer.json()["messages"][0]["error"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([], "JSON object"),
        ({"position": [0, 0, 0], "mag": [1, 1, 1]}, "cubeSize"),
        ({"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": [1, 1, 513]}, "from 1 to 512"),
        ({"position": [0, 0, 0], "mag": [1, 1, 0], "cubeSize": [1, 1, 1]}, "mag"),
    ],
)
def test_bad_boxes_say_why(server: Server, body: Any, text: str) -> None:
    answer = server.post(f"{layer('grey')}/readData", json=body)
    assert answer.status_code == 400
    assert text in answer.json()["messages"][0]["error"]


def peak_bytes(server: Server) -> int:
    """The most that the server's processes have held so far."""
    found = 0
    for process in processes(server):
        (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if "VmHWM" in line)
        found += int(line.split()[1]) * 1024
    return found


def test_a_gibibyte_is_streamed_in_little_memory(server: Server) -> None:
    """The largest box that a client may ask for."""
    before, length = peak_bytes(server), 0
    query = "x=-200&y=0&z=0&width=512&height=512&depth=512&mag=1"
    with requests.get(f"{server.base}{layer('cells')}/data?{query}", stream=True, timeout=120) as answer:
        for part in answer.iter_content(1 << 20):
            length += len(part)
    assert length == 2**30
    assert peak_bytes(server) - before < 200 * 2**20


# ---- what no source has, and who may ask ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", [PLACES[0], PLACES[1]])
def test_empty_answers_keep_the_page_quiet(server: Server, place: str) -> None:
    for path in ("mappings", "agglomerates", "meshes", "connectomes"):
        assert server.get(f"{layer('cells', place)}/{path}").json() == []
    assert server.get(f"{layer('cells', place)}/hasSegmentIndex").json() is False
    assert server.get(f"{layer('cells', place)}/mappings/some").status_code == 404


@pytest.mark.parametrize("path", ["histogram", "findData", "thumbnail.jpg?width=9&height=9", "mappings"])
def test_hidden_datasets_are_not_found(server: Server, path: str) -> None:
    there = f"/data/datasets/lab/hidden/layers/grey/{path}"
    assert server.get(there).status_code == 404
    assert server.get(there, headers={"X-Auth-Token": "t"}).status_code == 200
    assert server.get(f"{layer('no')}/{path}").status_code == 404


@pytest.mark.parametrize("trigger", ["checkInboxBlocking", "newOrganizationFolder", "createOrganizationDirectory"])
def test_triggers_need_the_administrator(server: Server, trigger: str) -> None:
    assert server.post(f"/data/triggers/{trigger}?organizationId=lab").status_code == 403
    answer = server.post(f"/data/v15/triggers/{trigger}?organizationId=lab", headers={"X-Auth-Token": "t"})
    assert (answer.status_code, answer.text) == (200, "Ok")
