"""Routes of layers that answer with meshes and properties of segments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.body_cache import Body
from wkdvid.core.layers import Layer
from wkdvid.core.segments import Soup
from wkdvid.frontends.http import (
    JSON,
    OCTETS,
    datastore_of,
    json_body,
    json_reply,
    send_bytes,
    send_object,
    send_parts,
)
from wkdvid.frontends.webknossos.meshes import answers, requests
from wkdvid.frontends.webknossos.versions import version_of

STL = "model/stl"


async def list_meshes(request: Request, layer: Layer) -> HTTPResponse:
    return json_reply(answers.listed(await answers.meshes_of(layer)))


async def list_mesh_fragments(request: Request, layer: Layer) -> HTTPResponse | None:
    file, segment, is_old = requests.parse_segment(json_body(request))
    _, mesh = await answers.find(layer, file, segment)
    if is_old:
        return json_reply(answers.old_positions(answers.old_level(mesh)))
    document = await datastore_of(request).apart(answers.fragments_document, mesh, version_of(request.path))
    return await send_bytes(request, document, JSON)


async def read_mesh_fragments(request: Request, layer: Layer) -> HTTPResponse | None:
    services, body = datastore_of(request), json_body(request)
    if isinstance(body, dict) and "position" in body:
        return await _read_old_fragment(request, layer, body)
    file, segment, wanted = requests.parse_fragments(body)
    data = await answers.read_fragments(services, *await answers.find(layer, file, segment), wanted)
    return await _send_pieces(request, data, OCTETS)


async def _read_old_fragment(request: Request, layer: Layer, body: object) -> HTTPResponse | None:
    """As STL, where servers of 2019 ask."""
    file, segment, position = requests.parse_old_fragment(body)
    found, mesh = await answers.find(layer, file, segment)
    level = answers.old_fragments(answers.old_level(mesh), position)
    return await _send_stl(request, answers.stored_triangles(found, mesh, level))


async def full_mesh(request: Request, layer: Layer) -> HTTPResponse | None:
    wanted = requests.parse_full(json_body(request))
    return await _send_stl(request, await answers.whole_mesh(datastore_of(request), layer, wanted))


async def _send_stl(request: Request, triangles: AsyncIterator[Soup]) -> HTTPResponse | None:
    return await _send_pieces(request, await answers.stl(datastore_of(request), triangles), STL)


async def _send_pieces(request: Request, pieces: Sequence[bytes], content_type: str) -> HTTPResponse | None:
    async def parts() -> AsyncIterator[Body]:
        for piece in pieces:
            yield piece

    return await send_parts(request, parts(), content_type, sum(map(len, pieces)))


async def ad_hoc_mesh(request: Request, layer: Layer) -> HTTPResponse | None:
    services, wanted = datastore_of(request), requests.parse_cube(json_body(request))
    surface = await answers.read_cube(services, layer, wanted)
    headers = answers.neighbor_headers(surface, wanted)
    return await send_parts(request, answers.cube_body(services, surface), OCTETS, None, headers)


async def segment_properties(request: Request, layer: Layer) -> HTTPResponse | None:
    return await send_object(request, await answers.properties(layer), JSON)


OF_LAYERS: Mapping[tuple[str, str], Callable[..., Coroutine[Any, Any, HTTPResponse | None]]] = {
    ("GET", "meshes"): list_meshes,
    ("POST", "meshes/chunks"): list_mesh_fragments,
    ("POST", "meshes/chunks/data"): read_mesh_fragments,
    ("POST", "meshes/fullMesh.stl"): full_mesh,
    ("POST", "adHocMesh"): ad_hoc_mesh,
    ("GET", "segmentProperties"): segment_properties,
}
