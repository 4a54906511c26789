"""The URL table of the layers as other programs store them. A warm request is one look into the cache of bodies."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

import orjson
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.access import Action
from wkdvid.core.catalog import Dataset
from wkdvid.core.layers import Layer
from wkdvid.errors import NotFound, WkdvidError
from wkdvid.export.zarr_documents import ZarrFormat, group
from wkdvid.frontends.export.beside import annotation_file, is_of_annotations, is_of_segments, segment_file
from wkdvid.frontends.export.parse import Find, in_precomputed, in_zarr
from wkdvid.frontends.export.status import STATUS
from wkdvid.frontends.http import (
    JSON,
    OCTETS,
    RANGES,
    api_failed,
    asked_range,
    reply,
    send_bytes,
    send_object,
    services_of,
    token_of,
)

READING = ("GET", "HEAD")
DOCUMENTS = frozenset({"info", "zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
"""Names of what is JSON."""
ZARR_FORMATS: Mapping[str, ZarrFormat] = {"zarr": 3, "zarr2": 2}
EXPOSED = "Content-Length, Content-Range, ETag"
TREES: Mapping[str, Find] = {
    "precomputed": in_precomputed,
    **{tree: partial(in_zarr, zarr_format) for tree, zarr_format in ZARR_FORMATS.items()},
}
FRESH_S = 60
"""How long nobody asks again for what they have."""
KEPT_BY_ALL = {"Cache-Control": f"public, max-age={FRESH_S}"}
KEPT_BY_READER = {"Cache-Control": f"private, max-age={FRESH_S}", "Vary": "Authorization, Cookie, X-Auth-Token"}
"""Not by who has signed in after them in the same browser."""
_PROCESS = secrets.token_hex(8)
"""Ids of scales begin anew in each process."""


def blueprint() -> Blueprint:
    bp = Blueprint("export")
    for tree in TREES:
        _add(bp, f"/{tree}/<organization>/<name>/<layer>/<path:path>", partial(of_layer, tree))
    for tree in ZARR_FORMATS:
        _add(bp, f"/{tree}/<organization>/<name>/<document>", partial(zarr_of_dataset, tree))
    bp.exception(WkdvidError)(partial(api_failed, statuses=STATUS))
    return bp


def _add(bp: Blueprint, path: str, handler: Callable[..., Coroutine[Any, Any, HTTPResponse | None]]) -> None:
    name = path.translate(str.maketrans("/<>:", "____"))
    bp.add_route(handler, path, methods=READING, name=name, unquote=True, error_format="json", ctx_access="read")


async def of_layer(
    tree: str, request: Request, organization: str, name: str, layer: str, path: str
) -> HTTPResponse | None:
    organization, name, layer = map(unquote, (organization, name, layer))  # Sanic leaves some routes' parts as they are
    dataset = await services_of(request).dataset((organization, name), token_of(request))
    if tree == "precomputed" and is_of_annotations(layer, path):
        return await _annotations(request, dataset, path)
    found = dataset.layer(layer)
    headers = _headers(request, dataset, found)
    if tree == "precomputed" and is_of_segments(path):
        return await _segments(request, found, path, headers)
    return await _kept(request, tree, found, path, headers)


async def _kept(
    request: Request, tree: str, layer: Layer, path: str, headers: Mapping[str, str]
) -> HTTPResponse | None:
    """Documents and chunks. What a path means is found out where it is not in the cache."""
    services, key = services_of(request), (_generation(layer), tree, path)
    body = services.bodies.get(key)
    make = None if body is not None else TREES[tree](services, layer, path)
    if _holds(request, headers["ETag"]):
        return reply("", OCTETS, 304, headers)
    if make is not None:
        body = await services.kept(key, make)
    return await send_object(request, body or b"", _content_type(path), headers)


async def _segments(request: Request, layer: Layer, path: str, headers: Mapping[str, str]) -> HTTPResponse | None:
    asked = asked_range(request, headers["ETag"])
    part = await segment_file(layer, path, asked, services_of(request).limits)
    if _holds(request, headers["ETag"]):
        return reply("", OCTETS, 304, headers)
    if part.content_range is None:
        return await send_bytes(request, part.body, _content_type(path), headers)
    return reply(part.body, OCTETS, part.status, {**headers, "Content-Range": part.content_range})


async def _annotations(request: Request, dataset: Dataset, path: str) -> HTTPResponse | None:
    """Those that the caller may see, as they are now."""
    view = await services_of(request).annotations.of(dataset, token_of(request))
    sizes = [layer.info.voxel_size_nm for layer in dataset.layers.values()]
    body = await annotation_file(view, path, sizes[0] if sizes else (1.0, 1.0, 1.0))
    return await send_object(request, body, _content_type(path), {**RANGES, "Cache-Control": "no-store"})


async def zarr_of_dataset(
    tree: str, request: Request, organization: str, name: str, document: str
) -> HTTPResponse | None:
    """The group of the dataset's layers."""
    dataset = await services_of(request).dataset((organization, name), token_of(request))
    found = group(ZARR_FORMATS[tree]).get(document)
    if found is None:
        raise NotFound(f"dataset {dataset.key} as {tree} has no {document[:200]!r}")
    return await send_object(request, orjson.dumps(found), JSON)


def _generation(layer: Layer) -> int:
    """Of what is read of a layer: new at every opening."""
    return layer.scales[layer.info.levels[0].mag].id


def _headers(request: Request, dataset: Dataset, layer: Layer) -> Mapping[str, str]:
    """Other caches than the reader's own may keep what anybody may read."""
    is_open = services_of(request).authorizer.decide(None, Action.READ, dataset)
    return {
        **RANGES,
        "Access-Control-Expose-Headers": EXPOSED,
        "ETag": f'"{_PROCESS}-{_generation(layer):x}"',
        **(KEPT_BY_ALL if is_open else KEPT_BY_READER),
    }


def _holds(request: Request, tag: str) -> bool:
    """Whether the caller says that what it has is of this tag (RFC 9110, 13.1.2)."""
    header = request.headers.get("if-none-match")
    if header is None:
        return False
    return header.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in header.split(","))


def _content_type(path: str) -> str:
    return JSON if path.rpartition("/")[2] in DOCUMENTS else OCTETS
