"""What a DVID's own config.toml holds: volumes in buckets, which are taken over, and much that means nothing here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from wkdvid.core.credentials import Credential
from wkdvid.core.source import Source, read_source
from wkdvid.errors import ConfigError, InvalidRequest
from wkdvid.settings import fold, is_loopback

DVID_SECTIONS = ("backend", "logging", "mutations", "cache", "groupcache", "kafka", "mirror", "email")
"""Sections without meaning here. Not ``[auth]``: to skip it in silence would open what it closed."""
DVID_SERVER_KEYS = (
    *("rpcAddress", "webClient", "host", "note", "allowTiming", "webRedirectPath", "webDefaultFile"),
    *("pidFile", "blockListFile", "startWebhook", "instance_id_gen", "instance_id_start", "min_mutation_id_start"),
    "interactiveOpsBeforeBlock",
)
STORE_KEYS = ("engine", "ref", "instance", "uuid", "dataset")

ENGINE = "ngprecomputed"
VAST = "vast://"

_FOLDED_SERVER_KEYS = frozenset(fold(key) for key in DVID_SERVER_KEYS)


@dataclass(frozen=True, kw_only=True)
class NgprecomputedStore:
    """A ``[store.ALIAS]`` of DVID with ``engine = "ngprecomputed"``."""

    alias: str
    ref: str
    """Where the volume is, as DVID writes it: ``gs://bucket/path``, a bare bucket of Google's, ``vast://host/bucket``."""
    instance: str
    """Name of the data instance; the alias where the file has none."""
    uuid: str | None = None
    """The repo's UUID, or its beginning."""
    dataset: str = "dvid/main"
    """``organization/dataset`` that it is a layer of."""

    @property
    def address(self) -> str:
        """The volume as entries of the catalog write it."""
        if self.ref.startswith(VAST):
            return f"s3://{self.ref.removeprefix(VAST).partition('/')[2]}"
        return self.ref if self.ref.startswith("/") or ":" in self.ref else f"gs://{self.ref}"

    @property
    def vast_host(self) -> str | None:
        """Host and port of the ``vast://`` store that it is in; None: it is in another one."""
        return self.ref.removeprefix(VAST).partition("/")[0] if self.ref.startswith(VAST) else None

    @property
    def source(self) -> Source:
        """
        Raises:
            InvalidRequest: it is none.
        """
        return read_source(self.address)


def is_dvid_key(section: str, key: str) -> bool:
    """Whether a key of a section that we share with DVID is DVID's alone."""
    return section == "server" and fold(key) in _FOLDED_SERVER_KEYS


def ngprecomputed_stores(document: Mapping[str, Any], where: str) -> tuple[NgprecomputedStore, ...]:
    """The stores that name volumes, in the file's order.

    Raises:
        ConfigError: one has no ``ref``, or a key that is not known.
    """
    tables = document.get("store", {}).items()
    return tuple(_store(f"{where}: store.{alias}", alias, table) for alias, table in tables if _names_volume(table))


def credentials_of(stores: Sequence[NgprecomputedStore], http_hosts: frozenset[str]) -> tuple[Credential, ...]:
    """The process's own credentials for the stores' buckets, as a DVID reads them: its operator has named them.

    Args:
        http_hosts: Those that are asked without TLS, beside this machine.
    """
    granted: dict[str, Credential] = {}
    for store in stores:
        if store.source.scheme in ("s3", "gs"):
            endpoint = _endpoint(store.vast_host, http_hosts) if store.vast_host is not None else None
            granted[store.source.url] = Credential(prefix=store.address, environment=True, endpoint=endpoint)
    return tuple(granted.values())


def _endpoint(authority: str, http_hosts: frozenset[str]) -> str:
    host = urlsplit(f"//{authority}").hostname or ""
    is_plain = is_loopback(host) or not http_hosts.isdisjoint({host, authority.lower()})
    return f"{'http' if is_plain else 'https'}://{authority}"


def ignored(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What of the file is DVID's and means nothing here, as ``[section]`` and ``server.key``."""
    sections = [f"[{section}]" for section in document if section in DVID_SECTIONS]
    keys = [f"server.{key}" for key in document.get("server", {}) if is_dvid_key("server", key)]
    stores = [f"[store.{alias}]" for alias, table in document.get("store", {}).items() if not _names_volume(table)]
    return (*sections, *keys, *stores)


def _names_volume(table: object) -> bool:
    return isinstance(table, dict) and table.get("engine") == ENGINE


def _store(where: str, alias: str, table: Mapping[str, object]) -> NgprecomputedStore:
    given = {key: value for key, value in table.items() if key in STORE_KEYS and isinstance(value, str)}
    wrong = sorted(table.keys() - given.keys())
    if wrong:
        raise ConfigError(f"{where}.{wrong[0]}: not {', '.join(STORE_KEYS)}, or not a text")
    if "ref" not in given:
        raise ConfigError(f"{where}.ref: missing; the bucket and path of the volume")
    del given["engine"]
    store = NgprecomputedStore(**{"alias": alias, "instance": alias, **given})
    _check(store, where)
    return store


def _check(store: NgprecomputedStore, where: str) -> None:
    try:
        if store.vast_host is not None:
            read_source(f"https://{store.vast_host}/")
        store.source  # noqa: B018 - raises
    except InvalidRequest as error:
        raise ConfigError(f"{where}.ref: {str(error).removeprefix('source: ')}") from None
