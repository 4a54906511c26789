"""The URL table of the datastore protocol. Each handler parses, calls core, encodes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid import __version__
from wkdvid.core.body_cache import Body
from wkdvid.core.catalog import Dataset, Layer
from wkdvid.core.catalog_store import parse_document
from wkdvid.core.entries import DatasetKey
from wkdvid.core.reading import slabs
from wkdvid.errors import Forbidden, InvalidEntry, TooLarge, Unauthorized, WkdvidError
from wkdvid.frontends.http import (
    OCTETS,
    TEXT,
    host_of,
    json_body,
    json_reply,
    reply,
    request_id,
    require_administration,
    send_bytes,
    send_parts,
    services_of,
    status_for,
    token_of,
)
from wkdvid.frontends.webknossos import documents, parse, wire
from wkdvid.frontends.webknossos.buckets import read_buckets
from wkdvid.frontends.webknossos.parse import BucketRequest
from wkdvid.frontends.webknossos.status import STATUS, forbidden_text, message

log = logging.getLogger("wkdvid.webknossos")

VERSIONS = range(10, 17)
"""Of the modern API; all are answered by the same handlers."""
PREFIXES = {"/data": VERSIONS[-1], **{f"/data/v{version}": version for version in VERSIONS}}
"""Without a version the newest is meant."""
BUILD_INFO = {
    "webknossosDatastore": {"name": "wkdvid", "version": __version__, "datastoreApiVersion": "2.0"},
    "httpApiVersioning": {"currentApiVersion": VERSIONS[-1], "oldestSupportedApiVersion": VERSIONS[0]},
}
ADDRESSINGS = ("<organization>/<name>", "<dataset_id>")


def blueprint() -> Blueprint:
    bp = Blueprint("webknossos")
    _route(bp, "GET", "/api/buildinfo", build_info, "public")
    for prefix in PREFIXES:
        _route(bp, "GET", f"{prefix}/health", health, "public")
        _route(bp, "GET", f"{prefix}/datasets", list_datasets, "read")
        _route(bp, "POST", f"{prefix}/datasets", register, "administrate")
        for dataset in ADDRESSINGS:
            layer = f"{prefix}/datasets/{dataset}/layers/<layer>"
            _route(bp, "GET", f"{prefix}/datasets/{dataset}", describe, "read")
            _route(bp, "DELETE", f"{prefix}/datasets/{dataset}", remove, "administrate")
            _route(bp, "POST", f"{layer}/data", post_buckets, "read")
            _route(bp, "GET", f"{layer}/data", get_cutout, "read")
        _route(bp, "POST", f"{prefix}/triggers/checkInboxBlocking", reload_all, "administrate")
        _route(bp, "POST", f"{prefix}/triggers/reload/<organization>/<name>", reload_one, "administrate")
    bp.exception(WkdvidError)(failed)
    return bp


def _route(bp: Blueprint, method: str, path: str, handler: Callable[..., Any], access: str) -> None:
    name = f"{method}_{path}_{handler.__name__}".translate(str.maketrans("/<>", "___"))
    methods = ("GET", "HEAD") if method == "GET" else (method,)
    bp.add_route(handler, path, methods=methods, name=name, unquote=True, ctx_access=access)


async def build_info(request: Request) -> HTTPResponse:
    return json_reply(BUILD_INFO)


async def health(request: Request) -> HTTPResponse:
    return reply("Ok", TEXT)


async def _dataset(request: Request, organization: str | None, name: str | None, dataset_id: str | None) -> Dataset:
    services, token = services_of(request), token_of(request)
    if dataset_id is not None:
        return await services.dataset_by_id(dataset_id, token)
    return await services.dataset((organization or "", name or ""), token)


async def _layer(
    request: Request, organization: str | None, name: str | None, dataset_id: str | None, layer: str
) -> Layer:
    return (await _dataset(request, organization, name, dataset_id)).layer(layer)


async def list_datasets(request: Request) -> HTTPResponse:
    datasets = await services_of(request).visible(token_of(request))
    base = f"{request.scheme}://{host_of(request)}"
    return json_reply([documents.listing(dataset, base) for dataset in datasets])


async def describe(
    request: Request, organization: str | None = None, name: str | None = None, dataset_id: str | None = None
) -> HTTPResponse:
    dataset = await _dataset(request, organization, name, dataset_id)
    return json_reply({"dataSource": documents.data_source(dataset, _version(request)), "messages": []})


async def post_buckets(
    request: Request,
    layer: str,
    organization: str | None = None,
    name: str | None = None,
    dataset_id: str | None = None,
) -> HTTPResponse | None:
    services = services_of(request)
    wanted = parse.bucket_requests(json_body(request), services.limits)
    found = await _layer(request, organization, name, dataset_id, layer)
    buckets = await read_buckets(services, found, wanted)
    return await send_bytes(
        request, wire.joined(buckets.bodies), OCTETS, wire.bucket_headers(buckets.empty, buckets.failed)
    )


async def get_cutout(
    request: Request,
    layer: str,
    organization: str | None = None,
    name: str | None = None,
    dataset_id: str | None = None,
) -> HTTPResponse | None:
    wanted = parse.cutout_request(request.args)
    found = await _layer(request, organization, name, dataset_id, layer)
    scale = found.scale(wanted.mag)
    if scale is None:
        return reply(b"", OCTETS, 200, wire.bucket_headers(empty=(0,), failed=()))
    services_of(request).reader.check(scale, services_of(request).reader.source_voxels(scale, wanted.box))
    length = wanted.box.voxels * found.info.voxel_bytes
    if length > services_of(request).limits.response_bytes:
        raise TooLarge(
            f"the box has {length} bytes, the limit is {services_of(request).limits.response_bytes} "
            "(limits.response_bytes)"
        )
    if wanted.four_bit and found.info.dtype == np.uint8:
        length //= 2
    return await send_parts(request, _cutout(request, found, wanted), OCTETS, length, wire.cutout_headers())


async def _cutout(request: Request, layer: Layer, wanted: BucketRequest) -> AsyncIterator[Body]:
    services = services_of(request)
    for slab in slabs(wanted.box, layer.info.voxel_bytes, services.limits.working_bytes // 4):
        array = await services.reader.read(layer, layer.scales[wanted.mag], slab)
        yield wire.voxels(array, four_bit_wanted=wanted.four_bit)


async def register(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    keys = await services_of(request).registrar.register(parse_document(request.body))
    return json_reply({"added": [list(key) for key in keys]})


async def remove(
    request: Request, organization: str | None = None, name: str | None = None, dataset_id: str | None = None
) -> HTTPResponse:
    """A main server that drops an id means: forget what you know of it. Who names a dataset means: remove it."""
    await require_administration(request, token_of(request))
    services = services_of(request)
    if organization is None or name is None:
        await services.registrar.reload((await services.dataset_by_id(dataset_id or "", token_of(request))).key)
    else:
        await services.registrar.remove(DatasetKey(organization, name))
    return reply("", TEXT)


async def reload_all(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    await services_of(request).registrar.reload(None)
    return reply("Ok", TEXT)


async def reload_one(request: Request, organization: str, name: str) -> HTTPResponse:
    """``name`` is the datasetId where the main server is of today."""
    await require_administration(request, token_of(request))
    services = services_of(request)
    await services.catalog.catch_up()
    by_id = services.catalog.by_id.get(name)
    meant = by_id.key if by_id is not None and by_id.key.organization == organization else None
    await services.registrar.reload(meant or DatasetKey(organization, name))
    return reply("Ok", TEXT)


def _version(request: Request) -> int:
    part = request.path.split("/", 3)[2]
    return PREFIXES.get(f"/data/{part}", PREFIXES["/data"])


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    status, number = status_for(error, STATUS), request_id()
    if status >= 500:
        log.warning("request %s: %s: %s", number, type(error).__name__, error)
    if isinstance(error, Forbidden | Unauthorized):
        return reply(forbidden_text(str(error)), TEXT, status)
    texts = error.problems if isinstance(error, InvalidEntry) else [str(error)]
    return json_reply(message(texts, error.code, number), status)
