"""``wkdvid serve``: run the server."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection

    from wkdvid.config import Config
    from wkdvid.core.entries import DatasetKey
    from wkdvid.workers import Plan

NAME = "serve"
HELP = "serve the datasets of a catalog, or the volumes that are named"
EXAMPLES = """\
A SOURCE is a volume (a folder or file, or an http(s), gs or s3 URL), or a folder that holds some. What is named is
served as long as the server runs, without a configuration; nothing is written beside it.

Every other setting is a key of the configuration file, or a variable such as WKDVID_ACCESS__MODE=token; both are
described in docs/configuration.md. An option goes before a variable, that before the file.

examples:
  wkdvid serve em.zarr --open
  wkdvid serve /data/volumes gs://bucket/neurons
  wkdvid serve --port 9000
  wkdvid serve --data-dir /data --config /etc/wkdvid.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", metavar="SOURCE", nargs="*", help="what to serve, instead of a catalog")
    parser.add_argument("--open", action="store_true", help="open it in a browser")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file (default: config.toml in the data directory)"
    )
    parser.add_argument("--datasets", metavar="FILE", help="catalog (default: datasets.json in the data directory)")
    parser.add_argument("--data-dir", metavar="DIR", help="where state lives and local sources begin (default: data)")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on; 0 takes a free one (default: 8000)")
    parser.add_argument("--workers", metavar="N", help="processes; 0 is one per core (default: 0)")
    parser.add_argument("--reload", action="store_true", help="for development: start anew when a source file changes")


def run(args: argparse.Namespace) -> int:
    options = {name: getattr(args, name) for name in ("data_dir", "host", "port")}
    options |= {"datasets.path": args.datasets, "server.workers": args.workers}
    return _serve_given(args, options) if args.sources else _serve_catalog(args, options)


def _serve_catalog(args: argparse.Namespace, options: Mapping[str, object], shown: Sequence[DatasetKey] = ()) -> int:
    """
    Args:
        shown: Datasets whose pages are announced; the first one's is opened, else the home page.
    """
    from wkdvid.config import load_config

    load = partial(load_config, args.config, os.environ, options)
    return _serve(load, shown, reload=args.reload, opens=args.open)


def _serve_given(args: argparse.Namespace, options: Mapping[str, object]) -> int:
    """What is named, from a data directory that goes with the server."""
    import asyncio
    from tempfile import TemporaryDirectory

    from wkdvid.cli.given import settings_for, write_datasets
    from wkdvid.errors import ConfigError

    if args.data_dir or args.datasets:
        raise ConfigError("what is named is served without a data directory and a catalog: leave these options out")
    with TemporaryDirectory(prefix="wkdvid-") as folder:
        keys = asyncio.run(write_datasets(args.sources, Path(folder)))
        return _serve_catalog(args, {**options, "data_dir": folder, **settings_for(args.sources)}, keys)


def _serve(load: Callable[[], Config], shown: Sequence[DatasetKey], *, reload: bool, opens: bool) -> int:
    begun = load()
    _check_files(begun)
    from wkdvid.core.run_folder import run_folder
    from wkdvid.logs import configure_logging
    from wkdvid.reloading import taken_over
    from wkdvid.workers import listen, serve

    _prepare_database(begun)
    host, port = begun.server.address
    with listen(host, port) as listener, run_folder(begun.state_dir) as run:
        token_of_run = cache(_made_token)
        config = _with_token(_with_port(begun, listener.getsockname()[1]), token_of_run)
        _name_what_is_left_out(config)
        configure_logging(config.log.format)

        def renew() -> Plan:
            new = load()
            _check_files(new)
            return _plan(_with_token(taken_over(begun, config, new), token_of_run), listener, run)

        pages = [f"{config.server.own_url}/datasets/{quote(key.organization)}/{quote(key.dataset)}" for key in shown]
        if opens:
            webbrowser.open(pages[0] if pages else config.server.own_url)  # which waits until a worker accepts
        told = [*announcement(config), *(f"dataset               {page}" for page in pages)]
        return serve(_plan(config, listener, run), renew, "\n".join(told), reload=reload)


def _plan(config: Config, listener: socket.socket, run: Path) -> Plan:
    from wkdvid.workers import Plan, environment

    return Plan(
        work=partial(_work, config, listener, run),
        number=config.server.worker_count,
        drain_s=config.server.shutdown_delay,
        environ=environment(config.sources.deadline_s),
    )


def _work(config: Config, listener: socket.socket, run: Path, post: Connection) -> None:
    """What a worker process does; the main one imports none of it."""
    import gc

    gc.disable()  # until the server has begun: looking through what is imported, again and again, takes a sixth of that
    from wkdvid.worker import work

    work(config, listener, run, post)


def _name_what_is_left_out(config: Config) -> None:
    if config.ignored:
        print(f"{config.file}: without meaning here, ignored: {', '.join(config.ignored)}", file=sys.stderr)


def _check_files(config: Config) -> None:
    """What is wrong with them is said here, once, and not by every worker.

    Raises:
        ConfigError: the catalog cannot be read, the data directory not be written, a secret or a package is not
            there, or a DVID's store has a name that none can have.
    """
    from wkdvid.cluster.presence import check_dask
    from wkdvid.core.catalog_store import read_document
    from wkdvid.core.credentials import check_present
    from wkdvid.dvid_stores import document_of
    from wkdvid.errors import ConfigError
    from wkdvid.extras import require
    from wkdvid.tracing import check_tracing

    try:
        config.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"data directory {config.data_dir}: {error.strerror}") from error
    if not os.access(config.data_dir, os.W_OK | os.X_OK):
        raise ConfigError(f"data directory {config.data_dir}: may not be written by this user")
    if not config.shares_catalog:
        try:
            read_document(config.datasets.path)
        except OSError as error:
            raise ConfigError(f"catalog {config.datasets.path}: {error.strerror}") from error
    check_present(config.sources.credentials, os.environ)
    check_tracing(os.environ)
    document_of(config.stores)
    check_dask(config.jobs.scheduler)
    if any(provider.client_id for provider in config.clio.providers):
        require("authlib", "clio", "clio.providers: logging in with a browser needs Authlib", ConfigError)


def _prepare_database(config: Config) -> None:
    """Bring it up to date, and the catalog into it where it is to be there."""
    from wkdvid.metadata.catalog import open_catalog
    from wkdvid.metadata.engine import migrate
    from wkdvid.metadata.links import open_links_state
    from wkdvid.metadata.repositories import open_state

    migrate(config.metadata.database_url)
    for open_one in (open_state, open_links_state):
        open_one(config.metadata.database_url, config.state_dir).begin()
    if not config.shares_catalog:
        return
    path = config.datasets.path
    taken_over = open_catalog(config.metadata.database_url, config.state_dir).fill(path)
    if taken_over:
        print(f"{path}: {taken_over} datasets taken over into the database; this file is not read again")
    elif path.exists():
        print(f"{path}: not read, the catalog is in the database")


def _with_port(config: Config, port: int) -> Config:
    """The port that is listened on, where 0 was asked for."""
    host = config.server.http_address.rpartition(":")[0]
    return replace(config, server=replace(config.server, http_address=f"{host}:{port}"))


def _with_token(config: Config, token_of_run: Callable[[], str]) -> Config:
    """In mode ``token`` without a token: one that holds until the server stops, however often this is read again."""
    if config.access.mode != "token" or config.access.admin_token:
        return config
    return replace(config, access=replace(config.access, admin_token=token_of_run()))


def _made_token() -> str:
    import secrets

    token = secrets.token_urlsafe(32)
    print(f"Administrators' token for this run (WKDVID_ADMIN_TOKEN sets a lasting one): {token}", flush=True)
    return token


def announcement(config: Config) -> list[str]:
    """What is printed at start: an address for each protocol."""
    base = config.server.own_url
    catalog, main = config.datasets.path, config.webknossos
    in_file = f"{catalog}{'' if catalog.exists() else ' (not there yet)'}"
    return [
        f"home page             {base}/",
        f"webKnossos datastore  {base}  (health: {base}/data/health)",
        f"DVID                  {base}/api  (Neuroglancer: dvid://{base}/UUID/LAYER)",
        f"run-time datasets     {base}/api/config/datasets",
        f"API description       {base}/docs",
        f"catalog               {'in the database' if config.shares_catalog else in_file}",
        *(f"DVID's store          {one.ref} is {one.instance} of {one.dataset}" for one in config.stores),
        f"access mode           {config.access.mode}",
        *([f"main server           {main.url}, which knows this one as {main.name!r}"] if main.key else []),
    ]
