"""The catalog in one process: what is written of it, and what becomes of it when a backend or the file is at fault."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.volumes import write_precomputed
from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.core import catalog as catalog_module
from wkdvid.core.catalog import TOKEN_S, Catalog, State
from wkdvid.core.catalog_store import FileCatalogStore
from wkdvid.core.entries import DatasetEntry, DatasetKey, Document, put_entry, remove_entry
from wkdvid.core.guard import Guard
from wkdvid.core.layers import Opened
from wkdvid.core.limits import MIB, Limits
from wkdvid.core.service_account import LEAST_LEFT
from wkdvid.errors import SourceGone

VOXELS = np.arange(1, 8 * 8 * 8 + 1, dtype=np.uint16).reshape(8, 8, 8)
DOCUMENT = {"precomputed": {"org": {name: {"layers": {"em": {"source": name}}} for name in ("a", "b")}}}


def parse(document: Document) -> tuple[Sequence[DatasetEntry], Sequence[str]]:
    opener = Opener(Guard((), frozenset()), Limits(), pool_bytes=MIB, deadline_s=1)
    return Backends(opener).parse(document)


def make_catalog(folder: Path, refresh_s: float = 600) -> Catalog:
    async def mistaken(entry: DatasetEntry) -> Sequence[Opened]:
        raise KeyError(entry.key.dataset)

    return Catalog(FileCatalogStore(folder / "datasets.json", folder / "state"), parse, mistaken, refresh_s)


async def test_a_mistake_in_a_backend_makes_its_datasets_unavailable(tmp_path: Path) -> None:
    (tmp_path / "datasets.json").write_text(json.dumps(DOCUMENT))
    catalog = make_catalog(tmp_path)
    watching = asyncio.create_task(catalog.watch())
    await catalog.catch_up()
    await catalog.settle(10)
    assert [(d.state, d.reason) for d in catalog.datasets()] == [(State.UNAVAILABLE, "KeyError")] * 2
    assert not watching.done()
    watching.cancel()
    await catalog.aclose()


async def test_tokens_of_a_datasets_own_last_until_it_is_opened_again(tmp_path: Path) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["precomputed"]["org"]["a"]["credentials"] = "$KEY"  # type: ignore[assignment]
    (tmp_path / "datasets.json").write_text(json.dumps(document))
    catalog = make_catalog(tmp_path, refresh_s=3600)
    await catalog.catch_up()
    for dataset in catalog.datasets():
        dataset.state = State.OPEN
    assert [catalog._is_due(dataset, TOKEN_S) for dataset in catalog.datasets()] == [True, False]
    assert LEAST_LEFT.total_seconds() > TOKEN_S


async def test_a_source_that_goes_is_told_and_opened_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F9: what was open is not read again, since absent chunks are remembered."""
    monkeypatch.setattr(catalog_module, "RETRY_S", 0.0)
    folder, away = tmp_path / "a", tmp_path / "away"
    write_precomputed(folder, [((1, 1, 1), VOXELS)])
    entry = {"layers": {"em": {"source": str(folder)}}}
    (tmp_path / "datasets.json").write_text(json.dumps({"precomputed": {"org": {"a": entry}}}))
    backends = Backends(Opener(Guard((tmp_path,), frozenset()), Limits(), pool_bytes=MIB, deadline_s=1, look_s=0.0))
    store = FileCatalogStore(tmp_path / "datasets.json", tmp_path / "state")
    catalog = Catalog(store, backends.parse, backends.open_layers, 600)
    await catalog.catch_up()
    await catalog.settle(10)
    (dataset,) = catalog.datasets()
    before = dataset.layer("em").volume
    folder.rename(away)
    with pytest.raises(SourceGone, match="info is not there any more"):
        await before.read(0, before.info.levels[0].extent)
    assert dataset.status[0] == "gone"

    watching = asyncio.create_task(catalog.watch())
    await comes_to(lambda: dataset.status[0] == "unavailable")
    assert "no info file" in dataset.reason
    away.rename(folder)
    await comes_to(lambda: dataset.status == ("open", ""))
    after = dataset.layer("em").volume
    np.testing.assert_array_equal((await after.read(0, after.info.levels[0].extent))[0], VOXELS)
    watching.cancel()
    await catalog.aclose()


async def comes_to(expected: Callable[[], bool]) -> None:
    for _ in range(600):
        if expected():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it does not come to that")


def remove_a(document: Document) -> None:
    assert remove_entry(document, DatasetKey("org", "a"))


async def test_what_is_kept_of_a_renewal_goes_with_its_dataset(tmp_path: Path) -> None:
    (tmp_path / "datasets.json").write_text(json.dumps(DOCUMENT))
    catalog = make_catalog(tmp_path)
    for name in ("a", "b"):
        await catalog.renew(DatasetKey("org", name))
    await catalog.update(remove_a, {})
    assert json.loads((tmp_path / "state" / "catalog.renewed.json").read_text()) == {"org/b": 2}


def test_entries_come_and_go_beside_what_is_no_object() -> None:
    document = {"zarr": [], "n5": {"org": 3}, **json.loads(json.dumps(DOCUMENT))}
    assert remove_entry(document, DatasetKey("org", "a"))
    put_entry(document, parse(DOCUMENT)[0][0])
    assert document["precomputed"]["org"].keys() == {"a", "b"}
    assert (document["zarr"], document["n5"]) == ([], {"org": 3})
