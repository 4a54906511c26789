"""Puts the house together: services, blueprints, lifecycle, limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from sanic import Sanic
from sanic.exceptions import MethodNotAllowed, PayloadTooLarge, SanicException
from sanic.exceptions import NotFound as NoRoute
from sanic.http import Http
from sanic.request import Request
from sanic.response import HTTPResponse

from wkdvid.backends.failures import passing_answers
from wkdvid.backends.label_index.job import KIND as INDEX
from wkdvid.backends.label_index.job import IndexKind
from wkdvid.backends.opening import Opener
from wkdvid.backends.pyramid_job import KIND as PYRAMID
from wkdvid.backends.pyramid_job import PyramidKind
from wkdvid.backends.registry import Backends
from wkdvid.backends.stored_files import open_folder
from wkdvid.backends.workplace import Workplace
from wkdvid.backends.written.arrays import Arrays, place_of_volumes
from wkdvid.backends.written.journal import Journal
from wkdvid.backends.written.volumes import Volumes
from wkdvid.config import Config
from wkdvid.core.access import Authorizer, OpenAuthorizer, TokenAuthorizer
from wkdvid.core.body_cache import BodyCache
from wkdvid.core.catalog import Catalog, configured_entries
from wkdvid.core.catalog_store import CatalogStore, FileCatalogStore
from wkdvid.core.credentials import Credentials, anonymous_access, own_access
from wkdvid.core.grants import Names
from wkdvid.core.guard import Guard
from wkdvid.core.host_lock import HostLock, Lock
from wkdvid.core.job_layers import JobLayers
from wkdvid.core.jobs import JobKind, JobRunner, Jobs, JobStore, ReadParameters
from wkdvid.core.links import LinkAuthorizer, Links
from wkdvid.core.main_server import NoMainServer
from wkdvid.core.own_accounts import FOLDER
from wkdvid.core.reading import Reader
from wkdvid.core.registration import Registrar
from wkdvid.core.repositories import Repositories
from wkdvid.core.secrets import Secrets
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
from wkdvid.frontends.http import SESSION_COOKIE, TEXT, json_reply, known_origins, reply, request_id
from wkdvid.frontends.inspect import routes as inspect
from wkdvid.frontends.jobs import routes as jobs
from wkdvid.frontends.links import routes as links
from wkdvid.frontends.request import URL_BYTES, ServedRequest
from wkdvid.frontends.trace import routes as trace
from wkdvid.frontends.trace.recorder import Recorder
from wkdvid.frontends.webknossos import reports
from wkdvid.frontends.webknossos import routes as webknossos
from wkdvid.frontends.webknossos.forms import routes as webknossos_forms
from wkdvid.frontends.webknossos.missing import routes as webknossos_missing
from wkdvid.identity.annotation_views import AnnotationViews
from wkdvid.identity.authorizer import EitherAuthorizer, RolesAuthorizer
from wkdvid.identity.chain import Identities
from wkdvid.identity.opening import open_identities, own_secret
from wkdvid.identity.own import COOKIE
from wkdvid.inspection.document import answer
from wkdvid.inspection.exploration import explore
from wkdvid.inspection.inspector import Inspector
from wkdvid.inspection.preview import preview
from wkdvid.logs import configure_logging
from wkdvid.main_server.client import Client
from wkdvid.main_server.link import Link
from wkdvid.metadata.catalog import open_catalog
from wkdvid.metadata.clio.annotations import Annotations
from wkdvid.metadata.clio.datasets import open_datasets
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.jobs import SqlJobStore
from wkdvid.metadata.label_blocks import SqlWrittenLabels
from wkdvid.metadata.links import SqlLinks, open_links_state
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.repositories import SqlRepositories, open_state
from wkdvid.metadata.shared_lock import SharedLock
from wkdvid.metadata.values import SqlValueStore
from wkdvid.signatures import job as signatures_job
from wkdvid.signatures.folders import SignatureFolders
from wkdvid.signatures.job import KIND as SIGNATURES
from wkdvid.signatures.job import SignaturesKind
from wkdvid.transfer import job as transfer_job
from wkdvid.transfer.expiry import expire
from wkdvid.transfer.job import KIND as TRANSFER
from wkdvid.transfer.job import TransferKind
from wkdvid.transfer.models import Models
from wkdvid.workers import BACKLOG, heed_the_end

log = logging.getLogger("wkdvid.server")

App: TypeAlias = Sanic[Any, Any]

HEAD_BYTES = URL_BYTES + 16_384
"""Of the request line and all headers."""
BUFFER_BYTES = 4096
"""What Sanic's receive buffer needs beyond the largest head."""
END_S = 1.0
"""For tasks that end because the server does."""
ALLOWED_METHODS = "POST, GET, DELETE, PUT, HEAD, PATCH, OPTIONS"
EXPIRE_S = 600.0
"""Between two looks for what transfers have made and nobody needs any more."""
JOB_DEADLINE_S = 120.0
"""For one read of a job: nobody waits for it."""


def create_app(config: Config) -> App:
    """The application of one worker. Nothing is opened before it starts."""
    Http.HEADER_CEILING = HEAD_BYTES
    app = Sanic("wkdvid", configure_logging=False, request_class=ServedRequest)
    app.config.update(_limits(config))
    host, _ = config.server.address
    app.ctx.started = time.time()
    app.ctx.read_only = config.server.rwmode == "readonly"
    app.ctx.access_mode = config.access.mode
    app.ctx.webknossos_url = config.webknossos.url
    app.ctx.public_url = config.server.public_url
    app.ctx.origins = known_origins([config.server.public_url, config.webknossos.url], config.server.cors_domains, host)
    app.ctx.session_cookie = COOKIE if config.access.mode == "clio" else SESSION_COOKIE
    app.ctx.allowed_origins = config.clio.allowed_origins
    app.ctx.recorder = Recorder(config.data_dir / ".wkdvid")
    app.before_server_start(partial(_start, config))
    for blueprint in (
        webknossos.blueprint(),
        webknossos_forms.blueprint(),
        webknossos_missing.blueprint(),
        dvid.blueprint(),
        inspect.blueprint(),
        jobs.blueprint(),
        entries.blueprint(),
        links.blueprint(),
        export.blueprint(),
        home.blueprint(),
        acts.blueprint(),
        trace.blueprint(),
        clio.blueprint(config.clio),
    ):
        app.blueprint(blueprint)
    app.exception(NoRoute, MethodNotAllowed)(_no_route)
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
        "GRACEFUL_SHUTDOWN_TIMEOUT": 10.0,
        "ACCESS_LOG": False,
        "MOTD": False,
        "FALLBACK_ERROR_FORMAT": "json",
    }


async def _start(config: Config, app: App) -> None:
    job_store = SqlJobStore(open_engine(config.metadata.database_url))
    identities, login = open_identities(config)
    services = make_services(config, job_store, identities)
    app.ctx.services = services
    app.ctx.datastore_services = datastore_services(config, services)
    app.ctx.clio = open_clio(config, services.catalog, identities, login)
    with contextlib.suppress(DatabaseUnavailable):  # each request says so, until it answers
        await services.catalog.catch_up()
        await services.repositories.catch_up()
    runner = make_runner(config, services, job_store)
    app.ctx.watching = [
        asyncio.create_task(services.catalog.watch(), name="watch catalog"),
        asyncio.create_task(runner.watch(), name="run jobs"),
        asyncio.create_task(services.main_server.watch(), name="report to the main server"),
        asyncio.create_task(services.volumes.mend(), name="mend writes"),
        asyncio.create_task(_expire_transfers(config), name="expire transfers"),
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


def make_services(config: Config, job_store: JobStore, identities: Identities) -> Services:
    """What front ends need, for one worker.

    Of its share of the cache three eighths are decoded chunks and three eighths ready bodies. The rest is what the
    allocator loses between them: 1 GiB of both was measured to take 1.3 GiB.
    """
    cached = config.sources.cache_bytes // config.server.worker_count * 3 // 8
    opener = _opener(config, cached, config.sources.deadline_s)
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
        jobs=Jobs(job_store, (PYRAMID, INDEX, SIGNATURES, TRANSFER), _job_parameters(config)),
        main_server=main_server or NoMainServer(),
        passing_answers=passing_answers,
        executor=executor,
    )


def datastore_services(config: Config, services: Services) -> Services:
    """What the routes of webKnossos are given: in mode ``clio`` those who may read by a main server do too."""
    if config.access.mode != "clio" or not isinstance(services.main_server, Link):
        return services
    return replace(services, authorizer=EitherAuthorizer(services.authorizer, services.main_server.authorizer))


def _volumes(
    config: Config, opener: Opener, repositories: Repositories, labels: WrittenLabels, executor: Executor
) -> Volumes:
    arrays = Arrays(place_of_volumes(config.data_dir, config.volumes.url, _credentials(config)), opener)
    locks, journal = WriteLocks(config.state_dir), Journal(config.state_dir / "writes")
    return Volumes(arrays, locks, journal, repositories, labels, executor)


def make_runner(config: Config, services: Services, job_store: JobStore) -> JobRunner:
    """What works on jobs, if this worker is the one of its host to do so."""
    opener = _opener(config, config.limits.working_bytes, JOB_DEADLINE_S)
    place, threads = Workplace(config.data_dir, opener, services.catalog), config.jobs.workers
    layers = JobLayers(services.catalog, Backends(opener).open_layers)
    executor = ThreadPoolExecutor(threads, thread_name_prefix="job")
    models, reader = Models(config.models_dir), Reader(config.limits, executor)
    kinds: dict[str, JobKind] = {
        PYRAMID: PyramidKind(place, services.registrar, threads),
        INDEX: IndexKind(place, services.registrar, threads, config.limits.working_bytes),
        SIGNATURES: SignaturesKind(layers, SignatureFolders(config.signatures_dir), executor),
        TRANSFER: TransferKind(layers, reader, models, executor, config.transfers_dir),
    }
    return JobRunner(job_store, kinds, HostLock(config.state_dir / "jobs.lock"), threads)


def _job_parameters(config: Config) -> Mapping[str, ReadParameters]:
    return {
        SIGNATURES: signatures_job.read_parameters,
        TRANSFER: partial(transfer_job.read_parameters, Models(config.models_dir)),
    }


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


def _opener(config: Config, pool_bytes: int, deadline_s: float) -> Opener:
    guard = Guard(config.file_roots, config.http_hosts, _credentials(config))
    secrets = Secrets(config.sources.secrets)
    return Opener(
        guard,
        config.limits,
        pool_bytes=pool_bytes,
        deadline_s=deadline_s,
        secrets=secrets,
        variables=config.variables(os.environ),
        keys=config.state_dir / FOLDER,
    )


def _credentials(config: Config) -> Credentials:
    """Where others can name sources too, the process's own credentials are for those that the operator grants alone."""
    otherwise = own_access(os.environ) if config.private else anonymous_access(os.environ)
    return Credentials(config.credentials, otherwise)


def _link(config: Config, catalog: Catalog) -> Link | None:
    """The way to the main server, where it has one to be shown to."""
    settings, forms = config.webknossos, reports.forms(config.server.own_url)
    if settings.url is None or settings.key is None:
        return None
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
    number = request_id()
    status = _status_of(request, error)
    if status >= 500:
        log.exception("request %s: %s %s", number, request.method, request.path, exc_info=error)
        return json_reply({"messages": [{"error": "internal error"}], "code": "internal", "requestId": number}, status)
    text = f"{error}{_limit_of(request, error)}"
    if request.path.startswith("/api/"):
        return reply(f"{text} ({request.path}).\n", TEXT, 400 if status == 413 else status)
    return json_reply({"messages": [{"error": text}], "code": "http", "requestId": number}, status)


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


def work(config: Config, listener: socket.socket) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's goes to the main process too, which ends its workers
    configure_logging()
    app = create_app(config)
    app.after_server_start(_heed_the_end)
    app.prepare(
        sock=listener,
        backlog=BACKLOG,
        single_process=True,
        register_sys_signals=False,
        access_log=False,
        motd=False,
    )
    Sanic.serve_single(app)


async def _heed_the_end(app: App) -> None:
    heed_the_end(partial(app.stop, terminate=False))
