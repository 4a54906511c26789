"""Secrets by reference: datasets.json names where a password is, and the operator for which addresses it is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

from wkdvid.errors import InvalidRequest

FILE = "file:"

Reference: TypeAlias = Annotated[str, "a reference"]
"""Where a secret is, as ``is_reference`` knows it."""


_BRACED = re.compile(r"\$\{(\w+)\}", re.ASCII)


def is_reference(value: object) -> bool:
    """Whether it is ``$NAME`` of an environment variable, or ``file:PATH``: what may be shown."""
    return isinstance(value, str) and value.startswith(("$", FILE))


def look_up(reference: Reference, environ: Mapping[str, str]) -> str | None:
    """The secret, or None if there is none."""
    if not reference.startswith(FILE):
        return environ.get(reference[1:]) or None
    try:
        return Path(reference.removeprefix(FILE)).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def covers(prefix: str, url: str) -> bool:
    """Whether the address lies under the prefix: whole components, so that no longer host name begins with it."""
    folder = prefix if prefix.endswith("/") else f"{prefix}/"
    return f"{url.rstrip('/')}/".startswith(folder)


class Secrets:
    """Reads the secrets that entries refer to, for addresses that the operator granted them to."""

    def __init__(self, granted: Mapping[Reference, Sequence[str]], environ: Mapping[str, str] = os.environ) -> None:
        """
        Args:
            granted: ``$NAME`` of an environment variable, or ``file:PATH`` -> what an address that may be sent the
                secret begins with. A prefix without path stands for the whole host.
        """
        self._granted = granted
        self._environ = environ

    def read(self, reference: object, url: str) -> str:
        """The secret that is meant for an address.

        Args:
            reference: As it stands in the entry.
            url: Where it will be sent.
        Raises:
            InvalidRequest: no reference, not granted for that address, or there is no such secret. The message shows
                a reference, but never what might be a secret itself.
        """
        if not isinstance(reference, str) or not is_reference(reference):
            raise InvalidRequest(
                f"a secret does not stand in an entry: write $NAME of an environment variable, or {FILE}PATH"
            )
        if braced := _BRACED.fullmatch(reference):
            reference = f"${braced[1]}"
        if not any(covers(prefix, url) for prefix in self._granted.get(reference, ())):
            raise InvalidRequest(f"{reference} is not granted for {url}; the operator can do so in sources.secrets")
        secret = look_up(reference, self._environ)
        if secret is None:
            raise InvalidRequest(f"{reference}: there is no such secret on the server")
        return secret
