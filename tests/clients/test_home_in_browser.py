"""The home page, a dataset's page and the viewer in a browser: what they show is what the arrays hold.

Each page asks no other host, logs nothing, and axe-core finds nothing serious in it, light or dark.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.clients.visit import Visit
from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.pictures import segment_colors

SIDE = 250
PAGE = "/datasets/fly/medulla"
NM = (10, 10, 10)
TRIES, PAUSE_MS = 120, 500
ROUNDING = 1
OF_JPEG = 40
"""Gray values by which what comes over DVID may differ: in the contrast of the page its JPEG's errors are stretched."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, medulla: Mapping[str, Voxels]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("home")
    write_precomputed(folder / "grey", [((1, 1, 1), medulla["grayscale"])], voxel_size_nm=NM)
    write_precomputed(
        folder / "seg",
        [((1, 1, 1), medulla["bodies"])],
        voxel_size_nm=NM,
        kind="segmentation",
        encoding="compressed_segmentation",
    )
    layers = {"grey": {"source": "grey"}, "seg": {"source": "seg"}}
    broken = {"layers": {"gone": {"source": "gone"}}}
    with running(folder, {"precomputed": {"fly": {"medulla": {"layers": layers}, "broken": broken}}}) as started:
        yield started


def check_quiet(visit: Visit, server: Server) -> None:
    assert visit.hosts == {urlsplit(server.base).netloc}
    assert visit.refused == []
    assert visit.complaints == []


def serious(page: Page) -> list[str]:
    """What keeps somebody from using a page."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", f"{PAGE}?layer=grey", f"{PAGE}/source", "/datasets/fly/none"])
def test_pages_can_be_used_by_all(browser: Browser, server: Server, path: str, scheme: str) -> None:
    with Visit(browser, color_scheme=scheme) as visit:
        visit.page.goto(server.base + path, wait_until="networkidle")
        assert serious(visit.page) == []
        ground = {"light": "rgb(246, 248, 249)", "dark": "rgb(16, 22, 27)"}[scheme]
        expect(visit.page.locator("body")).to_have_css("background-color", ground)
        assert visit.hosts == {urlsplit(server.base).netloc}
        if not path.endswith("none"):
            check_quiet(visit, server)


def test_home_shows_pictures_and_reasons(browser: Browser, server: Server) -> None:
    with Visit(browser) as visit:
        visit.page.goto(server.base + "/", wait_until="networkidle")
        card = visit.page.get_by_role("article").filter(has_text="medulla")
        expect(card).to_contain_text("250 × 250 × 250 voxels")
        size = card.locator("img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert size == [250, 250]
        expect(visit.page.get_by_role("article").filter(has_text="broken")).to_contain_text("there is no info file")
        visit.page.get_by_label("Search").fill("medu")
        visit.page.keyboard.press("Enter")
        expect(visit.page.get_by_role("article")).to_have_count(1)
        check_quiet(visit, server)


def drawn(page: Page, plane: str) -> Voxels:
    """(y, x, 3) of the picture that a plane shows now."""
    address = page.locator(f"[data-plane={plane}] image").get_attribute("href")
    assert address is not None
    answer = page.request.get(page.evaluate("address => new URL(address, location).href", address))
    return np.asarray(Image.open(io.BytesIO(answer.body())))


def test_slices_are_stepped_by_wheel_keys_clicks_and_links(
    browser: Browser, server: Server, medulla: Mapping[str, Voxels]
) -> None:
    ids = medulla["bodies"]
    with Visit(browser) as visit:
        page = visit.page
        page.goto(f"{server.base}{PAGE}?layer=seg&x=10&y=20&z=30", wait_until="networkidle")
        np.testing.assert_array_equal(drawn(page, "xy"), segment_colors(ids[:, :, 30].T))
        slider = page.get_by_role("slider", name="xy plane")
        slider.focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("PageUp")
        slider.hover()
        page.mouse.wheel(0, -100)
        page.locator("[data-plane=xy]").get_by_role("link", name="z +10").click()
        expect(page.locator("[data-plane=xy] output")).to_have_text("z 50")
        expect(slider).to_have_attribute("aria-valuenow", "50")
        frame = slider.bounding_box()
        assert frame is not None
        slider.click(position={"x": frame["width"] * 100.8 / SIDE, "y": frame["height"] * 200.8 / SIDE})
        expect(page.locator("[data-plane=zy] output")).to_have_text("x 100")
        expect(page.locator("[data-plane=xz] output")).to_have_text("y 200")
        expect(page).to_have_url(f"{server.base}{PAGE}?layer=seg&x=100&y=200&z=50")
        page.wait_for_load_state("networkidle")
        for plane, shown in (("xy", ids[:, :, 50].T), ("zy", ids[100]), ("xz", ids[:, 200].T)):
            np.testing.assert_array_equal(drawn(page, plane), segment_colors(shown))
        check_quiet(visit, server)


def test_without_scripts_links_and_forms_do(browser: Browser, server: Server) -> None:
    with Visit(browser, java_script_enabled=False) as visit:
        page = visit.page
        page.goto(f"{server.base}{PAGE}?layer=grey&x=10&y=20&z=30")
        page.locator("[data-plane=zy]").get_by_role("link", name="x +10").click()
        expect(page.locator("[data-plane=zy] output")).to_have_text("x 20")
        page.get_by_label("z", exact=True).fill("77")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("[data-plane=xy] output")).to_have_text("z 77")
        expect(page.get_by_label("x", exact=True)).to_have_value("20")
        expect(page.get_by_role("button", name="Copy")).to_have_count(0)
        page.get_by_role("link", name="seg").click()
        expect(page.locator("[data-plane=xy] output")).to_have_text("z 77")
        check_quiet(visit, server)


def test_lines_are_copied(browser: Browser, server: Server) -> None:
    with Visit(browser, permissions=["clipboard-read", "clipboard-write"]) as visit:
        visit.page.goto(f"{server.base}{PAGE}?layer=grey")
        button = visit.page.get_by_role("button", name="Copy Precomputed")
        button.click()
        expect(button).to_have_text("Copied")
        copied = visit.page.evaluate("navigator.clipboard.readText()")
        assert copied == f"{server.base}/precomputed/fly/medulla/grey"
        check_quiet(visit, server)


# ---- the viewer -----------------------------------------------------------------------------------------------------


def at_scale(state: Mapping[str, Any], shown: str, position: list[float]) -> dict[str, Any]:
    """The viewer's state, with one pixel for each voxel of xy, one layer, and nothing over it."""
    layers = [{**layer, "visible": layer["name"] == shown} for layer in state["layers"]]
    bare = dict.fromkeys(("showAxisLines", "showScaleBar", "showDefaultAnnotations"), False)
    opaque = [{**layer, "selectedAlpha": 1} if layer["type"] == "segmentation" else layer for layer in layers]
    view = {"layout": "xy", "crossSectionScale": 1, "position": position, "crossSectionBackgroundColor": "#000000"}
    return {**state, **bare, **view, "layers": opaque}


def pixels(page: Page, plane: Voxels, at: tuple[int, int]) -> tuple[Voxels, Voxels]:
    """What the panel shows, and the same part of a plane (x, y[, c]): (height, width, 3) and (height, width[, c])."""
    frame = page.locator(".neuroglancer-rendered-data-panel").bounding_box()
    assert frame is not None
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    left, top = round(frame["x"] + frame["width"] / 2), round(frame["y"] + frame["height"] / 2)
    half = 80  # within the panel, and clear of what lies over its edges
    shown = picture[top - half : top + half, left - half : left + half].astype(int)
    part = plane[at[0] - half : at[0] + half, at[1] - half : at[1] + half]
    return shown, np.swapaxes(part, 0, 1).astype(int)


def gray_of(values: Voxels, low: float, high: float) -> Voxels:
    return np.repeat((np.clip((values - low) / (high - low), 0, 1) * 255)[..., None], 3, axis=2)


@pytest.mark.parametrize("way", ["Open in Neuroglancer", "over DVID"])
def test_the_viewer_shows_the_voxels(browser: Browser, server: Server, medulla: Mapping[str, Voxels], way: str) -> None:
    middle, z = (125, 125), 100
    with Visit(browser, viewport={"width": 500, "height": 500}) as visit:
        page = visit.page
        page.goto(f"{server.base}{PAGE}?layer=grey", wait_until="networkidle")
        page.get_by_role("link", name=way).click()
        page.wait_for_selector(".neuroglancer-rendered-data-panel")
        told: dict[str, Any] = json.loads(unquote(page.url.partition("#!")[2]))
        assert [layer["name"] for layer in told["layers"]] == ["grey", "seg"]
        assert told["position"] == [125.5, 125.5, 125.5]
        low, high = told["layers"][0]["shaderControls"]["normalized"]["range"]
        images = {
            "grey": gray_of(medulla["grayscale"][:, :, z].astype(float), low, high),
            "seg": segment_colors(medulla["bodies"][:, :, z]),
        }
        tolerance = OF_JPEG if way == "over DVID" else ROUNDING
        for name, plane in images.items():
            wanted = at_scale(told, name, [*middle, z + 0.5])
            page.evaluate("state => { location.hash = `!${state}` }", quote(json.dumps(wanted)))
            allowed = tolerance if name == "grey" else ROUNDING
            for _ in range(TRIES):
                shown, expected = pixels(page, plane, middle)
                if np.abs(shown - expected).max() <= allowed:
                    break
                page.wait_for_timeout(PAUSE_MS)
            assert np.abs(shown - expected).max() <= allowed, name
            assert shown.std() > 10
        check_quiet(visit, server)
