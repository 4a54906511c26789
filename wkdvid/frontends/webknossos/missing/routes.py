"""Routes that a main server or a browser may ask for, and what they are told (webknossos.md A5 and B.11).

What would change files is answered by 501, so that nobody takes it for done; what a layer might have, by 404.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.layers import Layer
from wkdvid.errors import NotFound, WkdvidError
from wkdvid.frontends.http import json_reply, require_administration, token_of
from wkdvid.frontends.router import add_route
from wkdvid.frontends.webknossos.routes import Handler, failed, with_layer
from wkdvid.frontends.webknossos.status import message
from wkdvid.frontends.webknossos.versions import ADDRESSINGS, ALL

_UPLOADS = "nothing is uploaded to this datastore: register a source with POST /data/datasets"
_FILES = "the sources of this datastore are not its own; it neither measures, moves nor deletes their files"
_EDITING = (
    "datasets are described by their sources, and cannot be edited here: change their entry with POST /data/datasets"
)
_IMPORT = (
    "this datastore shows what is registered with it: POST /data/datasets. The main server alone cannot add datasets"
)

OF_SERVER: Mapping[tuple[str, str], str] = {
    ("POST", "validatePaths"): _IMPORT,
    ("GET", "baseDirAbsolute"): _FILES,
    ("POST", "measureUsedStorage/<organization>"): _FILES,
    ("POST", "writeMirrors"): _FILES,
    ("DELETE", "deletePaths"): _FILES,
    ("GET", "unfinishedUploads"): _UPLOADS,
    **{
        ("POST", f"{action}"): _UPLOADS
        for action in ("reserveUpload", "reserveManualUpload", "finishUpload", "cancelUpload")
    },
    **{
        (method, f"upload/{path}"): _UPLOADS for method in ("GET", "POST") for path in ("<domain>", "<domain>/<action>")
    },
}
"""By method and path below ``/data/datasets``, why it is not offered."""
OF_DATASETS: Mapping[tuple[str, str], str] = {("PUT", ""): _EDITING, ("DELETE", "/deleteOnDisk"): _FILES}
OF_LAYERS: Mapping[tuple[str, str], str] = {
    ("GET", "mappings/<path:path>"): "mappings",
    ("GET", "agglomerates/<path:path>"): "agglomerates",
    ("POST", "agglomerates/<path:path>"): "agglomerates",
    ("POST", "connectomes/<path:path>"): "connectomes",
    ("POST", "segmentIndex"): "index of segments",
    ("POST", "segmentIndex/<path:path>"): "index of segments",
    ("POST", "segmentStatistics/<path:path>"): "index of segments",
}
"""What a layer does not have."""


def blueprint() -> Blueprint:
    bp = Blueprint("webknossos_missing")
    for (method, path), why in OF_SERVER.items():
        add_route(bp, ALL, method, f"/datasets/{path}", _refusing(why), "administrate")
    add_route(bp, ALL, "POST", "/datasets/<organization>/<name>", _refusing(_EDITING), "administrate")
    for addressing, prefixes in ADDRESSINGS.items():
        _add_routes_of_dataset(bp, prefixes, f"/datasets/{addressing}")
    bp.exception(WkdvidError)(failed)
    return bp


def _add_routes_of_dataset(bp: Blueprint, prefixes: Sequence[str], dataset: str) -> None:
    for (method, path), why in OF_DATASETS.items():
        add_route(bp, prefixes, method, dataset + path, _refusing(why), "administrate")
    for (method, path), what in OF_LAYERS.items():
        add_route(bp, prefixes, method, f"{dataset}/layers/<layer>/{path}", with_layer(_lacking(what)), "read")
    attachment = f"{dataset}/proxy/layers/<layer>/attachments/<path:path>"
    add_route(bp, prefixes, "GET", attachment, with_layer(_lacking("attachments")), "read")


def _refusing(why: str) -> Handler:
    async def refuse(request: Request, **names: str) -> HTTPResponse:
        await require_administration(request, token_of(request))
        return json_reply(message([why], "not_offered", str(request.id)), 501)

    return refuse


def _lacking(what: str) -> Handler:
    async def lack(request: Request, layer: Layer, path: str = "") -> HTTPResponse:
        raise NotFound(f"layer {layer.info.name!r} has no {what}")

    return lack
