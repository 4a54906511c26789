"""An entry as an administrator sees and changes it: all that is written in it, but for secrets."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wkdvid.core.secrets import is_reference

SECRETS = frozenset({"credentials", "token", "username", "password"})
"""Options that are to hold references, and may hold what they should not in a file that was written by hand."""
KEPT = "(kept)"
"""Stands for a secret that is not shown; who sends it back leaves the secret as it is."""


@dataclass(frozen=True, slots=True)
class EntryText:
    backend: str
    options: Mapping[str, Any]
    """As they are written, without secrets."""
    tag: str
    """Of what is stored: another one after each change."""


def entry_text(backend: str, options: Mapping[str, Any]) -> EntryText:
    shown = copy.deepcopy(dict(options))
    for _, holder, name in _secrets(shown):
        holder[name] = KEPT
    return EntryText(backend, shown, tag_of(options))


def tag_of(options: object) -> str:
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:32]


def with_kept(options: Mapping[str, Any], stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options with the secrets that are to be kept. What was none before stays as it is, and is refused later."""
    kept = {place: holder[name] for place, holder, name in _secrets(dict(stored))}
    wanted = copy.deepcopy(dict(options))
    for place, holder, name in _secrets(wanted):
        if holder[name] == KEPT and place in kept:
            holder[name] = kept[place]
    return wanted


def _secrets(options: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any], str]]:
    """Of an entry and the layers in it, what is a secret and no reference: its place, and the object and member."""
    layers = options.get("layers")
    holders = {"": options, **(layers if isinstance(layers, dict) else {})}
    for layer, holder in holders.items():
        for name in SECRETS.intersection(holder) if isinstance(holder, dict) else ():
            if not is_reference(holder[name]):
                yield (layer, name), holder, name
