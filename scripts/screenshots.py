"""``scripts/screenshots``: the pictures of docs/, of the sample's server, in Chromium.

It needs Chromium (Debian: apt-get install chromium) and what scripts/setup installs. The sample lies in a temporary
folder, so that the pictures are the same whatever is in data/.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from benchmarks.servers import wkdvid  # noqa: E402
from wkdvid.sample import SAMPLE_ENTRY, write_sample  # noqa: E402

DOCS = ROOT / "docs"
SIZE = {"width": 1280, "height": 800}
NARROW = {"width": 390, "height": 800}
DATASET = "/datasets/sample/precomputed"
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
"""As in tests/clients: WebGL without a display."""
HOST = "em.example.org"
"""What the server is called in the pictures."""
DRAWN_MS = 6000
"""For the viewer, which draws in software here."""


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("this needs Chromium (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder)
        write_sample(root / "sample", 256)
        (root / "data").mkdir()
        with wkdvid(root / "data", sources(root), core=0, file_root=root, cache_mib=256) as server:
            named = f"--host-resolver-rules=MAP {HOST} {server.base.removeprefix('http://')}"
            browser = playwright.chromium.launch(executable_path=chromium, args=[*OPTIONS, named])
            for name, path, options, prepare in pictures():
                take(browser, f"http://{HOST}{path}", name, options, prepare)
            browser.close()


def sources(root: Path) -> dict[str, Any]:
    """The sample's datasets.json, with whole paths."""
    text = json.dumps(SAMPLE_ENTRY).replace('"source": "sample/', f'"source": "{root}/sample/')
    datasets: dict[str, Any] = json.loads(text)
    return datasets


def pictures() -> list[tuple[str, str, dict[str, object], Callable[[Page], None]]]:
    """Name, path, how the page is opened, and what is done before the picture is taken."""
    light: dict[str, object] = {"viewport": SIZE, "color_scheme": "light"}
    dark: dict[str, object] = {"viewport": SIZE, "color_scheme": "dark"}
    narrow: dict[str, object] = {"viewport": NARROW, "color_scheme": "light"}
    return [
        ("home.png", "/", light, whole),
        ("home-dark.png", "/", dark, whole),
        ("home-narrow.png", "/", narrow, nothing),
        ("dataset.png", DATASET, light, whole),
        ("dataset-dark.png", f"{DATASET}?layer=segmentation", dark, nothing),
        ("viewer.png", DATASET, light, open_viewer),
    ]


def nothing(page: Page) -> None:
    """The page as it is."""


def whole(page: Page) -> None:
    """As high as the page is."""
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": SIZE["width"], "height": height})
    page.wait_for_load_state("networkidle")


def open_viewer(page: Page) -> None:
    page.get_by_role("link", name="Open in Neuroglancer").click()
    page.wait_for_selector(".neuroglancer-rendered-data-panel")
    page.wait_for_timeout(DRAWN_MS)


def take(
    browser: Browser, address: str, name: str, options: dict[str, object], prepare: Callable[[Page], None]
) -> None:
    page = browser.new_page(**options)  # type: ignore[arg-type]
    page.goto(address, wait_until="networkidle")
    prepare(page)
    page.screenshot(path=DOCS / name)
    page.close()
    print(f"docs/{name}")


main()
