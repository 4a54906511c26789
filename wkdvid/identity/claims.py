"""What a verified token says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SHOWN = ("hd", "email_verified", "name", "picture", "given_name", "family_name", "locale")
"""Claims of a provider's token that go on into ours (clio.md B.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    email: str
    """In lower case."""
    issued: float = 0.0
    """Seconds since 1970."""
    expires: float | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Of ``SHOWN``, those that there are."""
    groups: tuple[str, ...] = ()
    """As the provider names them."""

    @property
    def name(self) -> str | None:
        return _text(self.claims.get("name"))

    @property
    def picture(self) -> str | None:
        return _text(self.claims.get("picture"))


def shown(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: claims[name] for name in SHOWN if name in claims}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
