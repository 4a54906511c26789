"""The OpenAPI description: every route that is registered, with what ``operations`` says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from wkdvid import __version__
from wkdvid.frontends.home.operations import ENDPOINTS, INSTANCE, OPERATIONS, PARAMETERS, Operation

OPENAPI = "3.0.3"
"""The newest that the bundled Swagger UI shows."""
DESCRIPTION = """\
Volumes over two protocols: as a webKnossos datastore (also under `/data/v10` to `/data/v16`), and as DVID. Vectors are
x, y, z. An error says what was wrong, where, and what is allowed."""
_PARAMETER = re.compile(r"<(\w+)(?::[^>]*)?>")
_VERSION = re.compile(r"^/data/v\d+(?=/)")
SHARED_ROUTE = INSTANCE + "/{endpoint}"
"""Begins the routes that serve every endpoint of a data instance."""
_METHODS = ("GET", "POST", "PUT", "DELETE")
"""HEAD and OPTIONS go without saying."""


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
    paths: dict[str, dict[str, Any]] = {
        INSTANCE + path: {"get": _operation(INSTANCE + path, operation, "read")}
        for path, operation in ENDPOINTS.items()
    }
    for route in routes:
        path = template(route.uri)
        if not path.startswith(SHARED_ROUTE):
            methods = [method for method in _METHODS if method in route.methods]
            described = {m.lower(): _operation(path, _known(m, path), route.ctx.access) for m in methods}
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


def key_of(method: str, path: str) -> str:
    """Under which ``OPERATIONS`` has it: all versions of the webKnossos API are one."""
    return f"{method} {_VERSION.sub('/data', path)}"


def _known(method: str, path: str) -> Operation:
    return OPERATIONS.get(key_of(method, path), Operation("Not offered: the answer says why."))


def _operation(path: str, known: Operation, access: str) -> dict[str, Any]:
    body = {"requestBody": {"required": True, "content": {known.body: {}}}} if known.body else {}
    return {
        "tags": [_tag(path)],
        "summary": known.summary,
        "parameters": [
            *(_parameter(name, "path", PARAMETERS.get(name, "")) for name in re.findall(r"\{(\w+)\}", path)),
            *(_parameter(name, "query", text) for name, text in known.query.items()),
        ],
        **body,
        "responses": {
            "200": {"description": known.answer, "content": {known.content_type: {}}},
            "default": {"description": "What was wrong, as JSON or, from DVID's routes, as text."},
        },
        "security": [{"token": []}] if needs_token(access) else [],
    }


def needs_token(access: str) -> bool:
    """Whether a route of this access takes one in every mode but ``open``."""
    return access == "administrate" or (access.startswith("clio ") and access != "clio public")


def _parameter(name: str, place: str, text: str) -> Mapping[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "description": text, "schema": {"type": "string"}}


def _tag(path: str) -> str:
    version = _VERSION.match(path)
    if version:
        return f"webKnossos {version[0].removeprefix('/data/')}"
    if path == "/api/inspect":
        return "inspection"
    if path.startswith(("/data/", "/api/{backend}/")) or path == "/api/buildinfo":
        return "webKnossos"
    if path.startswith("/api/jobs"):
        return "jobs"
    if path.endswith("/trace") or path.startswith("/triggers/"):
        return "tracing"
    return "DVID" if path.startswith(("/api/", "/interface/")) else "pages"
