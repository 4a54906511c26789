"""The files that pages load: nothing comes from another host."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from swagger_ui_bundle import swagger_ui_path

CSS = "text/css; charset=utf-8"
JAVASCRIPT = "text/javascript; charset=utf-8"
SVG = "image/svg+xml"
STATIC = Path(__file__).parent / "static"
ASSETS: Mapping[str, tuple[Path, str]] = {
    "home.css": (STATIC / "home.css", CSS),
    "acts.css": (STATIC / "acts.css", CSS),
    "jobs.js": (STATIC / "jobs.js", JAVASCRIPT),
    "icon.svg": (STATIC / "icon.svg", SVG),
    "slices.js": (STATIC / "slices.js", JAVASCRIPT),
    "viewer.js": (STATIC / "viewer.js", JAVASCRIPT),
    "copy.js": (STATIC / "copy.js", JAVASCRIPT),
    "docs.js": (STATIC / "docs.js", JAVASCRIPT),
    "redoc.js": (STATIC / "redoc.js", JAVASCRIPT),
    "swagger-ui.css": (Path(str(swagger_ui_path)) / "swagger-ui.css", CSS),
    "swagger-ui-bundle.js": (Path(str(swagger_ui_path)) / "swagger-ui-bundle.js", JAVASCRIPT),
}
KEPT = {"cache-control": "public, max-age=31536000, immutable"}
"""Of a file that was asked for with its hash: another one has another address. Sanic's ``file`` adds a ``no-cache``
where this is not spelled as there.
"""
ASKED_ANEW = {"cache-control": "no-cache"}


@cache
def hash_of(name: str) -> str:
    return hashlib.sha256(ASSETS[name][0].read_bytes()).hexdigest()[:12]


def asset_address(name: str) -> str:
    """Where a page finds a file, relative to the server's root."""
    return f"assets/{name}?v={hash_of(name)}"


def caching(name: str, version: str | None) -> Mapping[str, str]:
    """How long a browser may keep a file without asking again."""
    return KEPT if version == hash_of(name) else ASKED_ANEW
