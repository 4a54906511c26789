"""Spans of requests and of what they ask of sources, sent by OTLP as OpenTelemetry's standard variables say.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from wkdvid.core.tracing import TRACES, Attributes
from wkdvid.errors import ConfigError
from wkdvid.extras import install

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

SERVICE = "wkdvid"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
PROTOCOL = "http/protobuf"
"""The one that the extra can send."""
END_S = 3.0
"""For the last spans."""


def is_asked_for(environ: Mapping[str, str]) -> bool:
    """Whether the environment names where traces go, and does not switch them off."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    named = environ.get("OTEL_TRACES_EXPORTER") == "otlp" or any(environ.get(name) for name in ENDPOINTS)
    return named and not off


def check_tracing(environ: Mapping[str, str]) -> None:
    """
    Raises:
        ConfigError: traces are asked for, and cannot be sent.
    """
    if not is_asked_for(environ):
        return
    try:
        is_there = all(importlib.util.find_spec(module) for module in MODULES)
    except ModuleNotFoundError:  # of a package that they are in
        is_there = False
    if not is_there:
        raise ConfigError(f"traces, which the variables OTEL_... ask for, need: {install('trace')}")
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), PROTOCOL)
    if protocol != PROTOCOL:
        raise ConfigError(f"{PROTOCOLS[1]}: {protocol!r} is not offered; traces are sent by {PROTOCOL}")


@contextmanager
def traced(environ: Mapping[str, str]) -> Iterator[None]:
    """Have this process make spans, if they are asked for, until the end, when the last ones are sent."""
    if not is_asked_for(environ):
        yield
        return
    provider = _provider(environ)
    TRACES.tracer = OpenTelemetry(provider)
    try:
        yield
    finally:
        sending = Thread(target=provider.shutdown, daemon=True)  # for half a minute where nobody takes them
        sending.start()
        sending.join(END_S)


def _provider(environ: Mapping[str, str]) -> TracerProvider:
    # Few ask for them, and every worker of every server would import it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {SERVICE_NAME: SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class OpenTelemetry:
    """A ``Tracer`` over OpenTelemetry's."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._tracer = provider.get_tracer(SERVICE)
        self._kinds = trace.SpanKind
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def answer(self, name: str, headers: Mapping[str, str]) -> Iterator[trace.Span]:
        parent = self._propagator.extract(headers)
        with self._tracer.start_as_current_span(
            name, parent, self._kinds.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span

    @contextmanager
    def question(self, name: str, attributes: Attributes) -> Iterator[trace.Span]:
        with self._tracer.start_as_current_span(
            name, None, self._kinds.CLIENT, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:  # its text may name what is not for everybody
                span.set_attribute("error.type", type(error).__name__)
                raise
