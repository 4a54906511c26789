"""What the stand-in knows: its datastore, the datasets that this has reported, users and what they may do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

Json: TypeAlias = Any
Key: TypeAlias = tuple[str, str]
"""Organization and name."""


class Generation(Enum):
    """Which main server it is. Each understands one form of what a datastore reports and asks, and no other."""

    CONNECT = "2019"
    """Plain DataSources with ``wkwResolutions``; datasets have no ids for a datastore."""
    PLAIN = "2024"
    """Plain DataSources with ``mags``."""
    ROOTED = "2026"
    """DataSources in objects that may name their base directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    email: str
    organization: str
    is_admin: bool
    reads: frozenset[str]
    """``organization/name`` of each dataset that was shared with the user. Administrators need no sharing."""


@dataclass(slots=True)
class Row:
    """One dataset."""

    id: str
    document: Mapping[str, Json]
    """As it was reported."""
    is_active: bool = True


@dataclass(slots=True)
class State:
    name: str
    key: str
    token: str
    """The server's own, which its calls to the datastore carry."""
    api: range
    generation: Generation = Generation.ROOTED
    organizations: frozenset[str] | None = None
    """Those that there are; None: whichever is asked for. What is reported of others is left out."""
    public: set[str] = field(default_factory=set)
    """``organization/name`` of each dataset that anyone may read."""
    users: dict[str, User] = field(default_factory=dict)
    """By token."""
    rows: dict[Key, Row] = field(default_factory=dict)
    public_url: str | None = None
    """Where clients reach the datastore, if that is not where it says it is itself: ``publicUrl`` of its row."""
    datastore_url: str | None = None
    """As the datastore last gave it; None: it has never said that it is there."""

    def row_of(self, dataset_id: str) -> tuple[Key, Row] | None:
        return next(((key, row) for key, row in self.rows.items() if row.id == dataset_id), None)

    def may_administrate(self, token: str) -> bool:
        user = self.users.get(token)
        return token == self.token or (user is not None and user.is_admin)

    def may_read(self, token: str, key: Key) -> bool:
        """What there is not nobody may read."""
        if key not in self.rows:
            return False
        name, user = "/".join(key), self.users.get(token)
        return self.may_administrate(token) or name in self.public or (user is not None and name in user.reads)

    def put(self, key: Key, document: Mapping[str, Json]) -> None:
        if self.organizations is None or key[0] in self.organizations:
            row = self.rows.setdefault(key, Row(dataset_id(key), document))
            row.document, row.is_active = document, True

    def replace_all(self, documents: Mapping[Key, Mapping[str, Json]], organization: str | None) -> None:
        """What is not in the list is shown no more.

        Args:
            organization: The one that the list is of; None: all of them.
        """
        for key, row in self.rows.items():
            row.is_active = row.is_active and (key in documents or organization not in (None, key[0]))
        for key, document in documents.items():
            self.put(key, document)


def dataset_id(key: Key) -> str:
    """Another one than a datastore would choose, as the real server's are."""
    return hashlib.sha256(f"main server's {'/'.join(key)}".encode()).hexdigest()[:24]
