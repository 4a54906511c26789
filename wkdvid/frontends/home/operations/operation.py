"""What is said of a route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

OCTETS = "application/octet-stream"
JSON = "application/json"
TEXT = "text/plain"
HTML = "text/html"
Schema: TypeAlias = Mapping[str, Any]
"""As JSON schema has it (of OpenAPI 3.0)."""
STRING: Schema = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """Of the query."""

    meaning: str
    schema: Schema = field(default_factory=lambda: STRING)
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    summary: str
    answer: str = "Done."
    content_type: str = JSON
    """Of the answer."""
    query: Mapping[str, str | Parameter] = field(default_factory=dict)
    """Parameters of the query; a text is the meaning of one."""
    body: str | None = None
    """Content type of the request's body; None: it has none."""
    schema: Schema = field(default_factory=dict)
    """Of that body."""
    success: int = 200
    fails: Sequence[int] | None = None
    """Statuses that it may have else; None: they are not listed."""
