"""The OpenAPI description: every route that is registered, with what ``operations`` says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from wkdvid import __version__
from wkdvid.frontends.home.operations import OPERATIONS
from wkdvid.frontends.home.operations.clio import CLIO
from wkdvid.frontends.home.operations.dvid import ENDPOINTS, INSTANCE
from wkdvid.frontends.home.operations.operation import JSON, STRING, Operation, Parameter
from wkdvid.frontends.home.operations.parameters import PARAMETERS

OPENAPI = "3.0.3"
"""The newest that the bundled Swagger UI shows."""
DESCRIPTION = """\
Volumes over two protocols: as a webKnossos datastore (also under `/data/v10` to `/data/v16`, and under `/data/v5` to
`/data/v9` where organization and name tell the dataset), and as DVID; and as files in Neuroglancer's precomputed format
and OME-Zarr, for programs that read those (`/precomputed`, `/zarr`); and users, datasets and annotations as clio-store
has them: below `/v2` (also `/v3` and `/test`), and as its older description has them below `/` (also `/v1` and
`/clio_toplevel`). Vectors are x, y, z. An error says what was wrong, where, and what is allowed."""
_PARAMETER = re.compile(r"<(\w+)(?::[^>]*)?>")
SHARED_ROUTE = INSTANCE + "/{endpoint}"
"""Begins the routes that serve every endpoint of a data instance."""
_METHODS = ("GET", "POST", "PUT", "DELETE")
"""HEAD and OPTIONS go without saying."""
_FAILURES: Mapping[int, str] = {
    400: "What was wrong with the request.",
    401: "No credentials, or bad ones.",
    403: "Good credentials that do not suffice.",
    404: "There is no such thing.",
    409: "Somebody else has changed it meanwhile.",
    413: "Over a limit.",
    416: "The file has no such part.",
    422: "Not of the form that is described.",
    502: "The source cannot be understood, or refuses.",
    503: "Not now: the database or a source does not answer, or there is nothing yet.",
}
_WITH_TOKEN, _ALWAYS = (401, 403), (503,)


class Route(Protocol):
    """What is used of a Sanic route."""

    @property
    def uri(self) -> str: ...

    @property
    def methods(self) -> Iterable[str]: ...

    @property
    def ctx(self) -> Any: ...


def describe_routes(routes: Iterable[Route]) -> dict[str, Any]:
    """The document, for OpenAPI 3.0."""
    paths: dict[str, dict[str, Any]] = {}
    for key, operation in ENDPOINTS.items():
        method, path = key.split(" ")
        access = "read" if method == "GET" else "write"
        paths.setdefault(INSTANCE + path, {})[method.lower()] = _operation(INSTANCE + path, operation, access)
    for route in routes:
        path = template(route.uri)
        if not path.startswith(SHARED_ROUTE):
            methods = [method for method in _METHODS if method in route.methods]
            described = {m.lower(): _operation(path, _known(m, path, route.ctx), route.ctx.access) for m in methods}
            paths.setdefault(path, {}).update(described)
    return {
        "openapi": OPENAPI,
        "info": {"title": "wkdvid", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "."}],
        "paths": dict(sorted(paths.items())),
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def template(uri: str) -> str:
    """``/data/datasets/<name:str>`` in OpenAPI's spelling: ``/data/datasets/{name}``."""
    return _PARAMETER.sub(r"{\1}", uri)


def _known(method: str, path: str, about: Any) -> Operation:
    if about.access.startswith("clio "):
        return CLIO.get(f"{method} {template(about.path)}", Operation("Not described."))
    return OPERATIONS.get(f"{method} {path}", Operation("Not offered: the answer says why."))


def _operation(path: str, known: Operation, access: str) -> dict[str, Any]:
    body = {"requestBody": {"required": True, "content": {known.body: {"schema": known.schema}}}} if known.body else {}
    return {
        "tags": [_tag(path, access)],
        "summary": known.summary,
        "parameters": [
            *(_in_path(name) for name in re.findall(r"\{(\w+)\}", path)),
            *(_in_query(name, one) for name, one in known.query.items()),
        ],
        **body,
        "responses": {
            str(known.success): {"description": known.answer, "content": {known.content_type: {}}},
            **_failures(_fails(path, known, access), access),
        },
        "security": [{"token": []}] if needs_token(access) else [],
    }


def _failures(statuses: Sequence[int] | None, access: str) -> Mapping[str, Any]:
    if statuses is None:
        return {"default": {"description": "What was wrong, as JSON or, from DVID's routes, as text."}}
    known = {*statuses, *_ALWAYS, *(_WITH_TOKEN if needs_token(access) else ())}
    return {str(status): {"description": _FAILURES[status], "content": {JSON: {}}} for status in sorted(known)}


def _fails(path: str, known: Operation, access: str) -> Sequence[int] | None:
    """A name in a path of clio's may be none."""
    if known.fails is None or not access.startswith("clio ") or "{" not in path:
        return known.fails
    return (*known.fails, 400)


def needs_token(access: str) -> bool:
    """Whether a route of this access takes one in every mode but ``open``."""
    return access == "administrate" or (access.startswith("clio ") and access != "clio public")


def _in_path(name: str) -> Mapping[str, Any]:
    return _parameter(name, "path", Parameter(PARAMETERS.get(name, ""), {**STRING, "minLength": 1}, required=True))


def _in_query(name: str, one: str | Parameter) -> Mapping[str, Any]:
    return _parameter(name, "query", Parameter(one) if isinstance(one, str) else one)


def _parameter(name: str, place: str, one: Parameter) -> Mapping[str, Any]:
    return {"name": name, "in": place, "required": one.required, "description": one.meaning, "schema": one.schema}


def _tag(path: str, access: str) -> str:
    if access.startswith("clio "):
        return "clio" if path.startswith("/v2/") else "clio, as first described"
    if path == "/api/inspect":
        return "inspection"
    if path.startswith(("/data/", "/api/{backend}/")) or path == "/api/buildinfo":
        return "webKnossos"
    if path.startswith(("/precomputed/", "/zarr/", "/zarr2/")):
        return "export"
    if path.startswith("/api/jobs"):
        return "jobs"
    if path.startswith("/api/entries"):
        return "entries"
    if path.startswith(("/api/links", "/shared/")):
        return "share links"
    if path.endswith("/trace") or path.startswith("/triggers/"):
        return "tracing"
    return "DVID" if path.startswith(("/api/", "/interface/")) else "pages"
