"""Who looks at the pages, where there are logins."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from wkdvid.errors import Forbidden, Unauthorized
from wkdvid.identity.chain import Identities


@dataclass(frozen=True, slots=True)
class Account:
    name: str | None
    """Of who is logged in; None: nobody is."""
    address: str | None
    """Where to log out, or in; None: not here."""


async def account_of(identities: Identities, token: str | None, prefix: str, path: str, *, has_login: bool) -> Account:
    """
    Args:
        prefix: Of the paths of logins.
        path: Of the page, which a login comes back to.

    Raises:
        UpstreamUnavailable, DatabaseUnavailable: who it is cannot be known now.
    """
    try:
        user = await identities.user(token)
    except (Unauthorized, Forbidden):
        return Account(None, f"{prefix}/login?{urlencode({'redirect': path})}" if has_login else None)
    return Account(user.name or user.email, f"{prefix}/logout?{urlencode({'redirect': '/'})}")
