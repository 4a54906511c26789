"""Puts the house together: services, blueprints, lifecycle, limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from sanic import Sanic
from sanic.exceptions import MethodNotAllowed, PayloadTooLarge, SanicException
from sanic.exceptions import NotFound as NoRoute
from sanic.http import Http
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.access_log import AccessLog
from wkdvid.backends.failures import passing_answers
from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.backends.stored_files import open_folder
from wkdvid.backends.written.arrays import Arrays, place_of_volumes
from wkdvid.backends.written.journal import Journal
from wkdvid.backends.written.volumes import Volumes
from wkdvid.cluster.executor import OnDask
from wkdvid.config import Config
from wkdvid.core.access import Authorizer, OpenAuthorizer, TokenAuthorizer
from wkdvid.core.body_cache import BodyCache
from wkdvid.core.callers import Proxies
from wkdvid.core.catalog import Catalog, configured_entries
from wkdvid.core.catalog_store import CatalogStore, FileCatalogStore
from wkdvid.core.grants import Names
from wkdvid.core.host_lock import HostLock, Lock
from wkdvid.core.jobs import InThisProcess, JobRunner, Jobs, JobStore
from wkdvid.core.links import LinkAuthorizer, Links
from wkdvid.core.main_server import NoMainServer
from wkdvid.core.reading import Reader
from wkdvid.core.registration import Registrar
from wkdvid.core.repositories import Repositories
from wkdvid.core.services import Services
from wkdvid.core.write_locks import WriteLocks
from wkdvid.core.written_labels import WrittenLabels
from wkdvid.dvid_stores import document_of
from wkdvid.errors import DatabaseUnavailable
from wkdvid.frontends.clio import routes as clio
from wkdvid.frontends.clio.routes import listed_origin
from wkdvid.frontends.clio.stores import open_clio
from wkdvid.frontends.dvid import routes as dvid
from wkdvid.frontends.entries import routes as entries
from wkdvid.frontends.export import routes as export
from wkdvid.frontends.home import routes as home
from wkdvid.frontends.home.acts import routes as acts
from wkdvid.frontends.http import SESSION_COOKIE, TEXT, json_reply, known_origins, reply
from wkdvid.frontends.inspect import routes as inspect
from wkdvid.frontends.jobs import routes as jobs
from wkdvid.frontends.limited import LimitedApp, TooManyRequests, Turns
from wkdvid.frontends.links import routes as links
from wkdvid.frontends.operations import routes as operations
from wkdvid.frontends.request import URL_BYTES, ServedRequest
from wkdvid.frontends.router import PrefixRouter
from wkdvid.frontends.trace import routes as trace
from wkdvid.frontends.trace.recorder import Recorder
from wkdvid.frontends.webknossos import reports
from wkdvid.frontends.webknossos import routes as webknossos
from wkdvid.frontends.webknossos.forms import routes as webknossos_forms
from wkdvid.frontends.webknossos.missing import routes as webknossos_missing
from wkdvid.gauges import Gauges
from wkdvid.identity.annotation_views import AnnotationViews
from wkdvid.identity.authorizer import EitherAuthorizer, RolesAuthorizer
from wkdvid.identity.chain import Identities
from wkdvid.identity.opening import open_identities, own_secret
from wkdvid.identity.own import COOKIE
from wkdvid.inspection.document import answer
from wkdvid.inspection.exploration import explore
from wkdvid.inspection.inspector import Inspector
from wkdvid.inspection.preview import preview
from wkdvid.job_kinds import KINDS, job_parameters, make_kinds
from wkdvid.metadata.catalog import open_catalog
from wkdvid.metadata.clio.annotations import Annotations
from wkdvid.metadata.clio.datasets import open_datasets
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.jobs import SqlJobStore
from wkdvid.metadata.label_blocks import SqlWrittenLabels
from wkdvid.metadata.links import SqlLinks, open_links_state
from wkdvid.metadata.pulse import Pulse
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.repositories import SqlRepositories, open_state
from wkdvid.metadata.shared_lock import SharedLock
from wkdvid.metadata.values import SqlValueStore
from wkdvid.openers import make_credentials, make_opener
from wkdvid.protocol import HEAD_BYTES
from wkdvid.transfer.expiry import expire

if TYPE_CHECKING:
    from wkdvid.main_server.link import Link

log = logging.getLogger("wkdvid.server")

App: TypeAlias = Sanic[Any, Any]

BUFFER_BYTES = 4096
"""What Sanic's receive buffer needs beyond the largest head."""
END_S = 1.0
"""For tasks that end because the server does."""
ALLOWED_METHODS = "POST, GET, DELETE, PUT, HEAD, PATCH, OPTIONS"
EXPIRE_S = 600.0
"""Between two looks for what transfers have made and nobody needs any more."""


def create_app(config: Config) -> App:
    """The application of one worker. Nothing is opened before it starts."""
    Http.HEADER_CEILING = HEAD_BYTES
    app = LimitedApp("wkdvid", router=PrefixRouter(), configure_logging=False, request_class=ServedRequest)
    app.config.update(_limits(config))
    host, _ = config.server.address
    app.ctx.started = time.time()
    app.ctx.read_only = config.server.rwmode == "readonly"
    app.ctx.access_mode = config.access.mode
    app.ctx.webknossos_url = config.webknossos.url
    app.ctx.public_url = config.server.public_url
    proxies = Proxies(config.server.trusted_proxies)
    app.ctx.turns = Turns(config.limits, proxies, knows_users=config.access.mode != "open")
    app.ctx.origins = known_origins([config.server.public_url, config.webknossos.url], config.server.cors_domains, host)
    app.ctx.session_cookie = COOKIE if config.access.mode == "clio" else SESSION_COOKIE
    app.ctx.allowed_origins = config.clio.allowed_origins
    app.ctx.draining = False
    app.ctx.metrics_for = config.server.metrics
    app.ctx.recorder = Recorder(config.state_dir)
    app.before_server_start(partial(_start, config))
    for blueprint in (
        webknossos.blueprint(),
        webknossos_forms.blueprint(),
        webknossos_missing.blueprint(),
        dvid.blueprint(),
        inspect.blueprint(),
        jobs.blueprint(),
        entries.blueprint(),
        export.blueprint(),
        links.blueprint(),
        home.blueprint(),
        acts.blueprint(),
        trace.blueprint(),
        operations.blueprint(),
        clio.blueprint(config.clio),
    ):
        app.blueprint(blueprint)
    app.exception(NoRoute, MethodNotAllowed)(_no_route)
    app.exception(TooManyRequests)(_too_many)
    app.exception(Exception)(_unexpected)
    app.before_server_stop(_let_watchers_go)
    app.after_server_stop(_stop)
    return app


def _limits(config: Config) -> Mapping[str, object]:
    return {
        "REQUEST_MAX_SIZE": config.limits.body_bytes,
        "REQUEST_MAX_HEADER_SIZE": HEAD_BYTES,
        "REQUEST_BUFFER_SIZE": HEAD_BYTES + 2 * BUFFER_BYTES,
        "REQUEST_TIMEOUT": 60,
        "RESPONSE_TIMEOUT": 600,
        "KEEP_ALIVE_TIMEOUT": 75,
        "ACCESS_LOG": False,
        "MOTD": False,
        "FALLBACK_ERROR_FORMAT": "json",
    }


async def _start(config: Config, app: App) -> None:
    job_store = SqlJobStore(open_engine(config.metadata.database_url))
    identities, logins = open_identities(config)
    services = make_services(config, job_store, identities)
    app.ctx.services = services
    app.ctx.access_log = AccessLog(config.log.access, config.log.slow_s, identities.known)
    app.ctx.datastore_services = datastore_services(config, services)
    app.ctx.clio = open_clio(config, services.catalog, identities, logins)
    with contextlib.suppress(DatabaseUnavailable):  # each request says so, until it answers
        await services.catalog.catch_up()
        await services.repositories.catch_up()
    runner = make_runner(config, services, job_store)
    gauges = Gauges(services, _share_of_cache(config))
    app.ctx.watching = [
        asyncio.create_task(services.catalog.watch(), name="watch catalog"),
        asyncio.create_task(runner.watch(), name="run jobs"),
        asyncio.create_task(services.main_server.watch(), name="report to the main server"),
        asyncio.create_task(services.volumes.mend(), name="mend writes"),
        asyncio.create_task(_expire_transfers(config), name="expire transfers"),
        asyncio.create_task(gauges.watch(), name="look at gauges"),
    ]
    shared = {"catalog": services.catalog.follow, "repositories": services.repositories.follow}
    for name, follow in (shared | {"links": services.links.store.follow}).items():
        following = follow(HostLock(config.state_dir / f"{name}.follower.lock"))
        app.ctx.watching.append(asyncio.create_task(following, name=f"follow the {name}"))


async def _let_watchers_go(app: App) -> None:
    """Who watches a job holds a connection, which the server would wait for."""
    app.ctx.services.jobs.closing = True


async def _stop(app: App) -> None:
    for watching in app.ctx.watching:
        watching.cancel()
    await asyncio.wait(app.ctx.watching)
    await app.ctx.services.main_server.aclose()
    await app.ctx.services.catalog.aclose()
    app.ctx.services.values.close()
    app.ctx.services.executor.shutdown(wait=False, cancel_futures=True)
    await _end_tasks()


async def _end_tasks() -> None:
    """What ``asyncio.run`` does at its end: reads that nobody waits for, and sessions of sources that were replaced."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=END_S)


def _catalog_store(config: Config) -> CatalogStore:
    if config.shares_catalog:
        return open_catalog(config.metadata.database_url, config.state_dir)
    return FileCatalogStore(config.datasets.path, config.state_dir)


def _share_of_cache(config: Config) -> int:
    """Bytes of decoded chunks, and as many of ready bodies: three eighths each of a worker's share.

    The rest is what the allocator loses between them: 1 GiB of both was measured to take 1.3 GiB.
    """
    return config.sources.cache_bytes // config.server.worker_count * 3 // 8


def make_services(config: Config, job_store: JobStore, identities: Identities) -> Services:
    """What front ends need, for one worker."""
    cached = _share_of_cache(config)
    opener = make_opener(config, cached, config.sources.deadline_s)
    backends, inspector = Backends(opener), Inspector(opener)
    configured = configured_entries(backends.parse, document_of(config.stores))
    catalog = Catalog(
        _catalog_store(config), backends.parse, backends.open_layers, config.sources.refresh_s, configured
    )
    executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="encode")
    main_server = _link(config, catalog)
    repositories = SqlRepositories(open_state(config.metadata.database_url, config.state_dir))
    database = open_engine(config.metadata.database_url)
    labels = SqlWrittenLabels(database)
    links = Links(SqlLinks(open_links_state(config.metadata.database_url, config.state_dir)), own_secret(config))
    authorizer = _with_links(_authorizer(config, main_server, identities, catalog), links)
    return Services(
        limits=config.limits,
        catalog=catalog,
        repositories=repositories,
        volumes=_volumes(config, opener, repositories, labels, executor),
        values=SqlValueStore(database),
        labels=labels,
        registrar=Registrar(catalog, repositories, backends.parse, backends.open_layers, links.store.remove_all),
        authorizer=authorizer,
        links=links,
        email_of=identities.email,
        annotations=AnnotationViews(identities, authorizer, Annotations(Queries(database))),
        reader=Reader(config.limits, executor),
        bodies=BodyCache(cached),
        inspect=partial(answer, inspector),
        formats=backends.names,
        preview=partial(preview, inspector),
        explore=partial(explore, inspector),
        open_files=partial(open_folder, opener),
        admit=opener.source,
        jobs=Jobs(job_store, KINDS, job_parameters(config)),
        main_server=main_server or NoMainServer(),
        passing_answers=passing_answers,
        database_answers=Pulse(database).beats,
        executor=executor,
    )


def datastore_services(config: Config, services: Services) -> Services:
    """What the routes of webKnossos are given: in mode ``clio`` those who may read by a main server do too."""
    if config.access.mode != "clio" or isinstance(services.main_server, NoMainServer):
        return services
    main = cast("Link", services.main_server)
    return replace(services, authorizer=EitherAuthorizer(services.authorizer, main.authorizer))


def _volumes(
    config: Config, opener: Opener, repositories: Repositories, labels: WrittenLabels, executor: Executor
) -> Volumes:
    arrays = Arrays(place_of_volumes(config.data_dir, config.volumes.url, make_credentials(config)), opener)
    locks, journal = WriteLocks(config.state_dir), Journal(config.state_dir / "writes")
    return Volumes(arrays, locks, journal, repositories, labels, executor)


def make_runner(config: Config, services: Services, job_store: JobStore) -> JobRunner:
    """What works on jobs, if this worker is the one of its host to do so."""
    kinds = make_kinds(config, services.catalog, services.registrar)
    lock, scheduler = HostLock(config.state_dir / "jobs.lock"), config.jobs.scheduler
    if scheduler is None:
        return JobRunner(job_store, kinds, lock, InThisProcess(config.jobs.workers))
    return JobRunner(job_store, kinds, lock, OnDask(scheduler, config.data_dir, services.catalog))


async def _expire_transfers(config: Config) -> None:
    """Remove what transfers have made when it is old, or too much; until cancelled. Every worker does so."""
    folder, keep = config.transfers_dir, config.jobs
    while True:
        try:
            names = await asyncio.to_thread(expire, folder, time.time(), keep.keep_days, keep.keep_bytes)
        except OSError as error:
            log.warning("transfers cannot be removed: %s", error)
        else:
            for name in names:
                log.info("transfer %s... has expired", name[:5])  # the whole name would let its reader see it
        await asyncio.sleep(EXPIRE_S)


def _link(config: Config, catalog: Catalog) -> Link | None:
    """The way to the main server, where it has one to be shown to."""
    settings, forms = config.webknossos, reports.forms(config.server.own_url)
    if settings.url is None or settings.key is None:
        return None
    from wkdvid.main_server.client import Client  # noqa: PLC0415 - slow to import, and not everybody has one
    from wkdvid.main_server.link import Link  # noqa: PLC0415

    client = Client(settings.url, settings.name, settings.key)
    return Link(client, catalog, _reporting_lock(config), forms, config.server.main_servers_way)


def _reporting_lock(config: Config) -> Lock:
    """Hosts that share the catalog may still be datastores of different main servers."""
    lock = HostLock(config.state_dir / "reports.lock")
    if not config.shares_catalog:
        return lock
    purpose = f"reports of {config.webknossos.name} to {config.webknossos.url}"
    return SharedLock(open_engine(config.metadata.database_url), purpose, lock)


def _authorizer(config: Config, link: Link | None, identities: Identities, catalog: Catalog) -> Authorizer:
    if config.access.mode == "open":
        return OpenAuthorizer()
    if config.access.mode == "clio":
        return RolesAuthorizer(
            identities, Names(catalog), open_datasets(config.metadata.database_url, config.state_dir).public
        )
    if config.access.mode == "webknossos":
        if link is None:
            raise ValueError("mode webknossos needs a main server; load_config() sees to that")
        return link.authorizer
    if not config.access.admin_token:
        raise ValueError("mode token needs a token; serve() makes one")
    return TokenAuthorizer(config.access.admin_token)


def _with_links(authorizer: Authorizer, links: Links) -> Authorizer:
    """Where users have roles, a link counts no longer than who made it could make it."""
    return LinkAuthorizer(authorizer, links, authorizer.may_share if isinstance(authorizer, RolesAuthorizer) else None)


def _preflight(request: Request) -> HTTPResponse:
    """Browsers ask first before they POST JSON to another origin; the answer is the same for every path."""
    asked = request.headers.get("access-control-request-headers", "*")
    return reply(
        "",
        TEXT,
        200,
        {
            "Access-Control-Max-Age": "600",
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": asked,
            "Access-Control-Expose-Headers": "MISSING-BUCKETS",
            **_listed(request),
        },
    )


def _listed(request: Request) -> Mapping[str, str]:
    return listed_origin(request, request.app.ctx.allowed_origins)


async def _no_route(request: Request, error: NoRoute | MethodNotAllowed) -> HTTPResponse:
    """No route has OPTIONS, so a preflight ends here: as a middleware it would slow down every request."""
    if request.method == "OPTIONS":
        await request.receive_body()  # type: ignore[no-untyped-call]  # left unread it is logged as an error
        return _preflight(request)
    if isinstance(error, MethodNotAllowed):
        text = f"{request.method} is not offered at this address"
        document = {"messages": [{"error": text}], "code": "no_route", "detail": text}
        return json_reply(document, 405, {**error.headers, **_listed(request)})
    if request.path.startswith("/api/"):
        return reply("404 page not found\n", TEXT, 404)
    if request.path.startswith("/data/v"):
        text = "This server does not support the requested HTTP API version or route"
    else:
        text = "there is nothing at this address"
    document = {"messages": [{"error": text}], "code": "no_route", "detail": text}
    return json_reply(document, 404, _listed(request))


async def _unexpected(request: Request, error: Exception) -> HTTPResponse:
    number = request.id
    status = _status_of(request, error)
    if status >= 500:
        log.exception("request %s: %s %s", number, request.method, request.path, exc_info=error)
        return json_reply({"messages": [{"error": "internal error"}], "code": "internal", "requestId": number}, status)
    text = f"{error}{_limit_of(request, error)}"
    if request.path.startswith("/api/"):
        return reply(f"{text} ({request.path}).\n", TEXT, 400 if status == 413 else status)
    return json_reply({"messages": [{"error": text}], "code": "http", "requestId": number}, status)


async def _too_many(request: Request, error: TooManyRequests) -> HTTPResponse:
    """Pages of other origins see it too: what they may not see looks to viewers like data that is not there."""
    headers = {**error.headers, "Access-Control-Expose-Headers": "Retry-After", **_listed(request)}
    if request.path.startswith("/api/"):
        return reply(f"{error}\n", TEXT, error.status_code, headers)
    document = {"messages": [{"error": str(error)}], "code": "too_many_requests", "detail": str(error)}
    return json_reply(document, error.status_code, headers)


def _status_of(request: Request, error: Exception) -> int:
    if not isinstance(error, SanicException):
        return 500
    stream = request.stream
    if isinstance(error, PayloadTooLarge) and "header" in str(error) and isinstance(stream, Http):
        return 413 if b"\r\n" in stream.recv_buffer[:URL_BYTES] else 414  # the request line alone was too long
    return error.status_code


def _limit_of(request: Request, error: Exception) -> str:
    if not isinstance(error, PayloadTooLarge):
        return ""
    if "header" in str(error):
        return f" of {HEAD_BYTES} bytes, a URL that of {URL_BYTES} bytes"
    limits, stream = request.app.ctx.services.limits, request.stream
    if stream is not None and stream.request_max_size != request.app.config.REQUEST_MAX_SIZE:
        return f" of {limits.written_bytes} bytes (limits.written_bytes)"
    return f" of {limits.body_bytes} bytes (limits.body_bytes)"
