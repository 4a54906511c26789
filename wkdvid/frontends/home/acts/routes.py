"""The URL table of the pages that do something; those about datasets are here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.entries import DatasetKey
from wkdvid.errors import BackendError, InvalidEntry, RequestError, WkdvidError
from wkdvid.frontends.home.acts import adding, editing
from wkdvid.frontends.home.answers import WITH_PICTURES, failed, page, see
from wkdvid.frontends.home.facts import address_of
from wkdvid.frontends.home.forms import Form, read_form
from wkdvid.frontends.home.jobs import routes as jobs
from wkdvid.frontends.home.links import routes as links
from wkdvid.frontends.home.people import routes as people
from wkdvid.frontends.home.sessions import routes as sessions
from wkdvid.frontends.http import require_administration, services_of, token_of

READING = ("GET", "HEAD")
DATASET = "/datasets/<organization:str>/<name:str>"


def blueprint() -> Blueprint:
    bp = Blueprint("acts")
    _add(bp, "/add", begin_adding, READING)
    _add(bp, "/add", add, ("POST",))
    _add(bp, f"{DATASET}/edit", begin_editing, READING)
    _add(bp, f"{DATASET}/edit", edit, ("POST",))
    _add(bp, f"{DATASET}/reload", reload, ("POST",))
    _add(bp, f"{DATASET}/remove", ask_to_remove, READING)
    _add(bp, f"{DATASET}/remove", remove, ("POST",))
    sessions.add_routes(bp)
    jobs.add_routes(bp)
    links.add_routes(bp)
    people.add_routes(bp)
    bp.exception(WkdvidError)(failed)
    return bp


def _add(bp: Blueprint, path: str, handler: Any, methods: Sequence[str]) -> None:
    bp.add_route(handler, path, methods=methods, name=handler.__name__, unquote=True, ctx_access="administrate")


# ---- adding ----------------------------------------------------------------------------------------------------------


async def begin_adding(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    return await _add_page(request, Form())


async def add(request: Request) -> HTTPResponse:
    """Look at what is at the address; or add what was found there before."""
    await require_administration(request, token_of(request))
    form = read_form(request.body)
    return await (_add_found(request, form) if form.text("step") == "add" else _look(request, form))


async def _look(request: Request, form: Form) -> HTTPResponse:
    if not form.text("source"):
        return await _add_page(request, form.with_errors({"source": ["Say where the volume is."]}))
    try:
        found = adding.shown(await services_of(request).preview(adding.source_of(form)))
    except (RequestError, BackendError) as error:
        return await _add_page(request, form.with_errors({"source": _texts(error)}))
    organizations = await _organizations(request)
    filled = adding.filled(form, found, organizations[0] if len(organizations) == 1 else "")
    return await _add_page(request, filled, found)


async def _add_found(request: Request, form: Form) -> HTTPResponse:
    errors = adding.form_problems(form)
    if not errors:
        addition = adding.addition_of(form)
        try:
            (key,) = await services_of(request).registrar.add(addition.document)
        except InvalidEntry as error:
            errors = adding.registration_problems(addition, error.problems)
        except (RequestError, BackendError) as error:
            errors = {"": [str(error)]}
        else:
            return see(request, address_of(key), "added")
    return await _look_again(request, form.with_errors(errors))


async def _look_again(request: Request, form: Form) -> HTTPResponse:
    """What was typed stays, beside what is at the address now."""
    try:
        found = adding.shown(await services_of(request).preview(adding.source_of(form)))
    except (RequestError, BackendError) as error:
        return await _add_page(request, form.with_errors({**form.errors, "source": _texts(error)}))
    if not adding.matched(form, found):
        changed = "What is there has changed meanwhile: look at the address again."
        return await _add_page(request, form.with_errors({**form.errors, "source": [changed]}))
    return await _add_page(request, form, found)


async def _add_page(request: Request, form: Form, found: Mapping[str, Any] | None = None) -> HTTPResponse:
    status = HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
    formats = [("", "found out"), *((name, name) for name in services_of(request).formats)]
    shown = {"form": form, "found": found, "formats": formats, "organizations": await _organizations(request)}
    return await page(request, "add.html", status, WITH_PICTURES, **shown)


async def _organizations(request: Request) -> Sequence[str]:
    return sorted({dataset.key.organization for dataset in await services_of(request).listed(token_of(request))})


def _texts(error: WkdvidError) -> Sequence[str]:
    return error.problems if isinstance(error, InvalidEntry) else [str(error)]


# ---- editing, reloading, removing ------------------------------------------------------------------------------------


async def begin_editing(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    key = DatasetKey(organization, name)
    entry = await services_of(request).registrar.entry(key)
    return await _edit_page(request, key, entry.backend, editing.form_of(entry))


async def edit(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    key, form, registrar = DatasetKey(organization, name), read_form(request.body), services_of(request).registrar
    entry = await registrar.entry(key)
    try:
        await registrar.edit(key, editing.options_of(form, entry.options), form.text("tag"))
    except RequestError as error:
        errors = editing.problems_by_field(f"{entry.backend}.{organization}.{name}", error)
        return await _edit_page(request, key, entry.backend, form.with_errors(errors))
    return see(request, address_of(key), "changed")


async def _edit_page(request: Request, key: DatasetKey, backend: str, form: Form) -> HTTPResponse:
    status = HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
    return await page(request, "edit.html", status, form=form, key=key, address=address_of(key), backend=backend)


async def reload(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    key = DatasetKey(organization, name)
    await services_of(request).registrar.reload(key)
    await services_of(request).main_server.report()
    return see(request, address_of(key), "reloaded")


async def ask_to_remove(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    key = DatasetKey(organization, name)
    await services_of(request).registrar.entry(key)
    words = "It is taken out of this server. Its voxels stay where they are, so it can be added again."
    return await page(request, "remove.html", what=key, words=words, address=address_of(key))


async def remove(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    await services_of(request).registrar.remove(DatasetKey(organization, name))
    return see(request, "", "removed")
