"""One TOML file, the environment and the command line, as a frozen, typed and closed ``Config``.

The command line goes before the environment, that before the file, that before the defaults. Every key is in
docs/configuration.md. The file may be a DVID's own config.toml: what is DVID's alone is accepted and listed in
``Config.ignored``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from wkdvid.access_log import Which
from wkdvid.clio_config import ClioConfig, alias_layer, check_clio
from wkdvid.core.callers import Proxies
from wkdvid.core.credentials import Credential, check_credential
from wkdvid.core.limits import GIB, Bytes, Limits, WholeNumber
from wkdvid.core.secrets import Reference, covers
from wkdvid.core.service_account import LEAST_LEFT
from wkdvid.core.source import read_source
from wkdvid.dvid_config import (
    DVID_SECTIONS,
    NgprecomputedStore,
    credentials_of,
    ignored,
    is_dvid_key,
    ngprecomputed_stores,
)
from wkdvid.errors import ConfigError, InvalidRequest
from wkdvid.logs import LogFormat
from wkdvid.settings import Layer, Schema, Seconds, Secret, Setting, is_loopback, nearest

AccessMode: TypeAlias = Literal["open", "token", "webknossos", "clio"]

WRITABLE = ("file", "s3", "gs")
"""Schemes of addresses that voxels can be written to."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """``[server]``."""

    http_address: str = "127.0.0.1:8000"
    """Where to listen, as ``host:port``; without a host, on every interface."""
    public_url: str | None = None
    """How clients reach the server, where a proxy stands before it: scheme and host, no slash at the end."""
    internal_url: str | None = None
    """How the main server of webKnossos reaches this one, where that is another way than the clients'."""
    workers: WholeNumber = 0
    """Processes; 0 means one per core."""
    state_dir: Path | None = None
    """What the processes of this host agree by, on a disk of its own; None: ``.wkdvid`` in the data directory."""
    rwmode: Literal["readwrite", "readonly", "fullwrite"] = "readwrite"
    """``readonly``: DVID's API changes nothing. DVID's ``fullwrite`` is accepted, but committed nodes stay as they
    are."""
    cors_domains: tuple[str, ...] = ()
    """Origins whose pages may change state (``https://host``); reading is open to the pages of every origin."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1")
    """Addresses or networks of proxies, whose ``X-Forwarded-For`` says who sends a request."""
    shutdown_delay: WholeNumber = 0
    """Seconds between SIGTERM, from which on the server says that it is not ready, and its end."""
    metrics: Literal["loopback", "administrators", "anyone"] = "loopback"
    """Who may read ``/metrics`` besides administrators: nobody, programs of this machine, or anyone."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return split_address(self.http_address)

    @property
    def worker_count(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def local_url(self) -> str:
        """Where this machine reaches the server."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - named, not listened on
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def own_url(self) -> str:
        """Where others do."""
        return (self.public_url or self.local_url).rstrip("/")

    @property
    def main_servers_way(self) -> str:
        """Where the main server of webKnossos does."""
        return (self.internal_url or self.own_url).rstrip("/")


@dataclass(frozen=True, kw_only=True)
class AccessConfig:
    """``[access]``."""

    mode: AccessMode = "open"
    """Who may do what: ``open`` (anyone everything), ``token`` (administration by token), ``webknossos`` (what the
    main server says) or ``clio`` (roles of users)."""
    allow_open_network: bool = False
    """Whether mode ``open`` may listen on another address than loopback."""
    admin_token: Secret = field(default=None, repr=False)
    """What administrators send in mode ``token``; None: the server makes one at start and prints it."""


@dataclass(frozen=True, kw_only=True)
class SourcesConfig:
    """``[sources]``."""

    file_roots: tuple[Path, ...] = ()
    """Directories that local sources may lie in, besides the data directory."""
    http_hosts: frozenset[str] = frozenset()
    """``host`` or ``host:port`` that sources may name over http, or at a private address."""
    credentials: tuple[Credential, ...] = ()
    """What of the server's credentials goes to which addresses."""
    secrets: Mapping[Reference, tuple[str, ...]] = field(default_factory=dict)
    """Secrets that the catalog's entries may refer to, each with the addresses that it may be sent to."""
    variables: tuple[str, ...] = ()
    """Environment variables that stand for their values in the text of entries."""
    cache_bytes: Bytes = GIB
    """Bytes of cached voxels per machine, divided among the workers."""
    deadline_s: Seconds = 20.0
    """Seconds that one request may wait for its sources."""
    refresh_s: Seconds = 600.0
    """Seconds after which the sources of a dataset are looked at again."""


@dataclass(frozen=True, kw_only=True)
class DatasetsConfig:
    """``[datasets]``."""

    path: Path = Path("data/datasets.json")
    """The catalog; written anew at each change."""


@dataclass(frozen=True, kw_only=True)
class WebknossosConfig:
    """``[webknossos]``: the main server that this datastore belongs to."""

    url: str | None = None
    """Where the main server is; None: there is none."""
    name: str = "wkdvid"
    """Name of this datastore there."""
    key: Secret = field(default=None, repr=False)
    """What this datastore shows the main server."""


@dataclass(frozen=True, kw_only=True)
class MetadataConfig:
    """``[metadata]``."""

    database_url: str = field(default="sqlite:///data/wkdvid.db", repr=False)
    """SQLAlchemy's URL of the database; not shown, since it may hold a password."""


@dataclass(frozen=True, kw_only=True)
class VolumesConfig:
    """``[volumes]``: voxels that clients write."""

    url: str | None = None
    """Folder of a bucket (``s3://``, ``gs://``), or a path; None: ``volumes/repos`` in the data directory."""


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """``[log]``."""

    format: LogFormat = "auto"
    """``text``, ``json``, or ``auto``: text for a terminal, else JSON."""
    access: Which = "slow"
    """Which requests have a line: ``slow`` ones, ``all``, ``none``."""
    slow_s: Seconds = 5.0
    """Seconds from which on a request counts as slow."""


@dataclass(frozen=True, kw_only=True)
class JobsConfig:
    """``[jobs]``."""

    workers: int = 2
    """Tasks of a job at a time, each in a thread and in memory of its own."""
    scheduler: str | None = None
    """Address of a Dask scheduler, whose workers do the tasks; None: this server does them."""
    keep_days: int = 7
    """Days after which a volume that a transfer has made is removed."""
    keep_bytes: Bytes = 16 * GIB
    """Bytes that such volumes take in all; over that, the oldest are removed."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that an operator can set."""

    server: ServerConfig = field(default_factory=ServerConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    sources: SourcesConfig = field(default_factory=SourcesConfig)
    datasets: DatasetsConfig = field(default_factory=DatasetsConfig)
    webknossos: WebknossosConfig = field(default_factory=WebknossosConfig)
    metadata: MetadataConfig = field(default_factory=MetadataConfig)
    volumes: VolumesConfig = field(default_factory=VolumesConfig)
    jobs: JobsConfig = field(default_factory=JobsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    clio: ClioConfig = field(default_factory=ClioConfig)
    limits: Limits = field(default_factory=Limits)
    data_dir: Path = Path("data")
    """Where state lives, and where relative sources begin."""
    file: Path | None = None
    """The TOML file that was read."""
    stores: tuple[NgprecomputedStore, ...] = ()
    """Volumes that a DVID's config.toml names."""
    ignored: tuple[str, ...] = ()
    """DVID's keys and sections in the file that mean nothing here, to be logged once."""

    @property
    def file_roots(self) -> tuple[Path, ...]:
        """Directories of local sources, the data directory first, as ``Guard`` takes them."""
        stores = (store.source for store in self.stores)
        named = (Path(source.path) for source in stores if source.scheme == "file")
        return (self.data_dir, *self.sources.file_roots, *named)

    @property
    def http_hosts(self) -> frozenset[str]:
        """Those that sources may name by http or at a private address: listed ones, and the stores'."""
        return self.sources.http_hosts | {s.source.authority.lower() for s in self.stores if s.source.is_http}

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """What goes along to which address. Where ``[sources]`` says it for a store, the store's own are not used."""
        written = [read_source(one.prefix).url for one in self.sources.credentials]
        free = [s for s in self.stores if not any(covers(prefix, s.source.url) for prefix in written)]
        return (*self.sources.credentials, *credentials_of(free, self.sources.http_hosts))

    @property
    def state_dir(self) -> Path:
        """What the workers of this host agree by."""
        return self.server.state_dir or self.data_dir / ".wkdvid"

    @property
    def signatures_dir(self) -> Path:
        """Indexes of signatures, each in ``ORGANIZATION/DATASET``."""
        return self.clio.signatures or self.data_dir / "signatures"

    @property
    def transfers_dir(self) -> Path:
        """What transfers have made, each in a folder of its own."""
        return self.clio.transfers or self.data_dir / "transfers"

    @property
    def models_dir(self) -> Path:
        """ONNX files of image transfer."""
        return self.clio.models or self.data_dir / "models"

    @property
    def shares_catalog(self) -> bool:
        """Whether the catalog is in a database that other hosts may use too, and not in a file."""
        return not self.metadata.database_url.startswith("sqlite:")

    @property
    def private(self) -> bool:
        """Whether nobody reaches the server but its operator, on this machine."""
        return self.access.mode == "open" and is_loopback(self.server.address[0])

    def variables(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """Those of the environment that entries may hold: where others write them too, they could send it elsewhere."""
        granted = environ if self.private else self.sources.variables
        return {name: environ[name] for name in granted if name in environ}


SCHEMA = Schema(
    {
        "server": ServerConfig,
        "access": AccessConfig,
        "sources": SourcesConfig,
        "datasets": DatasetsConfig,
        "webknossos": WebknossosConfig,
        "metadata": MetadataConfig,
        "volumes": VolumesConfig,
        "jobs": JobsConfig,
        "log": LogConfig,
        "clio": ClioConfig,
        "limits": Limits,
    }
)


def load_config(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """Read every setting.

    Args:
        path: The TOML file; None: ``WKDVID_CONFIG``, else ``config.toml`` in the data directory if there is one.
        environ: The environment; of it ``WKDVID_*`` and what secrets refer to.
        overrides: Options of the command line by ``section.key``, and ``data_dir``, ``host``, ``port``; None: not given
    Raises:
        ConfigError: what is wrong, where it is written, and what is allowed.
    """
    options = {name: value for name, value in overrides.items() if value is not None}
    host, port = options.pop("host", None), options.pop("port", None)
    data_dir = Path(str(options.pop("data_dir", None) or environ.get("WKDVID_DATA_DIR") or "data"))
    file = _find_file(path, environ, data_dir)
    document = _read_toml(file) if file else {}
    given = (
        _file_layer(document, str(file))
        | _environment_layer(environ)
        | {SCHEMA.find(name, "command line"): Setting(value, "command line") for name, value in options.items()}
    )
    mode = given.get("access.mode")
    is_clio = mode is not None and mode.value == "clio"
    settings = _default_layer(data_dir) | (alias_layer(environ) if is_clio else {}) | given
    settings |= _address_layer(settings, host, port)
    config = Config(
        **{section: SCHEMA.build(section, settings, environ) for section in SCHEMA.sections},
        data_dir=data_dir,
        file=file,
        stores=ngprecomputed_stores(document, str(file)),
        ignored=ignored(document),
    )
    _check(config)
    _check_credentials(config.sources)
    return config


def split_address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[IPv6]:port`` or ``:port`` (every interface)."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and not bracketed):
        raise ConfigError(f"server.httpAddress: {text!r} is not host:port with a port of 0 to 65535")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - the meaning that DVID gives it


def _find_file(path: Path | None, environ: Mapping[str, str], data_dir: Path) -> Path | None:
    named = path or (Path(environ["WKDVID_CONFIG"]) if environ.get("WKDVID_CONFIG") else None)
    if named is not None:
        return named
    usual = data_dir / "config.toml"
    return usual if usual.exists() else None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # tomllib's with line and column, or not UTF-8
        raise ConfigError(f"{file}: not TOML: {error}") from None


def _default_layer(data_dir: Path) -> Layer:
    """The defaults that depend on the data directory."""
    return {
        "datasets.path": Setting(data_dir / "datasets.json", "default"),
        "metadata.database_url": Setting(f"sqlite:///{data_dir / 'wkdvid.db'}", "default"),
    }


def _file_layer(document: Mapping[str, Any], where: str) -> Layer:
    layer: Layer = {}
    known = [*SCHEMA.sections, *DVID_SECTIONS, "store"]
    for section, table in document.items():
        if section not in known:
            raise ConfigError(f"{where}: unknown section [{section}]{nearest(section, known)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {section} is not a section; write [{section}]")
        if section in SCHEMA.sections:
            names = {key: f"{section}.{key}" for key in table if not is_dvid_key(section, key)}
            layer |= {SCHEMA.find(name, where): Setting(table[key], where) for key, name in names.items()}
    return layer


def _environment_layer(environ: Mapping[str, str]) -> Layer:
    layer: Layer = {}
    for variable, value in environ.items():
        name = variable.removeprefix("WKDVID_")
        if name == variable or name in ("DATA_DIR", "CONFIG", "ADMIN_TOKEN", "VENV", "TEST_DATA"):
            continue
        where = f"environment variable {variable}"
        known = SCHEMA.find(name.replace("__", ".", 1).lower(), where)
        if value:  # docker-compose's ${X:-} sets what is not set to nothing
            layer[known] = Setting(value, where)
    if environ.get("WKDVID_ADMIN_TOKEN"):
        layer["access.admin_token"] = Setting("$WKDVID_ADMIN_TOKEN", "environment variable WKDVID_ADMIN_TOKEN")
    return layer


def _address_layer(settings: Layer, host: object, port: object) -> Layer:
    """``--host`` and ``--port`` replace their part of the address."""
    if host is None and port is None:
        return {}
    given = settings.get("server.httpAddress")
    old_host, old_port = split_address(str(given.value) if given else ServerConfig.http_address)
    new_host = old_host if host is None else str(host)
    bracketed = f"[{new_host}]" if ":" in new_host else new_host
    return {"server.httpAddress": Setting(f"{bracketed}:{old_port if port is None else port}", "command line")}


def _check(config: Config) -> None:
    """What no single key shows to be wrong."""
    host, _ = config.server.address
    if config.access.mode == "open" and not (config.access.allow_open_network or is_loopback(host)):
        raise ConfigError(
            f"access.mode 'open' lets anyone do everything, and server.httpAddress {config.server.http_address!r} can"
            " be reached from the network; take mode 'token', a loopback address, or set access.allow_open_network"
        )
    try:
        Proxies(config.server.trusted_proxies)
    except ValueError as error:
        raise ConfigError(f"server.trustedProxies: {error}") from None
    _check_main_server(config)
    check_clio(config.clio, reachable=not is_loopback(host))
    _check_volumes(config.volumes)
    _check_jobs(config.jobs)
    for entry in config.sources.http_hosts:
        if "/" in entry or "@" in entry:
            raise ConfigError(f"sources.http_hosts: {entry!r} is not 'host' or 'host:port'")


def _check_volumes(volumes: VolumesConfig) -> None:
    if volumes.url is None:
        return
    try:
        scheme = read_source(volumes.url).scheme
    except InvalidRequest as error:
        raise ConfigError(f"volumes.url: {error}") from None
    if scheme not in WRITABLE:
        raise ConfigError(f"volumes.url: {scheme} cannot be written to; a path, or {', '.join(WRITABLE)}")


def _check_jobs(jobs: JobsConfig) -> None:
    if jobs.scheduler is not None and not re.fullmatch(r"(tcp|tls)://[^\s/@?#]+:[0-9]{1,5}", jobs.scheduler):
        raise ConfigError("jobs.scheduler: not tcp://HOST:PORT or tls://HOST:PORT")


def _check_main_server(config: Config) -> None:
    main = config.webknossos
    if config.access.mode == "webknossos" and (main.url is None or main.key is None):
        raise ConfigError("access.mode 'webknossos' asks the main server: set webknossos.url and webknossos.key")
    if main.url is not None and not _is_http_url(main.url):
        raise ConfigError("webknossos.url: not http://HOST or https://HOST, without user, query and fragment")


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.port != 0
    except ValueError:  # brackets that do not match, or a port that is none
        return False
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def _check_credentials(sources: SourcesConfig) -> None:
    prefixes: set[str] = set()
    for i, credential in enumerate(sources.credentials):
        where = f"sources.credentials[{i}]"
        try:
            check_credential(credential)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        address = read_source(credential.prefix).url
        if address in prefixes:
            raise ConfigError(f"{where}: {address} has credentials already; one table for each prefix")
        prefixes.add(address)
        if credential.service_account is not None and sources.refresh_s >= LEAST_LEFT.total_seconds():
            raise ConfigError(f"{where}: tokens last as long if sources.refresh_s is under {LEAST_LEFT.seconds} s")
