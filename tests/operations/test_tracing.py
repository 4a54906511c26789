"""When traces are made, and what is said where they cannot be."""

from __future__ import annotations

import pytest

from wkdvid import tracing
from wkdvid.errors import ConfigError
from wkdvid.tracing import check_tracing, is_asked_for

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_SERVICE_NAME": "em"}, False),
    ],
)
def test_the_standard_variables_ask_for_traces(environ: dict[str, str], asked: bool) -> None:
    assert is_asked_for(environ) == asked


def test_what_cannot_be_sent_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    check_tracing(ENDPOINT)
    with pytest.raises(ConfigError, match="'grpc' is not offered; traces are sent by http/protobuf"):
        check_tracing({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    for lacking in ("opentelemetry.lacking", "lacking.altogether"):
        monkeypatch.setattr(tracing, "MODULES", (lacking,))
        with pytest.raises(ConfigError, match=r"pip install 'wkdvid\[trace\]'"):
            check_tracing(ENDPOINT)
        check_tracing({})
