"""Mode ``clio``: roles decide on every front end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from typing import TypeAlias

from wkdvid.core.access import Action, Authorizer, Protected, allowed
from wkdvid.core.grants import Names
from wkdvid.core.links import is_link
from wkdvid.core.users import DATASET_ADMIN, READ, WRITE, User
from wkdvid.errors import Forbidden, Unauthorized
from wkdvid.identity.chain import Identities
from wkdvid.identity.claims import Identity

NEEDED = {Action.READ: READ, Action.WRITE: WRITE, Action.ADMINISTRATE: DATASET_ADMIN}

PublicNames: TypeAlias = Callable[[], Awaitable[Container[str]]]
"""Names of the datasets that whoever is logged in may read."""


class RolesAuthorizer:
    """Reading takes ``clio_read`` on the dataset, writing ``clio_write``, administration ``dataset_admin``.

    A dataset is open to all, with a token or without one, where its entry says ``"public": true`` itself.
    """

    tokens_expire = True

    def __init__(self, identities: Identities, names: Names, public: PublicNames) -> None:
        self._identities = identities
        self._names = names
        self._public = public

    def decide(self, token: str | None, action: Action, dataset: Protected | None) -> bool | None:
        if action is Action.READ and (dataset is None or dataset.said_public):
            return True
        return None

    async def ask(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        """
        Raises:
            UpstreamUnavailable, DatabaseUnavailable: who it is, or may do what, cannot be known now.
        """
        if self.decide(token, action, dataset):
            return True
        try:
            user = await self._identities.user(token)
        except (Unauthorized, Forbidden):
            return False
        return may(self._names.holder(user), action, dataset, await self._public())

    async def may_share(self, email: str, dataset: Protected) -> bool:
        """Whether a user, as stored, may administrate a dataset now.

        Raises:
            DatabaseUnavailable: that cannot be known now.
        """
        try:
            user = await self._identities.user_of(Identity(email=email))
        except Forbidden:
            return False
        return may(self._names.holder(user), Action.ADMINISTRATE, dataset)


def may(user: User, action: Action, dataset: Protected | None, public: Container[str] = ()) -> bool:
    if dataset is None:
        return user.is_admin if action is Action.ADMINISTRATE else user.has_role(WRITE)
    name = str(dataset.key)
    return user.has_role(NEEDED[action], name, public=name in public)


class EitherAuthorizer:
    """Of the routes of webKnossos, where a main server is configured too: its tokens read as well."""

    tokens_expire = True

    def __init__(self, roles: Authorizer, main_server: Authorizer) -> None:
        self._roles = roles
        self._main_server = main_server

    def decide(self, token: str | None, action: Action, dataset: Protected | None) -> bool | None:
        if not _is_for_both(token, action):
            return self._roles.decide(token, action, dataset)
        return self._roles.decide(token, action, dataset) or self._main_server.decide(token, action, dataset) or None

    async def ask(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        """
        Raises:
            UpstreamUnavailable, DatabaseUnavailable: as those of both.
        """
        if await allowed(self._roles, token, action, dataset):
            return True
        return _is_for_both(token, action) and await allowed(self._main_server, token, action, dataset)


def _is_for_both(token: str | None, action: Action) -> bool:
    """A share link's token is ours alone."""
    return action is Action.READ and (token is None or not is_link(token))
