"""What 10,000 registered datasets cost: start, listings, first and warm reads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.cases import BUCKET, Case, buckets, is_voxels
from benchmarks.load import Ask, WrongAnswer, fetch
from benchmarks.servers import Server
from benchmarks.table import Figure
from benchmarks.volumes import Volume

COUNT = 10_000
ORGANIZATION = "many"
LISTING = Ask("/data/datasets")
SETTLE_S = 120.0
WARM_DATASETS = 256


def datasets(volume: Volume) -> dict[str, Any]:
    """A datasets.json in which so many names share three sources."""
    sources = [(str(volume.folder / name), name, kind) for name, kind in _KINDS.items()]
    entries = {}
    for n in range(COUNT):
        source, name, kind = sources[n % len(sources)]
        entries[f"d{n}"] = {"layers": {name: {"source": source, "type": kind}}}
    return {"precomputed": {ORGANIZATION: entries}}


_KINDS = {"grey": "image", "greyjpeg": "image", "seg": "segmentation"}


def figures(volume: Volume, server: Server) -> Iterator[Figure]:
    """Of a server that has just been started."""
    yield _figure("start until the first answer", server.start_s, "s")
    first = buckets("grey", volume.grid((BUCKET, BUCKET, BUCKET))[:1], (ORGANIZATION, f"d{COUNT - 1}"))
    yield _figure("first read, one bucket", 1000 * _seconds(server, first), "ms")
    for what in ("first", "again"):
        yield _figure(f"home page, {what}", 1000 * _seconds(server, Ask("/")), "ms")
    yield _figure("GET /data/datasets, first", _seconds(server, LISTING), "s")
    yield _figure("until all are open", _seconds_until_open(server), "s")
    yield _figure("GET /data/datasets, again", _seconds(server, LISTING), "s")
    yield _figure("home page, searched, page 100", 1000 * _seconds(server, Ask("/?q=d&page=100")), "ms")
    for what in ("first", "again"):
        yield _figure(f"GET /api/repos/info, {what}", _seconds(server, Ask("/api/repos/info")), "s")


def warm_case(volume: Volume) -> Case:
    boxes = volume.grid((BUCKET, BUCKET, BUCKET))
    names = [f"d{n}" for n in range(0, COUNT, len(_KINDS))][:WARM_DATASETS]
    asks = [buckets("grey", [box], (ORGANIZATION, name)) for name, box in zip(names * 4, boxes, strict=False)]
    return Case(
        name=f"{COUNT:,} datasets: 1 bucket a POST",
        source="grey",
        asks=asks,
        is_right=is_voxels(volume, "grey"),
    )


def _figure(name: str, value: float, unit: str) -> Figure:
    return Figure(case=f"{COUNT:,} datasets: {name}", value=value, unit=unit)


def _seconds(server: Server, ask: Ask) -> float:
    return fetch(server.base, [ask])[1]


def _seconds_until_open(server: Server) -> float:
    """Since the listing was first asked for."""
    begin = time.monotonic()
    while _pending(server):
        if time.monotonic() - begin > SETTLE_S:
            raise WrongAnswer(f"not all datasets were open after {SETTLE_S:g} s")
        time.sleep(0.5)
    return time.monotonic() - begin


def _pending(server: Server) -> bool:
    (body,), _ = fetch(server.base, [LISTING])
    return any(dataset["state"] != "open" for dataset in json.loads(body))
