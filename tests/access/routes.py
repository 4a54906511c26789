"""Every route as it is registered: its path for a dataset, what it would carry out, what it tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from sanic import Sanic

from tests.servers import Server
from wkdvid.config import Config
from wkdvid.core.entries import DatasetKey, default_uuid
from wkdvid.server import create_app

TOKEN = "administrator's-secret"
BUCKET = {"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}
CUTOUT = {**dict.fromkeys("xyz", "0"), **dict.fromkeys(("width", "height", "depth", "mag"), "1")}
LAYERS = {"layers": {name: {"source": "v", "type": "image"} for name in ("image", "other")}}
DOCUMENT = {"precomputed": {"org": {"foreign": LAYERS}}}
KEYS = {name: DatasetKey("org", name) for name in ("open", "hidden", "missing")}
SECRET = {"X-Auth-Token": TOKEN}
ALICE = {"X-Auth-Token": "alice"}
COMPOSITION = {"width": 2, "height": 2, "layers": [{"dataLayerName": "image", "width": 2, "height": 2}]}
ADDRESSED = ("<organization:str>/<name:str>", "<dataset_id:str>")
PARTS = ("0_1_2", "1_1_1", "0_0_0", "x", "y")
"""Of a request for raw voxels, as many as the route takes."""

SESSION = requests.Session()
"""Of requests to each route: there are thousands."""


def names_one(uri: str) -> bool:
    """Whether a route's path has a dataset in it."""
    return any(parameter in uri for parameter in ("<organization", "<dataset_id", "<dataset_path", "<uuid"))


def declared() -> Iterator[tuple[str, str, str]]:
    """Method, path and access of every route, as it is registered."""
    app = create_app(Config())
    Sanic.unregister_app(app)  # another test makes one of the same name
    for route in app.router.routes:
        access = getattr(route.ctx, "access", "")
        if not access.startswith("clio "):  # tests/clio walks those
            yield from ((method, route.uri, access) for method in route.methods)


ROUTES = sorted(declared())
CHANGES = {"write", "administrate"}
SIGNS_IN = "session"
"""Signs a browser in or out, and changes nothing else."""
LISTING = [(method, uri) for method, uri, access in ROUTES if access not in {*CHANGES, SIGNS_IN} and not names_one(uri)]
READING = [(method, uri) for method, uri, access in ROUTES if access in {"read", "write"} and names_one(uri)]
CHANGING = [(method, uri) for method, uri, access in ROUTES if access in CHANGES]
AT_ONCE = [(method, uri) for method, uri in CHANGING if "<uuid" not in uri]
"""The others say that a dataset's node is locked, whoever asks."""
UNVERSIONED = [(method, uri) for method, uri in READING if method != "HEAD" and not uri.startswith("/data/v")]


def path_of(uri: str, dataset: str) -> str:
    """A route's path for one of the datasets."""
    uuid = default_uuid(KEYS[dataset])
    values = {
        "organization": "org",
        "name": "image" if uri.startswith("/api/") else dataset,
        "dataset_id": uuid[:24],
        "uuid": uuid,
        "dataset_path": f"{uuid[:24]}/image",
        "layer": "image",
        "backend": "precomputed",
        "mag": "mag1" if uri.endswith("/bucket.raw") else "1",
        **{axis: f"{axis}0" for axis in "xyz"},
        "path": "info",
        "plane": "xy",
        "document": ".zgroup" if uri.startswith("/zarr2/") else "zarr.json",
        "endpoint": "raw" if "<part0" in uri else "info",
        "action": "note",
        "branch": "master",
        "link": "0" * 16,
        "token": "none",
        "domain": "mag",
        "typename": "uint8blk",
        "job": "none",
        "email": "ada@lab.org",
        **{f"part{i}": part for i, part in enumerate(PARTS)},
    }
    return re.sub(r"<(\w+)[^>]*>", lambda match: values[match[1]], uri)


def body_of(uri: str) -> Any:
    """What the route would carry out."""
    bodies: Mapping[str, Any] = {
        "/api/<backend:str>/<organization:str>/<name:str>": LAYERS,
        **{f"/data/datasets/{dataset}/thumbnail.jpg": COMPOSITION for dataset in ADDRESSED},
        "/data/datasets": DOCUMENT,
        "/api/config/dataset": {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": "v/"}},
        "/api/server/settings": {"throttle": "3"},
        "/api/links": {"dataset": "org/open"},
        "/api/jobs": {"kind": "pyramid", "dataset": "org/open", "layer": "image"},
    }
    return bodies.get(uri, [BUCKET])


def ask(
    server: Server, method: str, uri: str, dataset: str, headers: Mapping[str, str] | None = None, **query: str
) -> requests.Response:
    query = {**CUTOUT, "dataset_name": "runtime", **query}
    address = server.base + path_of(uri, dataset)
    return SESSION.request(method, address, params=query, json=body_of(uri), headers=headers, timeout=60)


ONES_OWN = r'<header class="site">.*?</header>|<div class="administration">.*?</div>\n'
"""Of a page: who looks at it, and what they may do."""


def told(server: Server, method: str, uri: str, dataset: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """Status and text of an answer, without what names the dataset and the request."""
    answer = ask(server, method, uri, dataset, headers)
    uuid = default_uuid(KEYS[dataset])
    shown = re.sub(ONES_OWN, "", answer.text, flags=re.DOTALL)
    text = shown.partition('"requestId"')[0].replace(uuid, "UUID").replace(uuid[:24], "ID")
    return answer.status_code, text.replace(f"org/{dataset}", "org/NAME")
