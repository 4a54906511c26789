"""Where spans go, if this process makes any; it costs a look at ``TRACES.tracer`` where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Attributes: TypeAlias = Mapping[str, str | int]


class Span(Protocol):
    """As OpenTelemetry has it."""

    def set_attributes(self, attributes: Attributes) -> None: ...

    def update_name(self, name: str) -> None: ...


class Tracer(Protocol):
    """Makes spans that are the current one, and so the parent of others, as long as they are entered."""

    def answer(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """
        Args:
            headers: Of the request: they may name the trace that it is part of (W3C Trace Context).
        """
        ...

    def question(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Of what is asked of others. An exception that leaves it is noted by its type."""
        ...


@dataclass
class Traces:
    tracer: Tracer | None = None


TRACES = Traces()
"""This process's."""
