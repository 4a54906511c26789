"""A receiver of OTLP over HTTP, which keeps what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

OWN = ("telemetry.", "service.instance.")


@dataclass(frozen=True)
class Span:
    trace: str
    id: str
    parent: str
    name: str
    attributes: Mapping[str, str | int]
    resource: Mapping[str, str | int]
    """Without what the SDK says of itself and of this process."""


class Collector:
    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"collector": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def spans(self, trace: str) -> Sequence[Span]:
        """Of one trace, in the order of their ends."""
        return [span for body in [*self.bodies] for span in _spans(body) if span.trace == trace]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    collector: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        self.collector.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent."""


def _spans(body: bytes) -> list[Span]:
    found = []
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {k: v for k, v in _values(group.resource.attributes).items() if not k.startswith(OWN)}
        for scope in group.scope_spans:
            for one in scope.spans:
                ids = one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()
                found.append(Span(*ids, one.name, _values(one.attributes), resource))
    return found


def _values(attributes: object) -> dict[str, str | int]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}  # type: ignore[attr-defined]
