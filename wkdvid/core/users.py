"""Users and what their roles let them do (clio.md B.4): ``admin`` may do everything, the others build on each other.

``clio_read`` reads what is there, ``clio_general`` adds what is one's own, ``clio_write`` changes what is others'.
``dataset_admin`` has all of them on one dataset, says who else has which there, and deletes it. Any other role is kept
for whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

ADMIN = "admin"
DATASET_ADMIN = "dataset_admin"
READ, GENERAL, WRITE = "clio_read", "clio_general", "clio_write"
_IMPLIED: Mapping[str, frozenset[str]] = {
    DATASET_ADMIN: frozenset({READ, GENERAL, WRITE}),
    WRITE: frozenset({READ, GENERAL}),
    GENERAL: frozenset({READ}),
}
"""By role, what it comes with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who is logged in, as far as this server is concerned."""

    email: str
    """In lower case."""
    name: str | None = None
    org: str | None = None
    picture: str | None = None
    disabled: bool = False
    global_roles: Sequence[str] = ()
    datasets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Roles by dataset; which names those are is ``core.grants``'s to say."""
    groups: Sequence[str] = ()
    updated: float | None = None
    """Seconds since 1970 of the last change; None: not stored."""

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.global_roles

    def has_role(self, role: str, dataset: str | None = None, *, public: bool = False) -> bool:
        """
        Args:
            dataset: On which; None: everywhere.
            public: Whether it is open to all who are logged in, as ``clio_general``.
        """
        held = {*self.global_roles, *(self.datasets.get(dataset, ()) if dataset is not None else ())}
        if public:
            held.add(GENERAL)
        return ADMIN in held & {*self.global_roles} or role in held.union(*(_IMPLIED.get(one, ()) for one in held))

    def administers(self, dataset: str | None = None) -> bool:
        """
        Args:
            dataset: Which; None: any.
        """
        if dataset is None and any(DATASET_ADMIN in roles for roles in self.datasets.values()):
            return True
        return self.has_role(DATASET_ADMIN, dataset)


def with_role(user: User, role: str, dataset: str | None, *, held: bool) -> User:
    """
    Args:
        dataset: On which; None: everywhere.
        held: Whether the user is to have it.
    """
    before = user.global_roles if dataset is None else user.datasets.get(dataset, ())
    roles = tuple(one for one in before if one != role) + ((role,) if held else ())
    if dataset is None:
        return replace(user, global_roles=roles)
    others = {name: some for name, some in user.datasets.items() if name != dataset}
    return replace(user, datasets={**others, dataset: roles} if roles else others)


Change: TypeAlias = Callable[[User | None], User]
"""From what is stored to what is to be. May be called again; what it raises leaves everything as it was."""


class Users(Protocol):
    """All users, in step with the store. Changes raise DatabaseUnavailable where they could not be stored."""

    async def find(self, email: str) -> User | None: ...

    async def all(self) -> Sequence[User]:
        """By email."""
        ...

    async def change(self, changes: Mapping[str, Change], by: str) -> None:
        """Add or change, all or none, each by its email.

        Args:
            by: Whose doing it is, for the record.
        """
        ...

    async def remove(self, email: str, by: str) -> bool:
        """With the tokens and the groups. False: there is none."""
        ...

    async def members(self, group: str) -> Sequence[str]:
        """Emails."""
        ...

    async def token_epoch(self, email: str) -> float:
        """Tokens that were issued before (seconds since 1970) do not count."""
        ...

    async def revoke_tokens(self, email: str, by: str) -> None:
        """All that were issued until now."""
        ...

    async def add_token(self, digest: str, email: str, label: str, expires: float | None) -> None:
        """An opaque token, of which only the SHA-256 is kept, in hex."""
        ...

    async def owner_of_token(self, digest: str) -> str | None:
        """The email, if it has not expired nor been revoked."""
        ...
