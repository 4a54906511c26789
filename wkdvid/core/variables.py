"""Environment variables in the text of entries, as webknossos-connect has them (webknossos.md D)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


def expand(value: Any, variables: Mapping[str, str], kept: frozenset[str]) -> Any:
    """A copy in which ``$NAME`` and ``${NAME}`` are replaced, in every text at any depth; names of members are not.

    Args:
        value: JSON.
        variables: What is not among them stays as it is written.
        kept: Members that are left alone: what refers to secrets is read where it is used.
    Raises:
        RecursionError: it is nested more deeply than any entry.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], found[0]), value)
    if isinstance(value, list):
        return [expand(item, variables, kept) for item in value]
    if isinstance(value, dict):
        return {name: item if name in kept else expand(item, variables, kept) for name, item in value.items()}
    return value
