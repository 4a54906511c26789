"""Slices that are no plain planes of voxels: isotropic across unequal sides, oblique, in colours."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.servers import Server, running
from tests.volumes import Voxels, grid, write_precomputed
from wkdvid.codecs import images
from wkdvid.codecs.interpolation import trilinear
from wkdvid.core.limits import Limits
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.dvid.oblique import TILE_PIXELS, TILE_VOXELS, Plane, parse_plane, tiles

UUID = "5c" * 16
SIZE = (90, 70, 50)
SIDES = (10.0, 10.0, 25.0)


@pytest.fixture(scope="module")
def arrays() -> dict[str, Voxels]:
    x, y, z = grid(SIZE)
    labels = (x // 9 + 10 * (y // 7) + 100 * (z // 5)).astype(np.uint64) + 2**40
    float_ramp = (x + 0.25 * y - 2.0 * z).astype(np.float32)
    rgb = np.stack([x, y, z], axis=-1).astype(np.uint8)
    return {"ramp": (x + y + 2 * z).astype(np.uint8), "field": float_ramp, "rgb": rgb, "labels": labels}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Voxels]) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("slices")
    for name, array in arrays.items():
        kind = "segmentation" if name == "labels" else "image"
        write_precomputed(data / name, [((1, 1, 1), array)], voxel_size_nm=SIDES, kind=kind)
    layers = {name: {"source": name} for name in arrays}
    with running(data, {"precomputed": {"lab": {"x": {"uuid": UUID, "layers": layers}}}}) as server:
        yield server


def picture(server: Server, path: str) -> Voxels:
    answer = server.get(f"/api/node/{UUID}/{path}")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def refusal(server: Server, path: str) -> str:
    answer = server.get(f"/api/node/{UUID}/{path}")
    assert answer.status_code == 400
    return answer.text.partition(" (/")[0]


def test_equal_sides_need_no_stretching(server: Server) -> None:
    for plane in ("xy/40_30/5_6_7", "0_1/40_30/5_6_7/tif"):
        np.testing.assert_array_equal(picture(server, f"ramp/isotropic/{plane}"), picture(server, f"ramp/raw/{plane}"))


def test_the_longer_side_is_stretched(server: Server, arrays: dict[str, Voxels]) -> None:
    """100 pixels along z are 40 voxels, and a ramp stays one."""
    found = picture(server, "ramp/isotropic/xz/60_100/20_9_8")
    assert found.shape == (100, 60)
    z = np.clip(8 + (np.arange(100) + 0.5) / 2.5 - 0.5, 8, 47)
    expected = np.arange(20, 80)[None] + 9 + 2 * z[:, None]
    assert np.abs(found - expected).max() <= 0.5
    np.testing.assert_array_equal(picture(server, "ramp/isotropic/yz/30_100/20_9_8")[:, 11], found[:, 11])
    rgb = picture(server, "rgb/isotropic/xz/60_100/20_9_8")
    assert rgb.shape == (100, 60, 4)
    assert (rgb[..., 1] == 9).all()


def test_labels_are_never_mixed(server: Server, arrays: dict[str, Voxels]) -> None:
    answer = server.get(f"/api/node/{UUID}/labels/isotropic/xz/60_100/20_9_8/png?scale=0")
    assert answer.status_code == 200
    plain = picture(server, "labels/raw/xz/60_40/20_9_8")
    np.testing.assert_array_equal(picture(server, "labels/isotropic/xz/60_100/20_9_8")[1::5], plain[::2])


def test_a_slice_thinner_than_a_voxel(server: Server) -> None:
    assert picture(server, "ramp/isotropic/xz/3_1/0_0_0").tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("name", ["ramp", "field", "rgb"])
def test_oblique_slices_along_the_grid_are_those_of_the_grid(
    server: Server, arrays: dict[str, Voxels], name: str
) -> None:
    path = f"{name}/arb/50_60_500/850_60_500/50_560_500/10"
    found, plain = picture(server, path), picture(server, f"{name}/raw/xy/81_51/5_6_20")
    np.testing.assert_array_equal(found, plain)


def test_oblique_slices_lie_between_voxels(server: Server) -> None:
    """A ramp has its value everywhere: x + y + 2 z, at (x, y, z) in voxels."""
    found = picture(server, "ramp/arb/52.5_63_510/552.5_163_910/102.5_563_610/7.5/png")
    right, down = np.array([500, 100, 400]), np.array([50, 500, 100])
    height, width = (int(np.linalg.norm(way) / 7.5) for way in (down, right))
    assert found.shape == (height + 1, width + 1)
    rows, columns = np.meshgrid(np.arange(height + 1) / height, np.arange(width + 1) / width, indexing="ij")
    places = np.array([52.5, 63, 510]) + columns[..., None] * right + rows[..., None] * down
    expected = (places / SIDES) @ [1, 1, 2]
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


def test_outside_there_are_zeros(server: Server) -> None:
    found = picture(server, "ramp/arb/-100_0_0/100_0_0/-100_-50_0/10")
    assert found[0, 10:].tolist() == list(range(11))
    assert not found[1:].any()
    assert not found[:, :10].any()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("0_0_0/1_0_0/0_1_0", '"arb" must be followed by'),
        ("0_0/1_0_0/0_1_0/1", "cannot convert '0_0' into a 3d vector"),
        ("0_0_a/1_0_0/0_1_0/1", 'strconv.ParseFloat: parsing "a": invalid syntax'),
        ("0_0_0/1_0_0/0_1_0/nan", 'strconv.ParseFloat: parsing "nan"'),
        ("0_0_0/1_0_0/0_1_0/1_0", 'strconv.ParseFloat: parsing "1_0"'),
        ("0_0_0/1_0_0/0_1_0/0", "res: '0' is no number of nanometres above 0"),
        ("0_0_0/1_0_0/0_1_0/-3", "res: '-3' is no number"),
        ("0_0_0/1e300_0_0/0_1_0/1", "the corners are farther away"),
        ("0_0_0/1e9_0_0/0_1e9_0/1", "Requested payload"),
        ("0_0_0/100_0_0/0_100_0/1e-320", "res: at '1e-320' nm the image has more pixels along a side"),
        ("0_0_0/9000000_0_0/0_9000000_0/30000", "16385 blocks in one request, the limit is 16384"),
        ("0_0_0/100_0_0/0_100_0/10/gif", "Illegal image format requested: gif"),
    ],
)
def test_what_is_no_plane(server: Server, path: str, text: str) -> None:
    assert refusal(server, f"ramp/arb/{path}").startswith(text)


coordinate = st.floats(-(2.0**20), 2.0**20)
place = st.tuples(coordinate, coordinate, coordinate)


@settings(max_examples=25)
@given(place, place, place, st.floats(3e4, 1e6))
def test_tiles_make_up_the_image_and_their_boxes_hold_what_they_need(
    corner: tuple[float, float, float],
    right: tuple[float, float, float],
    down: tuple[float, float, float],
    resolution: float,
) -> None:
    texts = ["_".join(f"{n:.3f}" for n in one) for one in (corner, right, down)]
    plane = parse_plane([*texts, str(resolution)], SIDES)
    assume(plane.width * plane.height < 20_000)
    seen = np.zeros((plane.height, plane.width), int)
    for tile in tiles(plane):
        seen[slice(*tile.rows), slice(*tile.columns)] += 1
        box, points = plane.box(tile), plane.points(tile)
        assert (np.floor(points) >= box.start).all()
        assert (np.ceil(points) < box.stop).all()
        assert points[..., 0].size == 1 or (points[..., 0].size <= TILE_PIXELS and box.voxels <= TILE_VOXELS)
    assert (seen == 1).all()


def test_a_plane_is_as_dvid_counts_it() -> None:
    plane = parse_plane(["100_100_1000", "1000_100_1000", "100_800_1000", "10"], (10, 10, 10))
    assert plane == Plane((10, 10, 100), (1, 0, 0), (0, 1, 0), 91, 71)
    with pytest.raises(InvalidRequest):
        parse_plane(["0_0_0", "inf_0_0", "0_0_0", "1"], (1, 1, 1))


def test_colours_of_labels(server: Server, arrays: dict[str, Voxels]) -> None:
    found = picture(server, "labels/pseudocolor/xy/30_20/4_5_6")
    labels = arrays["labels"][4:34, 5:25, 6].T
    assert found.shape == (20, 30, 3)
    by_label = {label: {tuple(rgb) for rgb in found[labels == label].tolist()} for label in np.unique(labels).tolist()}
    assert all(len(colors) == 1 for colors in by_label.values())
    assert len(set.union(*by_label.values())) == len(by_label)
    assert picture(server, "labels/pseudocolor/xz/5_4/4_5_6/jpg").shape == (4, 5, 3)
    assert refusal(server, "labels/pseudocolor/0_1_2/4_4_4/0_0_0").startswith("DVID currently supports only 2d")
    assert refusal(server, "labels/pseudocolor/xy/4_4").startswith('"pseudocolor" must be followed by')


def test_colours_are_dvids() -> None:
    """Of two labels of the medulla volume, as a DVID answered."""
    found = images.pseudocolors(np.array([[135602, 24720, 135602]], np.uint64))
    assert found.tolist() == [[[0x98, 0xD2, 0x02], [0x48, 0x33, 0xD6], [0x98, 0xD2, 0x02]]]


def test_colouring_takes_little_memory() -> None:
    labels = np.arange(4000 * 1000, dtype=np.uint64).reshape(4000, 1000) % 500
    tracemalloc.start()
    try:
        found = images.pseudocolors(labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * labels.nbytes
    assert (found[-1] == images.pseudocolors(labels[-1:])[0]).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_resized_images_keep_to_their_range(height: int, width: int, rows: int, columns: int, smooth: bool) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 65536, (height, width)).astype(np.uint16)
    found = images.resized(pixels, rows, columns, smooth=smooth)
    assert found.shape == (rows, columns)
    assert found.dtype == np.uint16
    assert pixels.min() <= found.min()
    assert found.max() <= pixels.max()
    np.testing.assert_array_equal(images.resized(pixels, height, width, smooth=smooth), pixels)


def test_large_images_are_mixed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(3).normal(size=(7, 50, 3)).astype(np.float32)
    whole = images.resized(pixels, 20, 31, smooth=True)
    monkeypatch.setattr(images, "MIXED_AT_A_TIME", 64)
    np.testing.assert_array_equal(images.resized(pixels, 20, 31, smooth=True), whole)


def test_between_eight_voxels() -> None:
    cube = np.arange(8, dtype=np.uint8).reshape(1, 2, 2, 2)
    points = np.array([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [0.25, 0, 0], [0, 0, 0.5]])
    assert trilinear(cube, points)[:, 0].tolist() == [0, 7, 4, 1, 1]
    assert trilinear(cube.astype(np.float32), points)[:, 0].tolist() == [0, 7, 3.5, 1, 0.5]


def test_defaults_allow_a_screen_of_oblique_pixels() -> None:
    plane = parse_plane(["0_0_0", "30000_20000_10000", "-9000_20000_9000", "8"], (8, 8, 8))
    assert sum(1 for _ in tiles(plane)) < Limits().blocks
