"""The bodies with which clients make and describe repositories and versions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from wkdvid.errors import InvalidRequest
from wkdvid.frontends.dvid.versions import MASTER

LONGEST_TEXT = 64 * 1024
"""Characters of a note, a description or a line of a log."""
MOST_LINES = 1000
"""Of a log in one request."""
LONGEST_NAME = 128
_UNSUITABLE = frozenset("/\\:~?#%&\"'<>")
"""Of names in URLs: what ends a segment or begins something else there."""
_HEX = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class Body:
    members: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """
        Raises:
            InvalidRequest: it is there, but no text that can be kept.
        """
        value = self.members.get(name)
        return None if value is None else _kept(value, name)

    def texts(self, name: str) -> Sequence[str]:
        values = self.members.get(name)
        if values is None:
            return ()
        if not isinstance(values, list) or len(values) > MOST_LINES:
            raise InvalidRequest(f"{name}: expected a list of up to {MOST_LINES} texts")
        return [_kept(value, name) for value in values]


def _kept(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or "\0" in value:
        raise InvalidRequest(f"{name}: expected text of up to {LONGEST_TEXT} characters, none of them NUL")
    return value


def parse_body(content: bytes, context: str = "") -> Body:
    """
    Args:
        context: What stands before the text of an error.
    Raises:
        InvalidRequest: not a JSON object.
    """
    try:
        members = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        reason = (
            f"{error.msg} at line {error.lineno}, column {error.colno}" if content else "unexpected end of JSON input"
        )
        raise InvalidRequest(f"{context}Malformed JSON request in body: {reason}") from error
    if not isinstance(members, dict):
        raise InvalidRequest(f"{context}Malformed JSON request in body: expected an object")
    return Body(members)


def parse_uuid(text: str, name: str) -> str:
    """A UUID of the client's choice: any text that can be a segment of a path and be told from ``uuid:branch~1``."""
    if not _is_name(text):
        raise InvalidRequest(
            f"{name}: expected 1 to {LONGEST_NAME} printable characters without spaces and"
            f" {' '.join(sorted(_UNSUITABLE))}, the first no dot"
        )
    return text


def _is_name(text: str) -> bool:
    printable = text.isprintable() and not any(map(str.isspace, text)) and not _UNSUITABLE & {*text}
    return printable and 1 <= len(text) <= LONGEST_NAME and not text.startswith(".")


def parse_child_uuid(body: Body) -> str | None:
    """That of a new version; None: the client leaves it to us."""
    uuid = body.text("uuid")
    if uuid and not _HEX.fullmatch(uuid):
        raise InvalidRequest("Bad UUID provided: UUID must be 32 character hexadecimal string")
    return uuid or None


def parse_branch(body: Body) -> str:
    """The name of a new branch."""
    branch = body.text("branch") or ""
    if branch in {"", MASTER}:
        raise InvalidRequest("Cannot create a master branch")
    return parse_uuid(branch, "branch")
