"""Who may do what. One Authorizer decides for every front end; each route says which action it is on which dataset."""

from __future__ import annotations

import hmac
from enum import Enum
from typing import Protocol

from wkdvid.core.entries import DatasetKey
from wkdvid.errors import Forbidden, Unauthorized


class Action(Enum):
    READ = "read"
    WRITE = "write"
    ADMINISTRATE = "administrate"


class Protected(Protocol):
    """What an Authorizer looks at in a dataset."""

    @property
    def key(self) -> DatasetKey: ...

    @property
    def public(self) -> bool: ...

    @property
    def said_public(self) -> bool:
        """Whether its entry says that it is public, and does not only not say that it is not."""
        ...

    @property
    def chosen_id(self) -> str | None:
        """The id that its entry says it has at the main server of webKnossos."""
        ...


class Authorizer(Protocol):
    """Decides over one action.

    ``decide`` answers at once if it can (None: it has to ask somebody first), so that a warm read costs no await.
    """

    @property
    def tokens_expire(self) -> bool:
        """Whether who is refused should fetch a new token and try again."""
        ...

    def decide(self, token: str | None, action: Action, dataset: Protected | None) -> bool | None: ...

    async def ask(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        """
        Raises:
            UpstreamUnavailable: who knows cannot be asked now.
        """
        ...


class OpenAuthorizer:
    """Mode ``open``: anyone may do everything. The configuration allows it on loopback only, unless told otherwise."""

    tokens_expire = False

    def decide(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        return True

    async def ask(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        return True


class TokenAuthorizer:
    """Mode ``token``: public datasets are read by anyone, all else needs the admin token."""

    tokens_expire = False

    def __init__(self, admin_token: str) -> None:
        self._admin = admin_token.encode()

    def decide(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        if action is Action.READ and (dataset is None or dataset.public):
            return True
        return token is not None and hmac.compare_digest(token.encode(errors="surrogateescape"), self._admin)

    async def ask(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        return self.decide(token, action, dataset)


async def allowed(authorizer: Authorizer, token: str | None, action: Action, dataset: Protected | None) -> bool:
    answer = authorizer.decide(token, action, dataset)
    return await authorizer.ask(token, action, dataset) if answer is None else answer


async def require_administrator(authorizer: Authorizer, token: str | None, dataset: Protected | None = None) -> None:
    """
    Args:
        dataset: Which is to be administrated; None: all of them.
    Raises:
        Unauthorized: there is no token.
        Forbidden: the token does not suffice.
    """
    if await allowed(authorizer, token, Action.ADMINISTRATE, dataset):
        return
    if token is None:
        raise Unauthorized("this needs the administrator's token (Authorization: Bearer, X-Auth-Token or ?token=)")
    raise Forbidden("this token may not administrate")
