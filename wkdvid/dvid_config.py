"""What a DVID's own config.toml holds: volumes in buckets, which are taken over, and much that means nothing here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wkdvid.errors import ConfigError
from wkdvid.settings import fold

DVID_SECTIONS = ("backend", "logging", "mutations", "cache", "groupcache", "kafka", "mirror", "email")
"""Sections without meaning here. Not ``[auth]``: to skip it in silence would open what it closed."""
DVID_SERVER_KEYS = (
    *("rpcAddress", "webClient", "host", "note", "allowTiming", "webRedirectPath", "webDefaultFile"),
    *("pidFile", "blockListFile", "startWebhook", "instance_id_gen", "instance_id_start", "min_mutation_id_start"),
    *("interactiveOpsBeforeBlock", "shutdownDelay"),
)
STORE_KEYS = ("engine", "ref", "instance", "uuid", "dataset")

_FOLDED_SERVER_KEYS = frozenset(fold(key) for key in DVID_SERVER_KEYS)


@dataclass(frozen=True, kw_only=True)
class NgprecomputedStore:
    """A ``[store.ALIAS]`` of DVID with ``engine = "ngprecomputed"``."""

    alias: str
    ref: str
    """Where the volume is, as DVID writes it: ``gs://bucket/path``, or a bare bucket of Google's."""
    instance: str
    """Name of the data instance; the alias where the file has none."""
    uuid: str | None = None
    """The repo's UUID, or its beginning."""
    dataset: str = "dvid/main"
    """``organization/dataset`` that it is a layer of."""


def is_dvid_key(section: str, key: str) -> bool:
    """Whether a key of a section that we share with DVID is DVID's alone."""
    return section == "server" and fold(key) in _FOLDED_SERVER_KEYS


def ngprecomputed_stores(document: Mapping[str, Any], where: str) -> tuple[NgprecomputedStore, ...]:
    """The stores that name volumes, in the file's order.

    Raises:
        ConfigError: one has no ``ref``, or a key that is not known.
    """
    stores = document.get("store", {}).items()
    return tuple(_store(f"{where}: store.{alias}", alias, table) for alias, table in stores if _names_volume(table))


def ignored(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What of the file is DVID's and means nothing here, as ``[section]`` and ``server.key``."""
    sections = [f"[{section}]" for section in document if section in DVID_SECTIONS]
    keys = [f"server.{key}" for key in document.get("server", {}) if is_dvid_key("server", key)]
    stores = [f"[store.{alias}]" for alias, table in document.get("store", {}).items() if not _names_volume(table)]
    return (*sections, *keys, *stores)


def _names_volume(table: object) -> bool:
    return isinstance(table, dict) and table.get("engine") == "ngprecomputed"


def _store(where: str, alias: str, table: Mapping[str, object]) -> NgprecomputedStore:
    given = {key: value for key, value in table.items() if key in STORE_KEYS and isinstance(value, str)}
    wrong = sorted(table.keys() - given.keys())
    if wrong:
        raise ConfigError(f"{where}.{wrong[0]}: not {', '.join(STORE_KEYS)}, or not a text")
    if "ref" not in given:
        raise ConfigError(f"{where}.ref: missing; the bucket and path of the volume")
    del given["engine"]
    return NgprecomputedStore(**{"alias": alias, "instance": alias, **given})
