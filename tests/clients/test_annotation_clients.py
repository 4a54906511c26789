"""Annotations as other programs see them: Neuroglancer in a browser, and webKnossos's own Python package."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import neuroglancer
import pytest
from playwright.sync_api import Browser

from tests.clients.visit import Visit
from tests.clio.accounts import DATASET, Clio, clio_server

U = "u@t.com"
TYPED = f"/v2/annotations/{DATASET}"
ROOT = Path(__file__).parent.parent.parent
SIDE = 300
PLACES = [(50, 60), (150, 150), (250, 40), (200, 260)]
"""Of points in the plane z = 10, as (x, y)."""
DRAWN_WITHIN_S = 60


@pytest.fixture(scope="module")
def clio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    with clio_server(tmp_path_factory.mktemp("data")) as server:
        points = [{"kind": "point", "pos": [x, y, 10], "title": f"at {x}", "tags": ["a"]} for x, y in PLACES]
        line = {"kind": "lineseg", "pos": [20, 200, 10, 120, 280, 10], "prop": {"n": 1}}
        server.told(U, "POST", TYPED, [*points, line])
        yield server


@pytest.fixture(scope="module")
def visit(browser: Browser) -> Iterator[Visit]:
    neuroglancer.set_server_bind_address("127.0.0.1")
    with Visit(browser) as one:
        yield one
    neuroglancer.stop()


def drawn(viewer: Any) -> Any:
    """Pixels (row, column, RGBA) of a view of the plane, one pixel a voxel."""
    with viewer.config_state.txn() as config:
        config.show_ui_controls = config.show_panel_borders = False
        config.viewer_size = [SIDE, SIDE]
    began = time.monotonic()
    while True:
        pictures: queue.SimpleQueue[Any] = queue.SimpleQueue()
        viewer.async_screenshot(pictures.put)
        pixels = pictures.get(timeout=DRAWN_WITHIN_S).screenshot.image_pixels
        if pixels.shape[:2] == (SIDE, SIDE):
            return pixels
        assert time.monotonic() - began < DRAWN_WITHIN_S, "the viewer did not take the view's size"


def show(viewer: Any, layer: Any) -> None:
    with viewer.txn() as state:
        state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=[1, 1, 1])
        state.position, state.layout, state.cross_section_scale = [SIDE / 2, SIDE / 2, 10], "xy", 1
        state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
        state.cross_section_background_color = "#000000"
        state.layers.clear()
        state.layers["annotations"] = layer


def is_there(pixels: Any, x: int, y: int) -> bool:
    """Whether something of the layer's colour (red) is near a place."""
    around = pixels[max(y - 6, 0) : y + 7, max(x - 6, 0) : x + 7]
    return bool(((around[..., 0] > 200) & (around[..., 1] < 60)).any())


def test_neuroglancer_draws_precomputed_annotations(clio: Clio, visit: Visit) -> None:
    """With the token in the address, which Neuroglancer sends along with whatever it asks for."""
    token = clio.header(U)["Authorization"].removeprefix("Bearer ")
    viewer: Any = neuroglancer.Viewer()
    visit.page.goto(viewer.get_viewer_url())
    for kind, places in (("point", PLACES), ("lineseg", [(20, 200), (70, 240), (120, 280)])):
        source = f"{clio.server.base}{TYPED}/precomputed/{kind}/?token={token}|neuroglancer-precomputed:"
        show(viewer, neuroglancer.AnnotationLayer(source=source, annotation_color="#ff0000"))
        pixels = drawn(viewer)
        assert [is_there(pixels, x, y) for x, y in places] == [True] * len(places)
        assert not is_there(pixels, 60, 150)
    assert not any(clio.server.base in refused for refused in visit.refused)


def test_neuroglancer_takes_the_state(clio: Clio, visit: Visit) -> None:
    given = clio.told(U, "GET", f"{TYPED}/export/neuroglancer")
    viewer: Any = neuroglancer.Viewer()
    visit.page.goto(viewer.get_viewer_url())
    layer = neuroglancer.AnnotationLayer(given["layers"][-1])
    layer.annotation_color = "#ff0000"
    show(viewer, layer)
    pixels = drawn(viewer)
    assert [is_there(pixels, x, y) for x, y in PLACES] == [True] * len(PLACES)
    kept = viewer.state.layers["annotations"].layer.annotations
    assert sorted(one.id for one in kept) == sorted(one["id"] for one in given["layers"][-1]["annotations"])


READ = """
import json, sys, webknossos as wk
skeleton = wk.Skeleton.load(sys.argv[1])
trees = sorted(skeleton.flattened_trees(), key=lambda tree: tree.name)
print(json.dumps({
    "dataset": skeleton.dataset_name,
    "trees": [[tree.name, sorted(map(list, tree.get_node_positions().tolist())), len(tree.edges), dict(tree.metadata)]
              for tree in trees],
}))
skeleton.save(sys.argv[2])
"""


def test_webknossos_reads_and_writes_nml(clio: Clio, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.nml", tmp_path / "theirs.nml"
    ours.write_bytes(clio.ask(U, "GET", f"{TYPED}/export/nml").content)
    python = os.environ.get("WEBKNOSSOS_PYTHON", str(ROOT / ".venv-webknossos" / "bin" / "python"))
    done = subprocess.run([python, "-c", READ, ours, theirs], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["dataset"] == DATASET
    names = [name for name, _, _, _ in found["trees"]]
    assert names == sorted(["Ln20_200_10_120_280_10", *(f"at {x}" for x, _ in PLACES)])
    by_name = {name: rest for name, *rest in found["trees"]}
    assert by_name["Ln20_200_10_120_280_10"][:2] == [[[20, 200, 10], [120, 280, 10]], 1]
    assert by_name["at 50"][0] == [[50, 60, 10]]
    assert by_name["at 50"][2]["kind"] == "point"
    before = clio.told(U, "GET", TYPED)
    report = clio.told(U, "POST", f"{TYPED}/import?format=nml", data=theirs.read_bytes())
    assert (report["imported"], report["wrong"]) == (len(before), 0)
    assert clio.told(U, "GET", TYPED) == before
