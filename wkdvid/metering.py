"""Requests, counted by the route that answers them: by its template, since clients choose the paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wkdvid.core.metrics import Distribution, Series, counter, histogram

BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. A warm request takes 0.1 ms; what reads from a source has a deadline of 20 s."""
ANSWERS = counter("wkdvid_requests_total", "Requests that were answered", ("route", "method", "status"))
SECONDS = histogram(
    "wkdvid_request_seconds", "From the head of a request to the last byte of its answer", ("route", "method"), BOUNDS
)
SENT = counter("wkdvid_sent_bytes_total", "Bytes of bodies that were sent", ("route", "method"))

NO_ROUTE = "none"
"""Of requests to addresses at which there is nothing, and of those that cannot be parsed."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
_TYPE = re.compile(r":\w+>")


def known_method(method: str) -> str:
    """Clients may send any text as one."""
    return method if method in METHODS else OTHER_METHOD


class RouteMeter:
    """Counts the requests to one route.

    Where a parameter ``endpoint`` of its path says what is asked for, each known one is counted by itself.
    """

    def __init__(self, template: str, endpoints: frozenset[str] = frozenset()) -> None:
        """
        Args:
            template: As the router has it.
        """
        self._template = _TYPE.sub(">", template)
        self._endpoints = endpoints
        self._series: dict[tuple[str, str, int | str], tuple[Series, Distribution, Series]] = {}

    def note(self, method: str, parameters: Mapping[str, str], status: int | str, seconds: float, sent: int) -> None:
        """
        Args:
            parameters: Of the path.
            status: Of the answer, or in a word why there is none.
            sent: Bytes.
        """
        endpoint = parameters["endpoint"] if self._endpoints else ""
        series = self._series.get((method, endpoint, status)) or self._new(method, endpoint, status)
        answers, distribution, bytes_sent = series
        answers.add()
        distribution.observe(seconds)
        bytes_sent.add(sent)

    def route(self, parameters: Mapping[str, str]) -> str:
        """What it is called in metrics, logs and traces."""
        return self._named(parameters["endpoint"]) if self._endpoints else self._template

    def _named(self, endpoint: str) -> str:
        return self._template.replace("<endpoint>", endpoint) if endpoint in self._endpoints else self._template

    def _new(self, method: str, endpoint: str, status: int | str) -> tuple[Series, Distribution, Series]:
        """What a client has made up is not remembered."""
        method = known_method(method)
        endpoint = endpoint if endpoint in self._endpoints else ""
        route = self._named(endpoint)
        series = ANSWERS.of(route, method, str(status)), SECONDS.of(route, method), SENT.of(route, method)
        return self._series.setdefault((method, endpoint, status), series)


UNROUTED = RouteMeter(NO_ROUTE)


def meter_of(route: Any) -> RouteMeter:
    """
    Args:
        route: Sanic's; None where it has found none.
    """
    if route is None:
        return UNROUTED
    found: RouteMeter | None = getattr(route.ctx, "meter", None)
    if found is None:
        found = route.ctx.meter = RouteMeter(route.uri, getattr(route.ctx, "endpoints", frozenset()))
    return found
