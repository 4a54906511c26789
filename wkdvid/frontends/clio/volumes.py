"""Volumes in buckets, read through the server; what sites report; questions that are handed on to neuPrint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from wkdvid.core.access import Action, allowed
from wkdvid.core.users import READ
from wkdvid.errors import Forbidden, InvalidRequest, TooLarge, UnsupportedRequest
from wkdvid.frontends.clio.calls import Access, Answer, Call, Route, Unprocessable, is_name, problem
from wkdvid.frontends.files import read_part
from wkdvid.frontends.http import OCTETS
from wkdvid.frontends.ranges import parse_range

PARTIAL, UNSATISFIABLE = 206, 416
NEUPRINT_S = 60.0
NEUPRINT_BYTES = 256 << 20


async def listed(call: Call) -> Mapping[str, Any]:
    """Those whose dataset, the one of the same name, the caller may read."""
    public = await call.clio.public()

    def readable(name: str) -> bool:
        held = call.clio.names.held(name)
        return call.user.has_role(READ, held, public=held in public)

    return {name: volume for name, volume in (await call.clio.volumes.all()).items() if readable(name)}


async def one(call: Call) -> Any:
    return await _volume(call)


async def _volume(call: Call) -> Mapping[str, Any]:
    name = call.parts["dataset"]
    found = (await call.clio.volumes.all()).get(name)
    if found is None:
        raise InvalidRequest(f"there is no volume {name[:200]!r}")
    return found


async def put(call: Call) -> None:
    volumes = call.json()
    if not isinstance(volumes, dict):
        raise Unprocessable([problem(("body",), "Input should be an object of volumes", "dict_type")])
    wrong = [
        problem(("body", name, member), "Field required, a text", "missing")
        for name, volume in volumes.items()
        for member in ("bucket", "path")
        if not isinstance(volume, dict) or not isinstance(volume.get(member), str) or not is_name(name)
    ]
    if wrong:
        raise Unprocessable(wrong)
    for volume in volumes.values():
        await call.services.open_files(_address(volume))  # what cannot be read is said now
    await call.clio.volumes.put(volumes, call.user.email)


async def remove(call: Call) -> None:
    names = call.json()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Unprocessable([problem(("body",), "Input should be a list of names", "list_type")])
    await call.clio.volumes.remove(names, call.user.email)


def _address(volume: Mapping[str, Any]) -> str:
    """``bucket`` is one of Google's, unless it says which store it is of."""
    bucket = volume["bucket"]
    return f"{bucket if '://' in bucket else f'gs://{bucket}'}/{volume['path']}".rstrip("/")


async def proxy(call: Call) -> Answer:
    """A file of a volume, or the part that the Range header names.

    Neuroglancer asks without a token: what has no dataset of its name that is kept from the public is for everybody.
    """
    if not await _is_open(call):
        user = call.clio.names.holder(await call.clio.identities.user(call.token))
        if not user.has_role(READ, call.dataset):
            raise Forbidden(f"no permission to read volume {call.parts['dataset']}")
    files = await call.services.open_files(_address(await _volume(call)))
    part = await read_part(files, call.parts["path"], parse_range(call.headers.get("range")), call.services.limits)
    told = {"Accept-Ranges": "bytes", **({"Content-Range": part.content_range} if part.content_range else {})}
    return Answer(part.body, OCTETS, part.status, told)


async def _is_open(call: Call) -> bool:
    """Whether the caller may read a volume without any role: as its dataset, over the other front ends too."""
    organization, _, name = call.dataset.partition("/")
    registered = call.services.catalog.by_key.get((organization, name))
    if registered is None and call.dataset not in await call.clio.datasets.all():
        return True
    if call.dataset in await call.clio.public():
        return True
    return registered is not None and await allowed(call.services.authorizer, call.token, Action.READ, registered)


async def report(call: Call) -> None:
    await call.clio.site_reports.add(call.user.email, call.json())


async def neuprint(call: Call) -> Answer:
    """Hand a Cypher query on to the neuPrint server that the dataset's document names."""
    token, document = call.clio.config.neuprint_token, (await call.clio.datasets.all()).get(call.dataset)
    named = (document or {}).get("neuprintHTTP")
    server = named.get("server") if isinstance(named, Mapping) else None
    if not isinstance(server, str):
        raise InvalidRequest(f"no neuPrint server is named for dataset {call.parts['dataset']}")
    if token is None:
        raise UnsupportedRequest("no token for neuPrint is configured: clio.neuprint_token")
    address = f"{server if '://' in server else f'https://{server}'}/api/custom/custom"
    await call.services.admit(address)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    import aiohttp  # noqa: PLC0415 - slow to import, and few have a neuPrint

    timeout = aiohttp.ClientTimeout(total=NEUPRINT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(address, data=call.body, headers=headers, allow_redirects=False) as answer,
        ):
            body = await answer.content.readexactly(NEUPRINT_BYTES)
            raise TooLarge(f"neuPrint's answer has over {NEUPRINT_BYTES} bytes")
    except asyncio.IncompleteReadError as ended:
        body = ended.partial
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise InvalidRequest(f"neuPrint at {server[:200]} does not answer") from error
    if answer.status != HTTPStatus.OK:
        raise InvalidRequest(f"neuPrint at {server[:200]} answered {answer.status}")
    return Answer(body)


ROUTES = (
    Route(("GET",), "/volumes", listed, Access.USER),
    Route(("POST", "PUT"), "/volumes", put, Access.ADMIN),
    Route(("DELETE",), "/volumes", remove, Access.ADMIN),
    Route(("GET",), "/volumes/<dataset>", one, Access.READ),
    Route(("GET",), "/volumes/proxy/<dataset>/<path:path>", proxy, Access.PUBLIC),
    Route(("POST",), "/site-reports", report, Access.USER),
    Route(("POST",), "/neuprint/<dataset>", neuprint, Access.GENERAL),
)
