"""The URL table of the datastore protocol. Each handler parses, calls core, encodes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
import orjson
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid import __version__
from wkdvid.codecs import images, jpeg
from wkdvid.core import sampling
from wkdvid.core.body_cache import Body
from wkdvid.core.buckets import Bucket, read_buckets, voxel_body
from wkdvid.core.catalog import Dataset
from wkdvid.core.catalog_store import parse_document
from wkdvid.core.deadline import one_deadline
from wkdvid.core.entries import DatasetKey
from wkdvid.core.geometry import mag_text, parse_mag
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import Pixels, paint, see_through
from wkdvid.core.pyramid import Scale
from wkdvid.core.reading import slabs
from wkdvid.core.services import Services
from wkdvid.errors import Forbidden, InvalidEntry, NotFound, NotShown, TooLarge, WkdvidError
from wkdvid.export import ome_zarr
from wkdvid.export.zarr_documents import ZarrFormat
from wkdvid.frontends.files import read_part
from wkdvid.frontends.http import (
    HTML,
    JSON,
    OCTETS,
    RANGES,
    TEXT,
    base_of,
    datastore_of,
    json_body,
    json_reply,
    log_failure,
    reply,
    require_administration,
    send_bytes,
    send_object,
    send_parts,
    status_for,
    token_of,
)
from wkdvid.frontends.ranges import parse_range
from wkdvid.frontends.router import add_route
from wkdvid.frontends.webknossos import documents, parse, proxy, wire
from wkdvid.frontends.webknossos.composition import Canvas, Part, parse_composition
from wkdvid.frontends.webknossos.meshes import routes as mesh_routes
from wkdvid.frontends.webknossos.parse import DatasetName
from wkdvid.frontends.webknossos.status import STATUS, forbidden_text, message
from wkdvid.frontends.webknossos.thumbnail import parse_thumbnail, place
from wkdvid.frontends.webknossos.versions import ADDRESSINGS, ALL, VERSIONS, version_of

log = logging.getLogger("wkdvid.webknossos")

BUILD_INFO = {
    "webknossosDatastore": {"name": "wkdvid", "version": __version__, "datastoreApiVersion": "2.0"},
    "httpApiVersioning": {"currentApiVersion": VERSIONS[-1], "oldestSupportedApiVersion": VERSIONS[0]},
}
PROPERTIES = "datasource-properties.json"
ZARR3_SINCE = 15
"""The version from which on ``zarr/`` is zarr 3."""
JPEG, PNG = "image/jpeg", images.SliceFormat("png")
Handler: TypeAlias = Callable[..., Coroutine[Any, Any, HTTPResponse | None]]


def blueprint() -> Blueprint:
    bp = Blueprint("webknossos")
    add_route(bp, ("",), "GET", "/api/buildinfo", build_info, "public")
    add_route(bp, ALL, "GET", "/health", health, "public")
    add_route(bp, ALL, "GET", "/datasets", list_datasets, "read")
    add_route(bp, ALL, "POST", "/datasets", register, "administrate")
    for addressing, prefixes in ADDRESSINGS.items():
        _add_routes_of_dataset(bp, prefixes, f"/datasets/{addressing}")
    for tree in ("zarr", "zarr3_experimental"):
        add_route(bp, ALL, "GET", f"/{tree}/<dataset_path:path>", zarr_tree, "read")
    add_route(bp, ALL, "POST", "/triggers/checkInboxBlocking", reload_all, "administrate")
    add_route(bp, ALL, "POST", "/triggers/reload/<organization>/<name>", reload_one, "administrate")
    for trigger in ("newOrganizationFolder", "createOrganizationDirectory", "scanRealPathsForVirtual"):
        add_route(bp, ALL, "POST", f"/triggers/{trigger}", do_nothing, "administrate")
    bp.exception(WkdvidError)(failed)
    return bp


def _add_routes_of_dataset(bp: Blueprint, prefixes: Sequence[str], dataset: str) -> None:
    add_route(bp, prefixes, "GET", dataset, describe, "read")
    add_route(bp, prefixes, "DELETE", dataset, remove, "administrate")
    add_route(bp, prefixes, "POST", f"{dataset}/thumbnail.jpg", dataset_thumbnail, "read")
    add_route(bp, prefixes, "GET", f"{dataset}/proxy/{PROPERTIES}", describe_files, "read")
    file = f"{dataset}/proxy/layers/<layer>/mags/<mag>/<path:path>"
    add_route(bp, prefixes, "GET", file, with_layer(get_file), "read")
    for (method, path), handler in OF_LAYERS.items():
        add_route(bp, prefixes, method, f"{dataset}/layers/<layer>/{path}", with_layer(handler), "read")


def with_layer(handler: Handler) -> Handler:
    """The handler of a layer's route, given the layer that the path names in either addressing."""

    @wraps(handler)
    async def handle(
        request: Request,
        layer: str,
        organization: str = "",
        name: str = "",
        dataset_id: str | None = None,
        **rest: str,
    ) -> HTTPResponse | None:
        dataset = await _dataset(request, organization, name, dataset_id)
        return await handler(request, dataset.layer(layer), **rest)

    return handle


async def _dataset(request: Request, organization: str, name: str, dataset_id: str | None) -> Dataset:
    named = (organization, name) if dataset_id is None else dataset_id
    return await _named(datastore_of(request), named, token_of(request))


async def _named(services: Services, named: DatasetName, token: str | None) -> Dataset:
    if isinstance(named, str):
        return await services.dataset_by_id(named, token)
    return await services.dataset(named, token)


# ---- the server and its datasets ------------------------------------------------------------------------------------


async def build_info(request: Request) -> HTTPResponse:
    return json_reply(BUILD_INFO)


async def health(request: Request) -> HTTPResponse:
    return reply("Ok", TEXT)


async def list_datasets(request: Request) -> HTTPResponse:
    datasets = await datastore_of(request).visible(token_of(request))
    return json_reply([documents.listing(dataset, base_of(request)) for dataset in datasets])


async def describe(
    request: Request, organization: str = "", name: str = "", dataset_id: str | None = None
) -> HTTPResponse:
    dataset = await _dataset(request, organization, name, dataset_id)
    source = documents.data_source(dataset, version_of(request.path), documents.streamed(3))
    return json_reply({"dataSource": source, "messages": []})


async def register(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    keys = await datastore_of(request).registrar.register(parse_document(request.body))
    return json_reply({"added": [list(key) for key in keys]})


async def remove(
    request: Request, organization: str = "", name: str = "", dataset_id: str | None = None
) -> HTTPResponse:
    """A main server that drops an id means: forget what you know of it. Who names a dataset means: remove it."""
    await require_administration(request, token_of(request))
    services = datastore_of(request)
    if dataset_id is None:
        await services.registrar.remove(DatasetKey(organization, name))
    elif (dataset := await services.find_by_id(dataset_id)) is not None:
        await services.registrar.reload(dataset.key)
    return reply("", TEXT)


async def do_nothing(request: Request) -> HTTPResponse:
    """There are no folders of organizations here."""
    await require_administration(request, token_of(request))
    return reply("Ok", TEXT)


async def reload_all(request: Request) -> HTTPResponse:
    return await _reload(request, None)


async def reload_one(request: Request, organization: str, name: str) -> HTTPResponse:
    """``name`` is the datasetId where the main server is of today."""
    await require_administration(request, token_of(request))
    await datastore_of(request).catalog.look_again()
    by_id = await datastore_of(request).find_by_id(name)
    is_meant = by_id is not None and by_id.key.organization == organization
    return await _reload(request, by_id.key if by_id and is_meant else DatasetKey(organization, name))


async def _reload(request: Request, key: DatasetKey | None) -> HTTPResponse:
    await require_administration(request, token_of(request))
    await datastore_of(request).registrar.reload(key)
    await datastore_of(request).main_server.report()
    return reply("Ok", TEXT)


# ---- layers ------------------------------------------------------------------------------------------------------


async def post_buckets(request: Request, layer: Layer) -> HTTPResponse | None:
    services = datastore_of(request)
    wanted = parse.bucket_requests(json_body(request), services.limits)
    bodies, headers = wire.sorted_out(await read_buckets(services, layer, wanted))
    return await send_bytes(request, wire.joined(bodies), OCTETS, headers)


async def get_cutout(request: Request, layer: Layer) -> HTTPResponse | None:
    return await _send_cutout(request, layer, parse.cutout_request(request.args))


async def post_cutout(request: Request, layer: Layer) -> HTTPResponse | None:
    return await _send_cutout(request, layer, parse.read_data_request(json_body(request)))


async def get_cube(request: Request, layer: Layer, mag: str, x: str, y: str, z: str) -> HTTPResponse | None:
    return await _send_cutout(request, layer, parse.knossos_request(mag, (x, y, z), request.args))


async def _send_cutout(request: Request, layer: Layer, wanted: Bucket) -> HTTPResponse | None:
    scale = layer.scale(wanted.mag)
    if scale is None:
        return reply(b"", OCTETS, 200, wire.bucket_headers(empty=(0,), failed=()))
    datastore_of(request).reader.check(scale, datastore_of(request).reader.source_voxels(scale, wanted.box))
    length = wanted.box.voxels * layer.info.voxel_bytes
    if length > datastore_of(request).limits.response_bytes:
        raise TooLarge(
            f"the box has {length} bytes, the limit is {datastore_of(request).limits.response_bytes} "
            "(limits.response_bytes)"
        )
    if wanted.four_bit and layer.info.dtype == np.uint8:
        length //= 2
    return await send_parts(request, _cutout(request, layer, wanted), OCTETS, length, wire.cutout_headers())


async def _cutout(request: Request, layer: Layer, wanted: Bucket) -> AsyncIterator[Body]:
    services = datastore_of(request)
    for slab in slabs(wanted.box, layer.info.voxel_bytes, services.limits.working_bytes // 4):
        array = await services.reader.read(layer, layer.scales[wanted.mag], slab)
        yield voxel_body(array, four_bit_wanted=wanted.four_bit)


async def histogram(request: Request, layer: Layer) -> HTTPResponse:
    services = datastore_of(request)

    async def make() -> Body:
        voxels = await sampling.sampled_voxels(services, layer)
        return orjson.dumps(await services.apart(sampling.histograms, voxels, layer.info))

    return reply(await services.kept((_finest(layer).id, "wk histogram"), make), JSON)


async def find_data(request: Request, layer: Layer) -> HTTPResponse:
    services = datastore_of(request)

    async def make() -> Body:
        position, mag = await sampling.find_data(services, layer) or (None, None)
        return orjson.dumps({"position": position, "mag": mag})

    return reply(await services.kept((_finest(layer).id, "wk findData"), make), JSON)


async def thumbnail(request: Request, layer: Layer) -> HTTPResponse | None:
    """Main servers of webknossos-connect's time name the dataset and a size alone; they get segments to see through."""
    services, wanted = datastore_of(request), parse_thumbnail(request.args)
    scale, box = place(layer, wanted)
    services.reader.check(scale, services.reader.source_voxels(scale, box))
    as_png = layer.info.category == "segmentation" and wanted.mag is None and "organization" in request.match_info

    async def make() -> Body:
        voxels = await services.reader.read(layer, scale, box)
        return await services.apart(lambda: _encoded(paint(voxels[..., 0], layer.info, wanted.tone), as_png=as_png))

    body = await services.kept((scale.id, "wk thumbnail", wanted, as_png), make)
    return await send_bytes(request, body, PNG.media_type if as_png else JPEG)


def _encoded(pixels: Pixels, *, as_png: bool) -> Body:
    return images.encode_slice(see_through(pixels), PNG) if as_png else jpeg.encode_image(pixels)


async def dataset_thumbnail(
    request: Request, organization: str = "", name: str = "", dataset_id: str | None = None
) -> HTTPResponse | None:
    """Several layers in one picture."""
    services, wanted = datastore_of(request), parse_composition(json_body(request))
    dataset = await _dataset(request, organization, name, dataset_id)
    parts = [(part, dataset.layer(part.layer)) for part in wanted.parts]
    places = [place(layer, part.picture) for part, layer in parts]
    for scale, _ in places:
        services.reader.check(scale, sum(services.reader.source_voxels(*one) for one in places))
    canvas = Canvas(wanted)
    with one_deadline():
        for (part, layer), (scale, box) in sorted(zip(parts, places, strict=True), key=_is_segmentation):
            voxels = await services.reader.read(layer, scale, box)
            await services.apart(canvas.add, voxels, layer.info, part)
    return await send_bytes(request, await services.apart(jpeg.encode_image, canvas.pixels), JPEG)


def _is_segmentation(placed: tuple[tuple[Part, Layer], object]) -> bool:
    return placed[0][1].info.category == "segmentation"


def _finest(layer: Layer) -> Scale:
    return layer.scales[layer.info.levels[0].mag]


async def nothing(request: Request, layer: Layer) -> HTTPResponse:
    """What sources do not have."""
    return json_reply([])


async def no_segment_index(request: Request, layer: Layer) -> HTTPResponse:
    return json_reply(value=False)


OF_LAYERS: Mapping[tuple[str, str], Handler] = {
    ("POST", "data"): post_buckets,
    ("GET", "data"): get_cutout,
    ("POST", "readData"): post_cutout,
    ("GET", "<mag>/<x>/<y>/<z>/bucket.raw"): get_cube,
    ("GET", "histogram"): histogram,
    ("GET", "findData"): find_data,
    ("GET", "thumbnail.jpg"): thumbnail,
    **{("GET", path): nothing for path in ("mappings", "agglomerates", "connectomes")},
    **mesh_routes.OF_LAYERS,
    ("GET", "hasSegmentIndex"): no_segment_index,
}


# ---- streaming as zarr ----------------------------------------------------------------------------------------------


async def zarr_tree(request: Request, dataset_path: str) -> HTTPResponse | None:
    """Documents, chunks and listings of a dataset as OME-Zarr."""
    services, version = datastore_of(request), version_of(request.path)
    named, parts = parse.dataset_path(dataset_path)
    dataset = await _named(services, named, token_of(request))
    zarr_format = _zarr_format(request, version)
    if parts == [PROPERTIES]:
        source = documents.data_source(dataset, version, documents.streamed(zarr_format))
        return await send_object(request, orjson.dumps(source), JSON)
    found = ome_zarr.find_node(dataset.layers, parts, zarr_format) if parts else None
    if isinstance(found, ome_zarr.Chunk):
        return await send_object(request, await ome_zarr.read_chunk(services, found), OCTETS)
    if found is not None:
        return await send_object(request, orjson.dumps(found), JSON)
    return reply(documents.directory(_children(dataset, parts)), HTML)


def _zarr_format(request: Request, version: int) -> ZarrFormat:
    """What ``zarr/`` is depends on the version; its twin is zarr 3 always."""
    return 2 if version < ZARR3_SINCE and "/zarr3_experimental/" not in request.path else 3


def _children(dataset: Dataset, parts: Sequence[str]) -> Iterable[str]:
    """
    Raises:
        NotFound: there is no such folder. Readers take that for data that was never written.
    """
    if not parts:
        return [PROPERTIES, *(f"{name}/" for name in dataset.layers)]
    if len(parts) == 1:
        return [f"{mag_text(mag)}/" for mag in dataset.layer(parts[0]).mags]
    mag = parse_mag(parts[1])
    if len(parts) > 2 or mag is None or dataset.layer(parts[0]).scale(mag) is None:
        raise NotFound(f"there is no {'/'.join(parts)[:200]!r} in dataset {dataset.key} as zarr")
    return []


# ---- stored files --------------------------------------------------------------------------------------------------


async def describe_files(
    request: Request, organization: str = "", name: str = "", dataset_id: str | None = None
) -> HTTPResponse | None:
    dataset = await _dataset(request, organization, name, dataset_id)
    source = documents.data_source(dataset, version_of(request.path), proxy.stored)
    return await send_object(request, orjson.dumps(source), JSON)


async def get_file(request: Request, layer: Layer, mag: str, path: str) -> HTTPResponse | None:
    asked = parse_range(request.headers.get("range"))
    part = await read_part(proxy.find_files(layer, mag), path, asked, datastore_of(request).limits)
    if part.content_range is None:
        return await send_bytes(request, part.body, OCTETS, RANGES)
    return reply(part.body, OCTETS, part.status, {**RANGES, "Content-Range": part.content_range})


# ---- errors ---------------------------------------------------------------------------------------------------------


async def failed(request: Request, error: WkdvidError) -> HTTPResponse:
    status = status_for(error, STATUS)
    if status >= 500:
        log_failure(log, request, error)
    if isinstance(error, NotShown) and datastore_of(request).authorizer.tokens_expire:
        status = STATUS[Forbidden]
    if status == STATUS[Forbidden]:
        return reply(forbidden_text(str(error)), TEXT, status)
    texts = error.problems if isinstance(error, InvalidEntry) else [str(error)]
    return json_reply(message(texts, error.code, str(request.id)), status)
