"""Who asks, which node they ask for, and whether they may change it."""

from __future__ import annotations

from sanic.request import Request

from wkdvid.core.access import Action, allowed
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.frontends.dvid.instances import Version
from wkdvid.frontends.dvid.versions import find_version
from wkdvid.frontends.http import require_administration, require_writing, sent_token, services_of, session_token

READING = ("GET", "HEAD")
READ_ONLY = "Server in read-only mode and will only accept GET and HEAD requestcs"
"""As DVID spells it."""


def dvid_token(request: Request) -> str | None:
    """As every front end takes it, or as DVID's clients send it."""
    token = sent_token(request)
    if token is None:
        token = _admin_token(request)
    return session_token(request) if token is None else token


def _admin_token(request: Request) -> str | None:
    return request.args.get("admintoken") or None if "admintoken=" in request.query_string else None


async def asked_version(request: Request, uuid: str) -> Version:
    """
    Raises:
        NotFound, InvalidRequest, UpstreamUnavailable: as ``find_version``.
    """
    return await find_version(services_of(request), uuid, dvid_token(request))


async def changed_version(request: Request, uuid: str) -> Version:
    """The node of which something is to be changed.

    Raises:
        UnsupportedRequest: the server is read-only, or the node is a registered dataset's.
        Unauthorized, Forbidden: the caller may not.
    """
    await refuse_in_read_only_mode(request)
    at = await asked_version(request, uuid)
    if at.dataset is not None:
        kind = "New data instance cannot be created" if request.path.endswith("/instance") else "Cannot do post"
        raise UnsupportedRequest(f"{kind} on locked node {at.node.uuid}")
    await require_writing(request, dvid_token(request), at.owner)
    return at


async def refuse_in_read_only_mode(request: Request) -> None:
    """
    Raises:
        UnsupportedRequest: in DVID's words.
    """
    if await is_closed(request):
        raise UnsupportedRequest(READ_ONLY)


async def is_closed(request: Request) -> bool:
    """Whether the server is read-only, and no administrator's ``?admintoken=`` lifts that."""
    if not request.app.ctx.read_only:
        return False
    token = _admin_token(request)
    return token is None or not await allowed(services_of(request).authorizer, token, Action.ADMINISTRATE, None)


async def require_dvid_admin(request: Request, refusal: str) -> None:
    """DVID has no 401 here.

    Raises:
        InvalidRequest: the caller may not administrate; in these words.
        Forbidden: the request may come from a foreign page.
    """
    if not await allowed(services_of(request).authorizer, dvid_token(request), Action.ADMINISTRATE, None):
        raise InvalidRequest(refusal)
    await require_administration(request, dvid_token(request))
