"""docs/clio.md's walk-through, and what it leads to: annotations and a transfer in Neuroglancer, a login in a browser.

All of one server, which has the sample. webKnossos's own Python package reads its annotations too.
"""

from __future__ import annotations

import io
import json
import os
import queue
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import neuroglancer
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.clients.sites import Neuroglancer, Page
from tests.clients.visit import Visit
from tests.clio.accounts import DATASET, ROLES, SECRET, Clio
from tests.clio.provider import CLIENT, CLIENT_SECRET, Provider
from tests.servers import running
from tests.test_walkthroughs import SHOWN, SIZE, commands
from wkdvid.sample import SAMPLE_ENTRY, VOXEL_SIZE_NM, write_sample
from wkdvid.transfer.link import NEUROGLANCER

ADA, BEN, U = "ada@lab.org", "ben@lab.org", "u@t.com"
"""The owner, who annotates in the walk-through, and who does here."""
TYPED = f"/v2/annotations/{DATASET}"
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clio.md"
START = re.compile(r"^    ((?:\w+=\S+ )+)wkdvid serve$", re.MULTILINE)
SOURCE = re.compile(r"^    (\S+)\?token=TOKEN\|neuroglancer-precomputed:$", re.MULTILINE)
SIDE = 300
PLACES = [(50, 60), (150, 150), (250, 40), (200, 260)]
"""Of points in the plane z = 10, as (x, y)."""
DRAWN_WITHIN_S = 60
CONFIGURATION = """
[clio]
allowed_origins = ["*", "{page}"]
[[clio.providers]]
issuer = "{provider}"
audiences = ["{client}"]
client_id = "{client}"
client_secret = "$CLIENT_SECRET"
[[clio.providers]]
issuer = "https://<other>.example"
audiences = ["{client}"]
client_id = "{client}"
"""
HTML = """
<a id="in" href="SERVER/login?redirect=HERE">log in</a> <a id="out" href="SERVER/logout?redirect=HERE">log out</a>
<p id="said"></p>
<script>
const ask = (path, options) => fetch("SERVER" + path, {credentials: "include", ...options});
ask("/profile").then(async answer => {
  document.getElementById("said").textContent = answer.ok ? (await answer.json()).email : "status " + answer.status;
});
</script>
"""
"""A page as clio's are: it sends its visitor to log in, and asks with the cookie."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        running.asks = True
        yield running


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with Page(HTML) as site:
        yield site


@pytest.fixture(scope="module")
def clio(provider: Provider, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    """As the walk-through starts it, in the folder that its commands run in; and with a provider of logins."""
    folder = tmp_path_factory.mktemp("walk") / "data"
    write_sample(folder / "sample", SIZE)
    (settings,) = START.findall(PAGE.read_text())
    secrets = {"FLYEM_SECRET": SECRET, "CLIENT_SECRET": CLIENT_SECRET}
    environ = dict(setting.split("=") for setting in settings.split()) | secrets
    text = CONFIGURATION.format(page=page.origin, provider=provider.issuer, client=CLIENT)
    (folder / "config.toml").write_text(text)
    with running(folder, SAMPLE_ENTRY, environ=environ) as server:
        provider.redirects.add(f"{server.base}/login/callback")
        page.html = HTML.replace("SERVER", server.base).replace("HERE", quote(page.origin, safe=""))
        yield Clio(server, environ)


@pytest.fixture(scope="module")
def walked(clio: Clio) -> Clio:
    """When what the page shows has been typed, and has printed what the page says."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command, shown in commands(PAGE):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.replace(SHOWN, clio.server.base)],
            cwd=clio.server.data_dir.parent,
            env={**os.environ, **clio.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip("\n") == shown.strip("\n"), (command, done.stderr)
    return clio


@pytest.fixture(scope="module")
def annotated(walked: Clio) -> Clio:
    """With annotations of another user, whom nobody of the walk-through knows."""
    walked.told(ADA, "POST", "/v2/users", ROLES)
    points = [{"kind": "point", "pos": [x, y, 10], "title": f"at {x}", "tags": ["a"]} for x, y in PLACES]
    line = {"kind": "lineseg", "pos": [20, 200, 10, 120, 280, 10], "prop": {"n": 1}}
    walked.told(U, "POST", TYPED, [*points, line])
    return walked


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


def show(viewer: Any, layer: Any, z: int = 10, voxel_nm: float = 1) -> None:
    with viewer.txn() as state:
        state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=[voxel_nm] * 3)
        state.position, state.layout, state.cross_section_scale = [SIDE / 2, SIDE / 2, z], "xy", 1
        state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
        state.cross_section_background_color = "#000000"
        state.layers.clear()
        state.layers["annotations"] = layer


def is_there(pixels: Any, x: int, y: int) -> bool:
    """Whether something of the layer's colour (red) is near a place."""
    around = pixels[max(y - 6, 0) : y + 7, max(x - 6, 0) : x + 7]
    return bool(((around[..., 0] > 200) & (around[..., 1] < 60)).any())


def test_the_walk_throughs_annotations_are_seen(walked: Clio, visit: Visit) -> None:
    """With the token in the address, which Neuroglancer sends along with whatever it asks for."""
    (address,) = SOURCE.findall(PAGE.read_text())
    token = (walked.server.data_dir.parent / "ben.token").read_text().strip()
    source = f"{address.replace(SHOWN, walked.server.base)}?token={token}|neuroglancer-precomputed:"
    viewer: Any = neuroglancer.Viewer()
    visit.page.goto(viewer.get_viewer_url())
    show(viewer, neuroglancer.AnnotationLayer(source=source, annotation_color="#ff0000"), 40, VOXEL_SIZE_NM)
    pixels = drawn(viewer)
    assert is_there(pixels, 64, 50)
    assert not is_there(pixels, 50, 64)
    assert not any(walked.server.base in refused for refused in visit.refused)


def test_neuroglancer_draws_precomputed_annotations(annotated: Clio, visit: Visit) -> None:
    token = annotated.header(U)["Authorization"].removeprefix("Bearer ")
    viewer: Any = neuroglancer.Viewer()
    visit.page.goto(viewer.get_viewer_url())
    for kind, places in (("point", PLACES), ("lineseg", [(20, 200), (70, 240), (120, 280)])):
        source = f"{annotated.server.base}{TYPED}/precomputed/{kind}/?token={token}|neuroglancer-precomputed:"
        show(viewer, neuroglancer.AnnotationLayer(source=source, annotation_color="#ff0000"))
        pixels = drawn(viewer)
        assert [is_there(pixels, x, y) for x, y in places] == [True] * len(places)
        assert not is_there(pixels, 60, 150)


def test_neuroglancer_takes_the_state(annotated: Clio, visit: Visit) -> None:
    given = annotated.told(U, "GET", f"{TYPED}/export/neuroglancer")
    viewer: Any = neuroglancer.Viewer()
    visit.page.goto(viewer.get_viewer_url())
    layer = neuroglancer.AnnotationLayer(given["layers"][-1])
    layer.annotation_color = "#ff0000"
    show(viewer, layer)
    pixels = drawn(viewer)
    assert [is_there(pixels, x, y) for x, y in PLACES] == [True] * len(PLACES)
    kept = viewer.state.layers["annotations"].layer.annotations
    assert sorted(one.id for one in kept) == sorted(one["id"] for one in given["layers"][-1]["annotations"])


def test_a_transfers_link_shows_the_image(walked: Clio, browser: Browser) -> None:
    """Of 64 voxels a side around the middle; Neuroglancer begins there, and shows a voxel on a pixel."""
    asked = {"dataset": "precomputed", "model_name": "identity", "center": [64, 64, 64], "size": [64, 64, 64]}
    link = walked.told("eve@lab.org", "POST", "/transfer", asked)["addr"]
    repositories = walked.told(ADA, "GET", "/api/repos/info").values()
    (uuid,) = [one["Root"] for one in repositories if one["Alias"] == "precomputed"]
    raw = walked.ask(ADA, "GET", f"/api/node/{uuid}/grey/raw/0_1_2/64_64_64/32_32_32").content
    plane = np.frombuffer(raw, np.uint8).reshape(64, 64, 64)[32]
    with Neuroglancer() as site, Visit(browser) as visit:
        visit.page.set_viewport_size({"width": 800, "height": 600})
        visit.page.goto(link.replace(NEUROGLANCER, site.url))
        began = time.monotonic()
        while not holds(visit.page.screenshot(), plane[4:28, 4:28]):  # beside the axis lines
            assert time.monotonic() - began < DRAWN_WITHIN_S, "the image is not drawn"
        assert visit.hosts == {urlsplit(base).netloc for base in (site.url, walked.server.base)}
        assert visit.refused == []


def holds(picture: bytes, part: Any) -> bool:
    """Whether a picture (PNG) has these grey values (row, column) somewhere in its left upper quarter."""
    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.asarray(image.convert("L"))[:330, :250]
    rows, columns = np.nonzero(pixels[: -part.shape[0], : -part.shape[1]] == part[0, 0])
    return any(
        (pixels[row : row + part.shape[0], column : column + part.shape[1]] == part).all()
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    )


def test_somebody_logs_in_and_out(clio: Clio, page: Page, provider: Provider, browser: Browser) -> None:
    """From a page to the provider and back, where the page asks who one is; and away again."""
    with Visit(browser) as visit:
        visit.page.goto(page.origin)
        expect(visit.page.locator("#said")).to_have_text("status 401")
        visit.page.locator("#in").click()
        expect(visit.page.get_by_role("link")).to_have_text([urlsplit(provider.issuer).netloc, "<other>.example"])
        visit.page.get_by_role("link").first.click()
        assert visit.page.url.startswith(f"{provider.issuer}/authorize?")
        visit.page.get_by_text("I am Ada").click()
        expect(visit.page.locator("#said")).to_have_text(ADA)
        assert visit.page.url == f"{page.origin}/"
        (cookie,) = [one for one in visit.page.context.cookies() if one["name"] == "dsg_token"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        assert "dsg_token" not in visit.page.evaluate("document.cookie")
        kept = "ask('/v2/kv/s/k', {method: 'POST', body: '{}'}).then(answer => answer.status)"
        assert visit.page.evaluate(kept) == 200
        visit.page.goto(f"{clio.server.base}/v2/roles")
        assert json.loads(visit.page.locator("body").inner_text())["email"] == ADA
        refused_elsewhere(visit, clio)
        visit.page.goto(page.origin)
        visit.page.locator("#out").click()
        expect(visit.page.locator("#said")).to_have_text("status 401")
        assert visit.page.evaluate(kept) == 401
        left = visit.page.goto(f"{clio.server.base}/v2/roles")
        assert left is not None
        assert left.status == 401


def refused_elsewhere(visit: Visit, clio: Clio) -> None:
    """A page that nobody has listed can neither have a browser sent to it nor use the cookie."""
    with Page(HTML.replace("SERVER", clio.server.base)) as other:
        for address in (other.origin, f"//{urlsplit(other.origin).netloc}", f"///{urlsplit(other.origin).netloc}"):
            answer = visit.page.goto(f"{clio.server.base}/login?redirect={quote(address, safe='')}")
            assert answer is not None
            assert answer.status == 400
            assert visit.page.url.startswith(clio.server.base)
        visit.page.goto(other.origin)
        asked = "ask('/v2/kv/s/k', {method: 'POST', body: '1'}).then(answer => answer.status, error => 'unread')"
        assert visit.page.evaluate(asked) == "unread"
    assert clio.told(ADA, "GET", "/v2/kv/s/k") == {}


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


def test_webknossos_reads_and_writes_nml(annotated: Clio, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.nml", tmp_path / "theirs.nml"
    ours.write_bytes(annotated.ask(U, "GET", f"{TYPED}/export/nml").content)
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
    before = annotated.told(U, "GET", TYPED)
    report = annotated.told(U, "POST", f"{TYPED}/import?format=nml", data=theirs.read_bytes())
    assert (report["imported"], report["wrong"]) == (len(before), 0)
    assert annotated.told(U, "GET", TYPED) == before
