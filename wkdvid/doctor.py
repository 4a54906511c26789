"""Looks at everything that a server needs before it is started, and says of each what to do where it is not well.

Nothing is changed. It sees what its user and its environment let it see: they should be the server's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import sqlalchemy as sa

from wkdvid.backends.registry import Backends
from wkdvid.backends.written.arrays import Arrays, place_of_volumes
from wkdvid.cluster.presence import check_dask, check_scheduler
from wkdvid.config import Config
from wkdvid.core.catalog import configured_entries
from wkdvid.core.catalog_store import read_document
from wkdvid.core.concurrent import for_each
from wkdvid.core.credentials import check_present
from wkdvid.core.entries import DatasetEntry, Document
from wkdvid.core.secrets import look_up
from wkdvid.dvid_stores import document_of
from wkdvid.errors import ConfigError, InvalidEntry, WkdvidError
from wkdvid.metadata.catalog import open_catalog
from wkdvid.metadata.engine import Standing, standing
from wkdvid.openers import make_credentials, make_opener
from wkdvid.tracing import check_tracing, is_asked_for
from wkdvid.workers import listen

POOL_BYTES = 16 * 1024 * 1024
AT_A_TIME = 8
"""Datasets that are opened."""
LEAST_FREE = 1 << 30
"""Bytes of the disk that state is on."""
ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    is_well: bool
    text: str
    advice: str = ""
    """What to do, where it is not well."""


class NotWell(Exception):
    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


async def examine(config: Config) -> AsyncIterator[Finding]:
    """One finding for each thing that is looked at, datasets last."""
    yield Finding("configuration", is_well=True, text=str(config.file or "no file: environment and defaults"))
    for subject, check in CHECKS.items():
        yield _finding(subject, check, config)
    if config.volumes.url is not None:
        yield await _bucket(config, config.volumes.url)
    async for finding in _datasets(config):
        yield finding


def _finding(subject: str, check: Callable[[Config], str], config: Config) -> Finding:
    try:
        return Finding(subject, is_well=True, text=check(config))
    except NotWell as problem:
        return Finding(subject, is_well=False, text=str(problem), advice=problem.advice)
    except WkdvidError as error:
        return Finding(subject, is_well=False, text=str(error), advice=ADVICE.get(subject, ""))


def _data_directory(config: Config) -> str:
    folder = config.data_dir
    if not folder.exists():
        return f"{folder} (not there yet: made at start)"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise NotWell(f"{folder} may not be written by this user", "give it to the user that runs the server (chown)")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise NotWell(f"{folder}: {free >> 20} MiB are free", "make room: the database and what jobs make are there")
    return f"{folder}, {free >> 30} GiB free"


def _roots(config: Config) -> str:
    for root in config.sources.file_roots:
        if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
            raise NotWell(f"{root} is no folder that this user may read", "mount it, or correct sources.file_roots")
    return ", ".join(map(str, config.sources.file_roots)) or "the data directory alone"


def _credentials(config: Config) -> str:
    check_present(config.sources.credentials, os.environ)
    lost = [reference for reference in config.sources.secrets if look_up(reference, os.environ) is None]
    if lost:
        raise ConfigError(f"sources.secrets: {', '.join(lost)}: not there")
    if config.access.mode == "token" and not config.access.admin_token:
        return "all there; administrators' token: a new one at each start (WKDVID_ADMIN_TOKEN sets a lasting one)"
    return "all there"


def _database(config: Config) -> str:
    url = sa.make_url(config.metadata.database_url)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return f"{shown} (not there yet: made at start)"
    found = standing(config.metadata.database_url)
    if found is Standing.OLDER:
        return f"{shown}, of an older version: brought up to date at start, so back it up before"
    return f"{shown}, {'up to date' if found is Standing.CURRENT else 'empty'}"


def _disk_cache(config: Config) -> str:
    folder, most = config.sources.disk_cache_path, config.sources.disk_cache_bytes
    if folder is None:
        return "none: what sources send is not kept"
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        raise NotWell(f"{there} is no folder that this user may write", "correct sources.disk_cache_path, or give it")
    used = sum(path.stat().st_size for path in folder.glob("sources.sqlite*"))
    if used + shutil.disk_usage(there).free < most:
        raise NotWell(
            f"{folder} may take {most >> 20} MiB, more than its disk has left",
            "make room, or less sources.disk_cache_bytes",
        )
    return f"{folder}, {used >> 20} of {most >> 20} MiB used"


def _jobs(config: Config) -> str:
    scheduler = config.jobs.scheduler
    if scheduler is None:
        return "done by the server itself"
    check_dask(scheduler)
    check_scheduler(scheduler, ANSWER_S)
    return f"handed to the workers of {scheduler}"


def _port(config: Config) -> str:
    host, port = config.server.address
    try:
        listen(host, port).close()
    except ConfigError:
        if _is_ours(config.server.local_url):
            return f"{config.server.http_address}, where a wkdvid answers already"
        raise
    return f"{config.server.http_address} is free"


def _is_ours(base: str) -> bool:
    try:
        with urlopen(f"{base}/health/live", timeout=ANSWER_S) as answer:  # noqa: S310 - our own address
            return bool(answer.read(10) == b"ok\n")
    except (OSError, ValueError):
        return False


def _traces(config: Config) -> str:
    check_tracing(os.environ)
    return "sent as the variables OTEL_... say" if is_asked_for(os.environ) else "not asked for"


CHECKS: Mapping[str, Callable[[Config], str]] = {
    "data directory": _data_directory,
    "file roots": _roots,
    "credentials": _credentials,
    "database": _database,
    "disk cache": _disk_cache,
    "jobs": _jobs,
    "port": _port,
    "traces": _traces,
}
ADVICE: Mapping[str, str] = {
    "credentials": "set the variable or write the file in the server's own environment",
    "database": "see metadata.database_url; is the database up, and may this user reach it?",
    "jobs": "install the extra, start the scheduler, or correct jobs.scheduler",
    "port": "end what listens there, or choose another one (--port)",
    "catalog": "correct the file, or take it from a backup",
}
BUCKET_ADVICE = "make the bucket, correct volumes.url, or give credentials that allow reading, writing and listing it"
SOURCE_ADVICE = "wkdvid inspect says more of a source"


async def _bucket(config: Config, url: str) -> Finding:
    """Of what clients write."""
    opener = make_opener(config, POOL_BYTES, config.sources.deadline_s)
    try:
        await Arrays(place_of_volumes(config.data_dir, url, make_credentials(config)), opener).check_bucket()
    except WkdvidError as error:
        return Finding("volumes", is_well=False, text=str(error), advice=BUCKET_ADVICE)
    return Finding("volumes", is_well=True, text=url)


async def _datasets(config: Config) -> AsyncIterator[Finding]:
    backends = Backends(make_opener(config, POOL_BYTES, config.sources.deadline_s))
    try:
        entries = [*configured_entries(backends.parse, document_of(config.stores))]
        document, where = await _document(config)
    except WkdvidError as error:
        yield Finding("catalog", is_well=False, text=str(error), advice=ADVICE["catalog"])
        return
    registered, problems = backends.parse(document)
    entries += registered
    if problems:
        yield Finding("catalog", is_well=False, text="; ".join(problems), advice=ADVICE["catalog"])
    else:
        yield Finding("catalog", is_well=True, text=f"{where}, {len(entries)} datasets")

    async def open_one(entry: DatasetEntry) -> Finding:
        return await _dataset(backends, entry)

    for finding in await for_each(open_one, [entry for entry in entries if not entry.problems], AT_A_TIME):
        yield finding


async def _document(config: Config) -> tuple[Document, str]:
    url = config.metadata.database_url
    if config.shares_catalog and standing(url) is Standing.EMPTY:
        return {}, "in the database, which is empty"
    if config.shares_catalog:
        return (await open_catalog(url, config.state_dir).load()).document, "in the database"
    path = config.datasets.path
    try:
        return read_document(path), str(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


async def _dataset(backends: Backends, entry: DatasetEntry) -> Finding:
    subject = f"dataset {entry.key}"
    try:
        layers = await backends.open_layers(entry)
    except InvalidEntry as error:
        return Finding(subject, is_well=False, text="; ".join(error.problems), advice=SOURCE_ADVICE)
    except WkdvidError as error:
        return Finding(subject, is_well=False, text=str(error), advice=SOURCE_ADVICE)
    names = [layer.volume.info.name for layer in layers]
    for layer in layers:
        await layer.volume.aclose()
    return Finding(subject, is_well=True, text=", ".join(names))
