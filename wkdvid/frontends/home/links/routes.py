"""A dataset's share links: made, listed and revoked by whoever may administrate the dataset."""

from __future__ import annotations

from http import HTTPStatus

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.catalog import Dataset
from wkdvid.core.links import DAYS
from wkdvid.errors import NotFound, UpstreamUnavailable
from wkdvid.frontends.home.answers import page, see
from wkdvid.frontends.home.facts import address_of
from wkdvid.frontends.home.forms import Form, read_form
from wkdvid.frontends.home.links.facts import days_of, problems_of, row_of
from wkdvid.frontends.http import base_of, require_administration, services_of, token_of
from wkdvid.frontends.request import SHARED

READING = ("GET", "HEAD")
LINKS = "/datasets/<organization:str>/<name:str>/links"


def add_routes(bp: Blueprint) -> None:
    for path, handler, methods in (
        (LINKS, links_of_dataset, READING),
        (LINKS, make_link, ("POST",)),
        (f"{LINKS}/<link>/revoke", revoke_link, ("POST",)),
    ):
        bp.add_route(handler, path, methods=methods, name=handler.__name__, unquote=True, ctx_access="administrate")


async def links_of_dataset(request: Request, organization: str, name: str) -> HTTPResponse:
    dataset = await _administrated(request, organization, name)
    return await _page(request, dataset, Form({"days": f"{DAYS:g}"}))


async def make_link(request: Request, organization: str, name: str) -> HTTPResponse:
    dataset, form = await _administrated(request, organization, name), read_form(request.body)
    errors, days = problems_of(form, dataset.layers), days_of(form)
    if errors or days is None:
        return await _page(request, dataset, form.with_errors(errors))
    services = services_of(request)
    by = await services.email_of(token_of(request))
    await services.links.make(dataset.key, form.text("layer") or None, days, by)
    return see(request, f"{address_of(dataset.key)}/links", "made")


async def revoke_link(request: Request, organization: str, name: str, link: str) -> HTTPResponse:
    dataset, services = await _administrated(request, organization, name), services_of(request)
    found = await services.links.get(link)
    if found is None or found.dataset != dataset.key:
        raise NotFound(f"there is no link {link[:40]!r} to {dataset.key}")
    await services.links.store.remove(found, await services.email_of(token_of(request)))
    return see(request, f"{address_of(dataset.key)}/links", "link-revoked")


async def _administrated(request: Request, organization: str, name: str) -> Dataset:
    """The dataset, which the caller may administrate; where its source cannot be read now, without its layers: links
    are revoked all the same.

    Raises:
        Unauthorized, Forbidden: they may not, or the request may come from a foreign page.
        NotFound, UpstreamUnavailable: as ``Services.dataset``.
    """
    services = services_of(request)
    await services.catalog.catch_up()
    known = services.catalog.by_key.get((organization, name))
    await require_administration(request, token_of(request), known)
    try:
        return await services.dataset((organization, name), token_of(request))
    except UpstreamUnavailable:
        if known is None:
            raise
        return known


async def _page(request: Request, dataset: Dataset, form: Form) -> HTTPResponse:
    links, base = services_of(request).links, base_of(request)
    rows = [
        row_of(link, f"{base}{SHARED}{links.token(link)}/") for link in await links.all() if link.dataset == dataset.key
    ]
    status = HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
    layers = [("", "All layers"), *((name, name) for name in dataset.layers)]
    shown = {"form": form, "rows": rows, "layers": layers, "key": dataset.key, "address": address_of(dataset.key)}
    return await page(request, "links.html", status, None, **shown)
