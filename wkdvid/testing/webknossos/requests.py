"""Requests to the stand-in, and its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from wkdvid.testing.webknossos.state import Json


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    """Without the query, percent-decoded."""
    query: Mapping[str, str]
    token: str
    """Of the header or the query; empty where there is none."""
    body: bytes = field(repr=False)

    def json(self) -> Json:
        """
        Raises:
            ValueError: not JSON.
        """
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    content_type: str
    body: bytes


def json_reply(document: Json, status: int = HTTPStatus.OK) -> Reply:
    return Reply(status=status, content_type="application/json", body=json.dumps(document).encode())


def error_reply(text: str, status: int) -> Reply:
    return json_reply({"messages": [{"error": text}]}, status)


NOT_FOUND = error_reply("not found", HTTPStatus.NOT_FOUND)
