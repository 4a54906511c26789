"""The volumes that a DVID's config.toml names, as datasets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wkdvid.core.entries import DatasetKey, Document, default_uuid
from wkdvid.core.guard import check_name
from wkdvid.dvid_config import NgprecomputedStore
from wkdvid.errors import ConfigError, InvalidRequest

_UUID = re.compile("[A-Za-z0-9._-]{1,64}")
_BEGINNING = re.compile("[0-9a-f]{1,31}")


def document_of(stores: Sequence[NgprecomputedStore]) -> Document:
    """The stores in the form of datasets.json: each is a layer of its dataset.

    Raises:
        ConfigError: a name or UUID that none can have, two stores of one dataset with one name or two UUIDs, or two
            endpoints for one bucket and folder.
    """
    datasets: Document = {}
    places: dict[str, str | None] = {}
    for store in stores:
        if places.setdefault(store.source.url, store.vast_host) != store.vast_host:
            raise ConfigError(f"store.{store.alias}.ref: another store has this bucket and folder at another endpoint")
        key = _key(store)
        entry = datasets.setdefault(key.organization, {}).setdefault(key.dataset, {"layers": {}})
        if store.instance in entry["layers"]:
            raise ConfigError(f"store.{store.alias}: {key} has an instance {store.instance!r} already; rename one")
        entry["layers"][store.instance] = {"source": store.address}
        if store.uuid is not None and entry.setdefault("uuid", _uuid(store, key)) != _uuid(store, key):
            raise ConfigError(f"store.{store.alias}.uuid: {key} has another UUID already; put it into another dataset")
    return {"precomputed": datasets} if datasets else {}


def _key(store: NgprecomputedStore) -> DatasetKey:
    organization, _, dataset = store.dataset.partition("/")
    try:
        check_name("layer", store.instance)
        return DatasetKey(check_name("organization", organization), check_name("dataset", dataset))
    except InvalidRequest as error:
        raise ConfigError(f"store.{store.alias}: {error}") from None


def _uuid(store: NgprecomputedStore, key: DatasetKey) -> str:
    """As it is written; what is only the beginning of one goes on as the dataset's own would."""
    uuid = store.uuid or ""
    if not _UUID.fullmatch(uuid):
        raise ConfigError(f"store.{store.alias}.uuid: {uuid[:80]!r} is no UUID, nor the beginning of one")
    return f"{uuid}{default_uuid(key)}"[:32] if _BEGINNING.fullmatch(uuid) else uuid
