"""What all workers have counted, in the form that Prometheus or OpenMetrics reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from wkdvid.core.metrics import Family, Reading


class Readings(Collector):
    def __init__(self, readings: Sequence[Reading]) -> None:
        """
        Args:
            readings: In order of their families.
        """
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        for family, members in groupby(self._readings, lambda reading: reading.family):
            yield _metric(family, members)


def exposition(readings: Sequence[Reading], accept: str) -> tuple[bytes, str]:
    """The text and its media type.

    Args:
        accept: The request's header.
    """
    registry = CollectorRegistry()
    registry.register(Readings(readings))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _metric(family: Family, members: Iterable[Reading]) -> Metric:
    if family.kind == "histogram":
        return _histogram(family, members)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for reading in members:
        metric.add_metric(reading.labels, reading.values[0])
    return metric


def _histogram(family: Family, members: Iterable[Reading]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*map(floatToGoString, family.bounds), "+Inf"]
    for reading in members:
        *counts, total = reading.values
        metric.add_metric(reading.labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    return metric
