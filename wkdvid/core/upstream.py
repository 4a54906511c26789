"""What is asked of sources, by their hosts: counted, and traced where traces are made."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator

from wkdvid.core.metrics import counter
from wkdvid.core.tracing import TRACES
from wkdvid.errors import BackendError

READS = counter("wkdvid_source_reads_total", "Boxes that were read; the pool of chunks may have had them", ("host",))
SECONDS = counter("wkdvid_source_read_seconds_total", "What requests have waited for them", ("host",))
FAILURES = counter("wkdvid_source_failures_total", "Boxes that could not be read", ("host", "code"))
REQUESTS = counter("wkdvid_source_requests_total", "Requests of our own: metadata, BossDB", ("host", "status"))
RETRIES = counter("wkdvid_source_retries_total", "Those that were sent again", ("host",))

FILES = "files"
"""Instead of a host."""
NO_ANSWER = "none"
"""Instead of a status."""
_ADDRESS = re.compile(r"(\w+)://([^/\s]+)")


def host_of(what: str) -> str:
    """Host, or scheme and bucket, of the address in the name of a source."""
    found = _ADDRESS.search(what)
    if found is None or found[1] == "file":
        return FILES
    return found[2] if found[1] in {"http", "https"} else found[0]


@contextlib.contextmanager
def reading(host: str, boxes: int) -> Iterator[None]:
    """While boxes are read."""
    began = time.perf_counter()
    with _span("read", host, boxes):
        yield
    READS.of(host).add(boxes)
    SECONDS.of(host).add(time.perf_counter() - began)


def failed(host: str, error: BackendError) -> None:
    FAILURES.of(host, error.code).add()


@contextlib.contextmanager
def asking(url: str) -> Iterator[Callable[[int], None]]:
    """During one request over HTTP; what it yields is to be told the status."""
    host, status = host_of(url), NO_ANSWER

    def answered(code: int) -> None:
        nonlocal status
        status = str(code)

    try:
        with _span("request", host):
            yield answered
    finally:
        REQUESTS.of(host, status).add()


def again(url: str) -> None:
    """A request is to be sent once more."""
    RETRIES.of(host_of(url)).add()


def _span(name: str, host: str, boxes: int | None = None) -> contextlib.AbstractContextManager[object]:
    if TRACES.tracer is None:
        return contextlib.nullcontext()
    return TRACES.tracer.question(
        f"{name} {host}", {"server.address": host, **({} if boxes is None else {"wkdvid.boxes": boxes})}
    )
