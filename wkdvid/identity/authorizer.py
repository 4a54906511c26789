"""Mode ``clio``: roles decide on every front end."""

from __future__ import annotations

from wkdvid.core.access import Action, Protected
from wkdvid.core.users import DATASET_ADMIN, READ, WRITE, User
from wkdvid.errors import Forbidden, Unauthorized
from wkdvid.identity.chain import Identities

NEEDED = {Action.READ: READ, Action.WRITE: WRITE, Action.ADMINISTRATE: DATASET_ADMIN}


class RolesAuthorizer:
    """Reading takes ``clio_read`` on the dataset, writing ``clio_write``, administration ``dataset_admin``.

    A dataset is open to all, with a token or without one, where its entry says ``"public": true`` itself.
    """

    tokens_expire = True

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

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
        return may(user, action, dataset)


def may(user: User, action: Action, dataset: Protected | None) -> bool:
    if dataset is None:
        return user.is_admin if action is Action.ADMINISTRATE else user.has_role(WRITE)
    return user.has_role(NEEDED[action], str(dataset.key))
