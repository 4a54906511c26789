"""Jobs as pages: of the server, and of one dataset, where they are begun."""

from __future__ import annotations

from sanic import Blueprint
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.core.entries import DatasetKey
from wkdvid.frontends.home.answers import page, see
from wkdvid.frontends.home.facts import address_of
from wkdvid.frontends.home.forms import read_form
from wkdvid.frontends.home.jobs.facts import offers, row_of
from wkdvid.frontends.http import require_administration, services_of, token_of

READING = ("GET", "HEAD")
OF_DATASET = "/datasets/<organization:str>/<name:str>/jobs"


def add_routes(bp: Blueprint) -> None:
    bp.add_route(all_jobs, "/jobs", methods=READING, name="jobs_page", ctx_access="administrate")
    bp.add_route(cancel, "/jobs/<job>/cancel", methods=("POST",), name="cancel_job", ctx_access="administrate")
    for handler, methods in ((jobs_of_dataset, READING), (begin, ("POST",))):
        bp.add_route(
            handler, OF_DATASET, methods=methods, name=handler.__name__, unquote=True, ctx_access="administrate"
        )


async def all_jobs(request: Request) -> HTTPResponse:
    await require_administration(request, token_of(request))
    rows = [row_of(job) for job in await services_of(request).jobs.newest()]
    return await page(request, "jobs.html", rows=rows, key=None, address="", offers=())


async def jobs_of_dataset(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    services, key = services_of(request), DatasetKey(organization, name)
    dataset = await services.dataset(key, token_of(request))
    jobs = [job for job in await services.jobs.newest() if job.dataset == str(key)]
    rows, begun = [row_of(job) for job in jobs], offers(dataset, jobs)
    return await page(request, "jobs.html", rows=rows, key=key, address=address_of(key), offers=begun)


async def begin(request: Request, organization: str, name: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    services, key, form = services_of(request), DatasetKey(organization, name), read_form(request.body)
    layer = (await services.dataset(key, token_of(request))).layer(form.text("layer")).info.name
    await services.jobs.submit(form.text("kind"), str(key), layer)
    return see(request, f"{address_of(key)}/jobs", "started")


async def cancel(request: Request, job: str) -> HTTPResponse:
    await require_administration(request, token_of(request))
    await services_of(request).jobs.cancel(job)
    return see(request, "jobs", "cancelled")
