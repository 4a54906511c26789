"""An annotation as a row of texts, and what is wrong with one that comes as such."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from wkdvid.core.annotations import FIELDS, INT64, KINDS, POINT, Annotation

CORNERS = ("x", "y", "z", "x2", "y2", "z2")
COLUMNS = ("key", "kind", *CORNERS, "user", "title", "description", "tags", "prop")
SHOWN = 40
"""Characters of a wrong text that are repeated."""
_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Wrong:
    """What cannot be an annotation."""

    line: int
    """Of the text, from 1: where it begins."""
    problem: str


@dataclass(frozen=True, slots=True)
class Right:
    line: int
    annotation: Annotation


Found: TypeAlias = Right | Wrong


def texts(one: Annotation) -> Mapping[str, str]:
    """By column; empty where there is nothing. Lists and objects are JSON."""
    fields = {name: one.fields.get(name) for name in FIELDS}
    return {
        "key": one.key,
        "kind": one.kind,
        **dict(zip(CORNERS, map(str, one.pos), strict=False)),
        "user": one.email,
        **{name: _text(value) for name, value in fields.items()},
    }


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if value else ""


def found(line: int, cells: Mapping[str, str], email: str) -> Found:
    """
    Args:
        cells: By column, as ``texts`` makes them; tags may also be separated by semicolons, and columns may lack.
        email: Whose it is, where the row does not say.
    """
    problems: list[str] = []
    kind = cells.get("kind") or POINT
    if kind not in KINDS:
        return Wrong(line, f"kind: expected one of {', '.join(KINDS)}, got {kind[:SHOWN]!r}")
    wanted = KINDS[kind][1]
    numbers = [_coordinate(name, cells.get(name, ""), problems) for name in CORNERS[:wanted]]
    problems += [f"{name}: a {kind} has none" for name in CORNERS[wanted:] if cells.get(name)]
    fields = {name: _field(name, cells[name], problems) for name in FIELDS if cells.get(name)}
    user = (cells.get("user") or email).lower()
    if "@" not in user or not user.isprintable() or len(user) > 320:
        problems.append(f"user: {user[:SHOWN]!r} is no email address")
    if problems:
        return Wrong(line, "; ".join(problems))
    return Right(line, Annotation(email=user, kind=kind, pos=tuple(numbers), fields=fields))


def _coordinate(name: str, text: str, problems: list[str]) -> int:
    """A number, cut towards zero; 0 where it is none, which is then among the problems."""
    found = _NUMBER.fullmatch(text.strip())
    number = int(found[0].partition(".")[0]) if found else None
    if number is None or number not in INT64:
        problems.append(f"{name}: expected a whole number of 64 bits, got {text[:SHOWN]!r}")
        return 0
    return number


def _field(name: str, text: str, problems: list[str]) -> Any:
    kind = FIELDS[name]
    if kind is str:
        return text
    if kind is list and not text.startswith("["):
        return [part.strip() for part in text.split(";") if part.strip()]
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        problems.append(f"{name}: not JSON: {error.msg}")
        return None
    if not isinstance(value, kind):
        problems.append(f"{name}: expected a JSON {'list' if kind is list else 'object'}")
    return value
