"""Neuroglancer itself draws our volumes over ``dvid://``, ``precomputed://`` and ``zarr://``; what is on its screen is
compared voxel by voxel.

Neuroglancer reads gray images over DVID as JPEG only, so the screen shows what JPEG makes of the voxels; it is compared
with what other decoders (Pillow's, TensorStore's) make of the same JPEG. Labels come unharmed: each is given a colour,
from which it is read back.
"""

from __future__ import annotations

import io
import json
import queue
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import neuroglancer
import numpy as np
import pytest
import simplejpeg
import tensorstore as ts
from cloudvolume import Mesh, Skeleton
from PIL import Image
from playwright.sync_api import Browser

from tests.clients.visit import Visit
from tests.mesh_files import add_to_info
from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.geometry import Float3, Vec3, divide_down

DRAWN_WITHIN_S = 60
QUALITY = 80
"""Of DVID's JPEG, and of what ``write_precomputed`` stores."""
ROUNDING = 2
"""JPEG decoders (Neuroglancer brings its own) may differ by so many grey values."""
SIDE = 250
WHOLE = 192
"""Side of the volume that is stored as JPEG: whole chunks, which are handed on as they are."""
CUBE, FLAT = "c0be", "f1a7"
"""UUIDs of two datasets of the same voxels."""
MOVED: Vec3 = (-62, 20, 6)
"""Where a third one of these voxels begins."""
TREES = {"precomputed": "precomputed", "zarr": "zarr3", "zarr2": "zarr2"}
"""What is exported, with Neuroglancer's name for it."""
BODY = 10**12 + 7
"""Has a mesh and a skeleton."""
CUBOID = ((30, 110), (60, 200), (20, 90))
"""What the mesh encloses: x, y and z in voxels, from and to."""
BENT = ((20.5, 40.5, 90), (180.5, 40.5, 150), (180.5, 220.5, 60))
"""Points that the skeleton connects, (x, y, z) in voxels."""
VOXEL_NM: Mapping[str, tuple[int, int, int]] = {CUBE: (10, 10, 10), FLAT: (4, 4, 40)}


@pytest.fixture(scope="module")
def arrays(medulla: Mapping[str, Voxels]) -> Mapping[str, list[Voxels]]:
    """Two levels each, (x, y, z). The coarser takes every other voxel, as no server would compute it."""
    named = {"grey": medulla["grayscale"], "seg": medulla["bodies"]}
    return {name: [array, np.asfortranarray(array[::2, ::2, ::2])] for name, array in named.items()}


def write(folder: Path, levels: list[Voxels], encoding: str, kind: str, start: Vec3 = (0, 0, 0)) -> None:
    mags: list[Vec3] = [(1, 1, 1), (2, 2, 2)]
    stored, size = list(zip(mags, levels, strict=False)), VOXEL_NM[CUBE]
    offsets = [divide_down(start, mag) for mag in mags]
    write_precomputed(folder, stored, voxel_size_nm=size, encoding=encoding, kind=kind, offsets=offsets)


def write_bodies(volume: Path) -> None:
    """By cloud-volume: a cuboid as a body's mesh, a bent line as its skeleton."""
    corners = np.arange(8).reshape(2, 2, 2)
    sides = [np.take(corners, end, axis).ravel() for axis in range(3) for end in (0, 1)]
    triangles = np.array([three for side in sides for three in (side[:3], side[1:])], np.uint32)
    mesh = Mesh(np.array(list(product(*CUBOID)), np.float32) * VOXEL_NM[CUBE], triangles)
    line = Skeleton(np.array(BENT, np.float32) * VOXEL_NM[CUBE], np.array([(0, 1), (1, 2)], np.uint32))
    files = {
        "mesh/info": json.dumps({"@type": "neuroglancer_legacy_mesh"}).encode(),
        f"mesh/{BODY}:0": json.dumps({"fragments": ["whole"]}).encode(),
        "mesh/whole": mesh.to_precomputed(),
        "skeletons/info": json.dumps(
            {"@type": "neuroglancer_skeletons", "vertex_attributes": line.extra_attributes}
        ).encode(),
        f"skeletons/{BODY}": line.to_precomputed(),
    }
    for name, data in files.items():
        (volume / name).parent.mkdir(exist_ok=True)
        (volume / name).write_bytes(data)
    add_to_info(volume, mesh="mesh", skeletons="skeletons")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, arrays: Mapping[str, list[Voxels]]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("neuroglancer")
    stored = [arrays["grey"][0][:WHOLE, :WHOLE, :WHOLE]]
    write(folder / "grey", arrays["grey"], "raw", "image")
    write(folder / "stored", stored, "jpeg", "image")
    write(folder / "seg", arrays["seg"], "compressed_segmentation", "segmentation")
    write_bodies(folder / "seg")
    write(folder / "moved_grey", arrays["grey"], "raw", "image", MOVED)
    write(folder / "moved_seg", arrays["seg"], "compressed_segmentation", "segmentation", MOVED)
    layers = {name: {"source": name} for name in ("grey", "stored", "seg")}
    flat = {
        "grey": {"source": "grey", "compression": "jpeg"},
        "plain": {"source": "grey", "compression": "none"},
        "seg": {"source": "seg"},
    }
    datasets = {
        "precomputed": {
            "lab": {
                "cube": {"uuid": CUBE, "layers": layers},
                "moved": {"layers": {name: {"source": f"moved_{name}"} for name in ("grey", "seg")}},
                "flat": {"uuid": FLAT, "layers": flat, "voxel_size": VOXEL_NM[FLAT]},
            }
        }
    }
    with running(folder, datasets) as started:
        yield started


@dataclass(frozen=True)
class View:
    """A plane of a volume on the screen, one pixel a voxel of its level."""

    layout: str
    at: int
    """Index of the plane among the finest voxels."""
    level: int = 0
    origin: Float3 = (0, 0, 0)
    """Where the volume begins."""

    @property
    def side(self) -> int:
        return SIDE >> self.level

    def of(self, levels: list[Voxels]) -> Voxels:
        """The plane as (row, column), as Neuroglancer turns it: z runs to the left in yz."""
        array, at = levels[self.level], self.at >> self.level
        planes = {"xy": array[:, :, at].T, "xz": array[:, at, :].T, "yz": array[at, :, ::-1]}
        return planes[self.layout]

    def position(self) -> list[float]:
        middle = [SIDE / 2] * 3
        middle[{"xy": 2, "xz": 1, "yz": 0}[self.layout]] = self.at + 0.5
        return [at + start for at, start in zip(middle, self.origin, strict=True)]


class Screen:
    """Neuroglancer in a browser."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.viewer: Any = neuroglancer.Viewer()
        visit.page.goto(self.viewer.get_viewer_url())

    def draw(self, layer: Any, view: View, voxel_nm: tuple[int, int, int]) -> Voxels:
        """Pixels (row, column, RGBA), once all that belongs to the view has come and is drawn."""
        with self.viewer.txn() as state:
            state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=voxel_nm)
            state.position, state.layout, state.cross_section_scale = view.position(), view.layout, 2**view.level
        return self._drawn(layer, view.side)

    def draw_bodies(self, layer: Any, voxel_nm: tuple[int, int, int]) -> Voxels:
        """The pixels that show a body in space (row, column) = (y, x), seen along z from afar; one a voxel."""
        with self.viewer.txn() as state:
            state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=voxel_nm)
            state.position, state.projection_scale, state.show_slices = [SIDE / 2] * 3, SIDE, False
            state.layout = neuroglancer.DataPanelLayout("3d", orthographic_projection=True)
        return np.asarray(self._drawn(layer, SIDE)[..., :3].any(axis=2))

    def _drawn(self, layer: Any, side: int) -> Voxels:
        with self.viewer.txn() as state:
            state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
            state.cross_section_background_color = state.projection_background_color = "#000000"
            state.layers.clear()
            state.layers["layer"] = layer
        with self.viewer.config_state.txn() as config:
            config.show_ui_controls = config.show_panel_borders = False
            config.viewer_size = [side, side]
        began = time.monotonic()
        while (pixels := self.picture()).shape[:2] != (side, side):
            assert time.monotonic() - began < DRAWN_WITHIN_S, "the viewer did not take the view's size"
        self.visit.page.evaluate("0")  # gives Playwright its turn, so that the visit knows of every request
        return pixels

    def picture(self) -> Voxels:
        drawn: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.viewer.async_screenshot(drawn.put)
        pixels: Voxels = drawn.get(timeout=DRAWN_WITHIN_S).screenshot.image_pixels
        return pixels


@pytest.fixture(scope="module")
def screen(browser: Browser, server: Server) -> Iterator[Screen]:
    """Neuroglancer's Python side insists on a token for each DVID, which its browser side then never sends."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("DVID_CREDENTIALS", f"{server.base}=unused")
        neuroglancer.set_server_bind_address("127.0.0.1")
        with Visit(browser) as visit:
            yield Screen(visit)
        neuroglancer.stop()


def as_jpeg(array: Voxels) -> Voxels:
    """What is left of an (x, y, z) array: each z is a picture, padded to whole blocks as it is sent."""
    width, height, depth = array.shape
    padded = np.zeros((depth, -(-height // 64) * 64, -(-width // 64) * 64), np.uint8)
    padded[:, :height, :width] = array.T
    jpeg = simplejpeg.encode_jpeg(padded.reshape(-1, padded.shape[2], 1), QUALITY, "GRAY", "Gray")
    return np.asarray(Image.open(io.BytesIO(jpeg))).reshape(padded.shape)[:, :height, :width].T


@pytest.fixture(scope="module")
def jpegs(server: Server, arrays: Mapping[str, list[Voxels]]) -> Mapping[str, list[Voxels]]:
    """What there is to see of the gray layers: two levels, and one with nothing around it."""
    kvstore = {"driver": "file", "path": f"{server.data_dir}/stored/"}
    grey = [as_jpeg(array) for array in arrays["grey"]]
    stored = ts.open({"driver": "neuroglancer_precomputed", "kvstore": kvstore}).result().read().result()[..., 0]
    return {
        "grey": grey,
        "plain": grey,
        "stored": [np.pad(stored, (0, SIDE - WHOLE))],
    }


@pytest.mark.parametrize(
    ("uuid", "layer", "view", "asked"),
    [
        (CUBE, "grey", View("xy", 100), "grey/raw/0_1_2/64_64_64/128_64_64/jpeg"),
        (CUBE, "grey", View("xz", 37), "grey/raw/0_1_2/64_64_64/128_0_64/jpeg"),
        (CUBE, "grey", View("yz", 249), "grey/raw/0_1_2/64_64_64/192_0_64/jpeg"),
        (CUBE, "grey", View("xy", 100, level=1), "grey_1/raw/0_1_2/64_64_64/64_0_0/jpeg"),
        (CUBE, "stored", View("xy", 100), "stored/subvolblocks/64_64_64/128_64_64"),
        (FLAT, "grey", View("xy", 100), "grey/subvolblocks/128_128_16/128_0_96"),
        (FLAT, "plain", View("xy", 100), "plain/raw/0_1_2/128_128_16/128_0_96/jpeg"),
    ],
    ids=str,
)
def test_gray_voxels_are_where_they_belong(
    server: Server, screen: Screen, jpegs: Mapping[str, list[Voxels]], uuid: str, layer: str, view: View, asked: str
) -> None:
    source = neuroglancer.ImageLayer(source=f"dvid://{server.base}/{uuid}/{layer}", opacity=1.0)
    red, green, blue = np.moveaxis(screen.draw(source, view, VOXEL_NM[uuid])[..., :3].astype(int), 2, 0)
    assert (red == green).all()
    assert (red == blue).all()
    assert np.abs(red - view.of(jpegs[layer])).max() <= ROUNDING
    assert any(f"/api/node/{uuid}/{asked}" in path for path in screen.visit.paths)


@pytest.mark.parametrize(
    ("uuid", "view"),
    [
        *((CUBE, view) for view in (View("xy", 3), View("xy", 249), View("xz", 100), View("yz", 0))),
        (CUBE, View("xy", 100, level=1)),
        (FLAT, View("xy", 37)),
    ],
    ids=str,
)
def test_labels_are_exact(
    server: Server, screen: Screen, arrays: Mapping[str, list[Voxels]], uuid: str, view: View
) -> None:
    labels = np.unique(arrays["seg"][0])
    assert labels[0] == 0  # is drawn as the background, which is black
    layer = neuroglancer.SegmentationLayer(
        source=f"dvid://{server.base}/{uuid}/seg",
        segment_colors={int(label): f"#{i:06x}" for i, label in enumerate(labels)},
        selected_alpha=1.0,
    )
    red, green, blue = np.moveaxis(screen.draw(layer, view, VOXEL_NM[uuid])[..., :3].astype(int), 2, 0)
    assert np.array_equal(labels[red << 16 | green << 8 | blue], view.of(arrays["seg"]))


@pytest.mark.parametrize(
    ("part", "key", "rows_and_columns"),
    [
        ("meshes", f"{BODY}.ngmesh", [np.s_[60:200, 30:110]]),
        ("skeletons", f"{BODY}_swc", [np.s_[40, 20:181], np.s_[40:221, 180]]),
    ],
)
def test_meshes_and_skeletons_are_where_they_belong(
    server: Server, screen: Screen, part: str, key: str, rows_and_columns: list[Any]
) -> None:
    parts = {"default": True, part: True}
    url = f"dvid://{server.base}/{CUBE}/seg"
    source = neuroglancer.LayerDataSource(url=url, enable_default_subsources=False, subsources=parts)
    drawn = screen.draw_bodies(neuroglancer.SegmentationLayer(source=source, segments=[BODY]), VOXEL_NM[CUBE])
    shown = np.zeros((SIDE, SIDE), bool)
    for pixels in rows_and_columns:
        shown[pixels] = True
    assert np.array_equal(drawn, shown)
    assert f"/api/node/{CUBE}/seg_{part}/key/{key}?app=Neuroglancer" in screen.visit.paths


def test_a_share_link_is_followed(
    server: Server, screen: Screen, arrays: Mapping[str, list[Voxels]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the UUID its ``dvid://`` takes no slash; of backslashes the browser makes some."""
    token = server.post("/api/links", json={"dataset": "lab/cube", "layer": "grey"}).json()["token"]
    (listed,) = server.get(f"/shared/{token}/data/datasets").json()
    (source,) = listed["addresses"]["neuroglancer"]
    assert source == f"dvid://{server.base}\\shared\\{token}/{CUBE}/grey"
    monkeypatch.setenv("DVID_CREDENTIALS", f"{server.base}\\shared\\{token}=unused")
    view = View("xy", 37)
    drawn = screen.draw(neuroglancer.ImageLayer(source=source, opacity=1.0), view, VOXEL_NM[CUBE])[..., 0].astype(int)
    assert np.abs(drawn - view.of([as_jpeg(arrays["grey"][0])])).max() <= ROUNDING
    assert any(path.startswith(f"/shared/{token}/api/node/{CUBE}/grey/raw") for path in screen.visit.paths)


@pytest.mark.parametrize(
    ("tree", "view"),
    [("precomputed", View("xy", 100)), ("zarr", View("yz", 100)), ("zarr2", View("xz", 100, level=1))],
    ids=str,
)
def test_exported_layers_are_where_they_belong(
    server: Server, screen: Screen, arrays: Mapping[str, list[Voxels]], tree: str, view: View
) -> None:
    """Nothing is lost, and it is where it belongs, though the volume does not begin at the origin."""
    centre = 0.0 if tree == "precomputed" else 0.5  # as OME-Zarr means places: those of the centres of voxels
    x, y, z = (at - centre for at in MOVED)
    moved = replace(view, origin=(x, y, z))
    source = f"{TREES[tree]}://{server.base}/{tree}/lab/moved/grey"
    shader = "void main() { emitGrayscale(toNormalized(getDataValue())); }"
    layer = neuroglancer.ImageLayer(source=source, shader=shader, opacity=1.0)
    pixels = screen.draw(layer, moved, VOXEL_NM[CUBE])
    assert np.abs(pixels[..., 0].astype(int) - view.of(arrays["grey"])).max() <= 1
    labels = np.unique(arrays["seg"][0])
    colors = {int(label): f"#{i:06x}" for i, label in enumerate(labels)}
    source = f"{TREES[tree]}://{server.base}/{tree}/lab/moved/seg"
    layer = neuroglancer.SegmentationLayer(source=source, segment_colors=colors, selected_alpha=1.0)
    red, green, blue = np.moveaxis(screen.draw(layer, moved, VOXEL_NM[CUBE])[..., :3].astype(int), 2, 0)
    assert np.array_equal(labels[red << 16 | green << 8 | blue], view.of(arrays["seg"]))


def test_nothing_was_refused(server: Server, screen: Screen) -> None:
    own = [answer for answer in screen.visit.refused if server.base in answer]
    assert [answer for answer in own if not answer.endswith("/.zarray")] == []  # it looks whether a group is an array
    assert urlsplit(server.base).netloc in screen.visit.hosts
    assert all(host.startswith("127.0.0.1:") for host in screen.visit.hosts)
