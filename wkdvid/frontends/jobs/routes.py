"""The URL table of the jobs. All of it is for administrators: jobs name datasets that others may not know of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.entries import DatasetKey
from wkdvid.core.guard import check_name
from wkdvid.core.jobs import Job, Parameters
from wkdvid.errors import InvalidRequest, WkdvidError
from wkdvid.frontends.http import (
    api_failed,
    json_body,
    json_reply,
    require_administration,
    send_parts,
    services_of,
    token_of,
)

READING = ("GET", "HEAD")
EVENTS = "text/event-stream"
MEMBERS = ("kind", "dataset", "layer")
PARAMETERS = "parameters"
QUIET = 40
"""Looks at a job without a change, after which a line is sent all the same: a connection must not seem dead."""


def blueprint() -> Blueprint:
    bp = Blueprint("jobs")
    bp.add_route(submit, "/api/jobs", methods=("POST",), name="submit", ctx_access="administrate")
    bp.add_route(newest, "/api/jobs", methods=READING, name="newest", ctx_access="administrate")
    bp.add_route(describe, "/api/jobs/<job>", methods=READING, name="describe", ctx_access="administrate")
    bp.add_route(cancel, "/api/jobs/<job>", methods=("DELETE",), name="cancel", ctx_access="administrate")
    bp.add_route(events, "/api/jobs/<job>/events", methods=READING, name="events", ctx_access="administrate")
    bp.exception(WkdvidError)(api_failed)
    return bp


async def submit(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    kind, key, layer, parameters = parse_job(json_body(request))
    services = services_of(request)
    (await services.dataset(key, token_of(request))).layer(layer)
    return json_reply(document(await services.jobs.submit(kind, str(key), layer, parameters)))


async def newest(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    return json_reply([document(job) for job in await services_of(request).jobs.newest()])


async def describe(request: Request, job: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    return json_reply(document(await services_of(request).jobs.get(job)))


async def cancel(request: Request, job: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    return json_reply(document(await services_of(request).jobs.cancel(job)))


async def events(request: Request, job: str) -> HTTPResponse | None:
    await require_administration(request, token_of(request))
    return await send_parts(request, _events(services_of(request).jobs.changes(job)), EVENTS, None)


async def _events(changes: AsyncIterator[Job | None]) -> AsyncIterator[bytes]:
    """Server-sent events, each a job as ``document`` has it."""
    quiet = 0
    async for job in changes:
        if job is not None:
            quiet = 0
            yield b"data: " + orjson.dumps(document(job)) + b"\n\n"
        elif (quiet := quiet + 1) % QUIET == 0:
            yield b": still there\n\n"


def parse_job(body: Any) -> tuple[str, DatasetKey, str, Parameters]:
    """Kind, dataset, layer and parameters.

    Raises:
        InvalidRequest: another member, one missing, or a name that cannot be one.
    """
    members = dict(body) if isinstance(body, dict) else {}
    parameters = members.pop(PARAMETERS, {})
    if members.keys() != set(MEMBERS) or not _are_texts(members) or not _are_texts(parameters):
        raise InvalidRequest(
            f"expected an object of texts with {', '.join(MEMBERS)}, perhaps {PARAMETERS} (texts too), and nothing else"
        )
    organization, slash, dataset = members["dataset"].partition("/")
    if not slash:
        raise InvalidRequest(f"dataset: {body['dataset'][:200]!r} is not ORGANIZATION/DATASET")
    key = DatasetKey(check_name("organization", organization), check_name("dataset", dataset))
    return members["kind"], key, members["layer"], parameters


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def document(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "dataset": job.dataset,
        "layer": job.layer,
        "parameters": dict(job.parameters),
        "state": job.state.value,
        "done": job.done,
        "total": job.total,
        "message": job.message,
    }
