"""The page of a dataset: slices as the array has them, contrast, levels, ways in that lead somewhere."""

from __future__ import annotations

import html
import io
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.pictures import segment_colors

PAGE = "/datasets/lab/deep"
OFFSET = (5, -20, 7)
PLANES = {"xy": (0, 1, 2), "zy": (2, 1, 0), "xz": (0, 2, 1)}
"""Axis to the right, down, and across."""


@pytest.fixture(scope="module")
def arrays() -> dict[str, Voxels]:
    """(x, y, z)"""
    x, y, z = np.ogrid[:40, :30, :20]
    noise = np.random.default_rng(1).integers(0, 50, (40, 30, 20))
    return {
        "image": (1000 + 100 * x + 10 * y + z + noise).astype(np.uint16),
        "ids": np.asfortranarray((x // 8 + 10 * (y // 8) + 2**40 * (z // 8)).astype(np.uint64)),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Voxels]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    size = (4, 4, 40)
    for name, kind in (("image", "image"), ("ids", "segmentation")):
        stored = [((1, 1, 1), arrays[name])]
        write_precomputed(folder / name, stored, voxel_size_nm=size, offsets=[OFFSET], kind=kind)
    empty = np.zeros((1000, 700, 40), np.uint8)
    empty[-100:, :50, :3] = 90
    write_precomputed(folder / "corner", [((1, 1, 1), empty)], voxel_size_nm=size)
    write_precomputed(folder / "nothing", [((1, 1, 1), empty[:64, :64, 9:])], voxel_size_nm=size)
    layers = {"ids": {"source": "ids", "type": "segmentation"}, "image": {"source": "image"}}
    others = {name: {"layers": {name: {"source": name}}} for name in ("corner", "nothing")}
    datasets = {"lab": {"deep": {"layers": layers}, **others}}
    with running(folder, {"precomputed": datasets}) as started:
        yield started


def picture(server: Server, address: str) -> Voxels:
    answer = server.get(address)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def plane_of(array: Voxels, plane: str, at: int) -> Voxels:
    """(height, width)"""
    right, down, across = PLANES[plane]
    return np.moveaxis(array, [down, right, across], [0, 1, 2])[..., at - OFFSET[across]]


@pytest.mark.parametrize("plane", PLANES)
def test_segments_are_where_the_array_has_them(server: Server, arrays: dict[str, Voxels], plane: str) -> None:
    first = OFFSET[PLANES[plane][2]]
    for at in (first, first + 9, first + arrays["ids"].shape[PLANES[plane][2]] - 1):
        shown = picture(server, f"{PAGE}/layers/ids/slices/{plane}?at={at}")
        np.testing.assert_array_equal(shown, segment_colors(plane_of(arrays["ids"], plane, at)))


def test_images_are_shown_in_the_contrast_that_is_asked_for(server: Server, arrays: dict[str, Voxels]) -> None:
    values = plane_of(arrays["image"], "xz", 0).astype(float)
    shown = picture(server, f"{PAGE}/layers/image/slices/xz?at=0&low=2000&high=4000")
    assert np.abs(shown - np.clip((values - 2000) / 2000, 0, 1) * 255).mean() < 4


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("layers/image/slices/xy?at=6", 400, "expected z from 7 to 26, got 6"),
        ("layers/image/slices/xy?at=27", 400, "expected z from 7 to 26, got 27"),
        ("layers/image/slices/xy?at=1e3", 400, "at: expected a whole number"),
        ("layers/image/slices/yx", 404, "there are xy, zy, xz"),
        ("layers/no/slices/xy", 404, "no layer &#39;no&#39;"),
        ("layers/image/slices/xy?low=9&high=9", 400, "low: expected less than high, 9"),
        ("layers/image/slices/xy?low=nan", 400, "low: expected a number"),
        ("layers/image/slices/xy?high=-inf", 400, "high: expected a number"),
        ("?layer=no", 404, "no layer &#39;no&#39;"),
        ("?x=" + "9" * 5000, 200, "image"),
        ("?y=one", 400, "y: expected a whole number"),
    ],
)
def test_bad_requests_say_why(server: Server, query: str, status: int, text: str) -> None:
    answer = server.get(f"{PAGE}{'' if query.startswith('?') else '/'}{query}")
    assert answer.status_code == status
    assert text in answer.text


def test_pictures_are_kept_by_browsers(server: Server) -> None:
    for address in (f"{PAGE}/picture", f"{PAGE}/layers/ids/slices/xy"):
        answer = server.get(address)
        again = server.get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert server.get(address, headers={"If-None-Match": '"other"'}).content == answer.content
        assert "private" in answer.headers["Cache-Control"]


def test_a_card_shows_where_there_is_something(server: Server) -> None:
    """The middle of this layer is empty."""
    shown = picture(server, "/datasets/lab/corner/picture")
    assert shown.shape == (320, 480)
    assert shown.max() > 60


def test_the_page_shows_the_wanted_place(server: Server) -> None:
    text = server.get(f"{PAGE}?layer=image&x=30&y=-1000&z=9").text
    pictures = [html.unescape(found) for found in re.findall(r'<image href="\.\./\.\./([^"]+)"', text)]
    assert [one.partition("&at=")[2] for one in pictures] == ["9", "30", "-20"], "the nearest one"
    for address in pictures:
        assert server.get(f"/{address}").status_code == 200
    steps = [html.unescape(found) for found in re.findall(r'data-by="-10"[^>]*href="([^"#]+)#', text)]
    positions = [re.findall(r"[xyz]=(-?\d+)", step) for step in steps]
    assert positions == [["30", "-20", "7"], ["20", "-20", "9"], ["30", "-20", "9"]]
    low, high = (float(re.findall(rf'name="{name}"[^>]*value="([^"]+)"', text)[0]) for name in ("low", "high"))
    assert 1000 < low < 1300
    assert 4700 < high < 5300


def test_what_is_too_large_is_halved_along_the_plane_alone(server: Server) -> None:
    """1000 x 700 x 40 voxels without levels: each z can still be looked at."""
    for z, brightest in ((2, 90), (3, 0)):
        shown = picture(server, f"/datasets/lab/corner/layers/corner/slices/xy?at={z}&low=0&high=255")
        assert shown.shape == (350, 500)
        assert abs(int(shown[:20, 455:].mean()) - brightest) < 3
    assert picture(server, "/datasets/lab/corner/layers/corner/slices/xz?at=0").shape == (40, 500)


def test_a_layer_in_which_nothing_was_found_says_so(server: Server) -> None:
    assert "all voxels are 0" in server.get("/datasets/lab/nothing").text


def test_the_page_says_what_the_levels_are(server: Server) -> None:
    text = re.sub(r"<[^>]+>", " ", server.get(PAGE).text)
    row = re.search(r"0\s+1\s+4 × 4 × 40\s+40 × 30 × 20\s+5, -20, 7\s+(\S+ × \S+ × \S+)\s+(\d+)\s+raw", text)
    assert row is not None
    assert "0.16 × 0.12 × 0.8 µm" in text


def ways(server: Server) -> dict[str, str]:
    text = server.get(f"{PAGE}?layer=image").text
    found = re.findall(r'data-copy="([^"]+)"><pre tabindex="0"><code>([^<]+)</code>', text)
    return {html.unescape(name): html.unescape(line) for name, line in found}


def test_what_is_copied_leads_to_the_voxels(server: Server, arrays: dict[str, Voxels]) -> None:
    lines, image = ways(server), arrays["image"]
    assert server.get(lines["DVID"].removeprefix(server.base)).json()["Base"]["Name"] == "image"
    start = [n // 2 for n in image.shape]
    inside = image[start[0] :, start[1] :, start[2] :]
    part = tuple(slice(n) for n in inside.shape)
    np.testing.assert_array_equal(run(lines["Python client"])["array"][part], inside)
    np.testing.assert_array_equal(run(lines["cloud-volume"])["array"][..., 0][part], inside)
    np.testing.assert_array_equal(run(lines["zarr-python"])["array"][:].T, image)
    np.testing.assert_array_equal(run(lines["TensorStore"])["volume"].read().result()[..., 0], image)
    done = subprocess.run(shlex.split(lines["curl"].replace("cube.raw", "-")), capture_output=True, check=True)
    cube = np.frombuffer(done.stdout, np.uint16).reshape(64, 64, 64).T
    np.testing.assert_array_equal(cube[part], inside)


def run(line: str) -> dict[str, Any]:
    """What is there after what a user would run."""
    known: dict[str, Any] = {}
    exec(line, known)
    return known


def test_the_source_is_looked_at(server: Server) -> None:
    text = server.get(f"{PAGE}/source").text
    assert "With data" in text
    assert ">image</h2>" in text
