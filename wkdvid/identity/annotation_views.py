"""Whose annotations somebody sees, whichever front end shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from wkdvid.core.access import Action, Authorizer, Protected, allowed
from wkdvid.core.annotations import AnnotationStore, Selection, View
from wkdvid.core.links import is_link
from wkdvid.core.users import User, Users
from wkdvid.errors import DatabaseUnavailable, Forbidden, Unauthorized
from wkdvid.identity.chain import Identities


class AnnotationViews:
    """Users see their own and those of their groups, who administrates sees everybody's, others see none.

    By a share link not even that there are some is seen.
    """

    def __init__(self, identities: Identities, authorizer: Authorizer, store: AnnotationStore) -> None:
        self._identities = identities
        self._authorizer = authorizer
        self._store = store
        self._known: Sequence[str] = ()

    async def of(self, dataset: Protected, token: str | None) -> View | None:
        held = str(dataset.key)
        if held not in await self.datasets(token):
            return None
        return View(self._store, Selection(dataset=held, emails=await self._emails(token)))

    async def _emails(self, token: str | None) -> Sequence[str] | None:
        if await allowed(self._authorizer, token, Action.ADMINISTRATE, None):
            return None
        try:
            user = await self._identities.user(token)
        except (Unauthorized, Forbidden):
            return []
        return await own_and_groups(user, user.groups, self._identities.users)

    async def datasets(self, token: str | None) -> Sequence[str]:
        """While the database does not answer, those that are known: what has none is listed all the same."""
        if token is not None and is_link(token):
            return ()
        with contextlib.suppress(DatabaseUnavailable):
            self._known = await self._store.datasets()
        return self._known


async def own_and_groups(user: User, groups: Sequence[str], users: Users) -> Sequence[str]:
    """Emails: the user's, then those of all members of groups."""
    members = [email for name in groups for email in await users.members(name)]
    return list(dict.fromkeys([user.email, *members]))
