"""What TensorStore itself counts of its stores and its pool of decoded chunks, as series of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorstore as ts

from wkdvid.backends.failures import passing_answers
from wkdvid.core.metrics import Metric, Series, counter

DRIVERS = ("file", "gcs", "http", "s3")
"""Of them ``http`` does not count its retries; its answers that ask for one are counted instead, those to the others'
requests too."""
READS = counter("wkdvid_driver_reads_total", "Objects, or parts of them, that were asked for", ("driver",))
BYTES = counter("wkdvid_driver_read_bytes_total", "Bytes that were read", ("driver",))
RETRIES = counter("wkdvid_driver_retries_total", "Requests that were to be sent again", ("driver",))
RESPONSES = counter("wkdvid_driver_responses_total", "Answers of web servers and buckets", ("code",))
HITS = counter("wkdvid_chunk_pool_hits_total", "Look-ups of decoded chunks that found one")
MISSES = counter("wkdvid_chunk_pool_misses_total", "Those that did not")
EVICTIONS = counter("wkdvid_chunk_pool_evictions_total", "Decoded chunks that were given up for others")

_POOL: Mapping[str, Metric[Series]] = {"hit_count": HITS, "miss_count": MISSES, "evict_count": EVICTIONS}
_STORES: Mapping[str, Metric[Series]] = {"read": READS, "bytes_read": BYTES, "retries": RETRIES}


class DriverMetrics:
    """Adds by how much TensorStore's numbers have grown since the last look: they begin anew with each process."""

    def __init__(self) -> None:
        self._seen: dict[Series, float] = {}

    def look(self) -> None:
        """Takes about 0.1 ms."""
        for name, metric in _POOL.items():
            self._add(metric.of(), _value(f"/tensorstore/cache/{name}"))
        for driver in DRIVERS:
            for name, metric in _STORES.items():
                self._add(metric.of(driver), _value(f"/tensorstore/kvstore/{driver}/{name}"))
        for answers in _values("/tensorstore/http/response_codes"):
            if answers["value"]:
                self._add(RESPONSES.of(answers["code"]), answers["value"])
        self._add(RETRIES.of("http"), passing_answers())

    def _add(self, series: Series, now: float) -> None:
        series.add(now - self._seen.get(series, 0))
        self._seen[series] = now


def _values(name: str) -> list[Mapping[str, Any]]:
    found = ts.experimental_collect_matching_metrics(name)
    return [value for metric in found if metric["name"] == name for value in metric["values"]]


def _value(name: str) -> float:
    return float(sum(value["value"] for value in _values(name)))
