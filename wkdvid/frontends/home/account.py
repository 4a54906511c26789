"""Who looks at the pages, and what of them is shown to whom."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from wkdvid.errors import Forbidden, Unauthorized
from wkdvid.identity.chain import Identities

ADMINISTRATOR = "Administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    name: str | None = None
    """Of who has signed in; None: nobody has, or nobody is known by name."""
    sign_in: str | None = None
    """Where one signs in, relative to the server's root; None: nobody needs to."""
    may_sign_out: bool = False
    """Whether the browser keeps a session."""
    administrates: bool = False
    has_users: bool = False
    """Whether there are users and roles."""

    @property
    def has_forms(self) -> bool:
        """Whether what the pages show can be changed on them."""
        return self.administrates or self.may_sign_out

    @property
    def pages(self) -> tuple[tuple[str, str], ...]:
        """Name and address of what the header leads to besides what everybody sees."""
        if not self.administrates:
            return ()
        return (("Jobs", "jobs"), ("Users", "people")) if self.has_users else (("Jobs", "jobs"),)


async def name_in(identities: Identities, token: str | None) -> str | None:
    """What a user is called; None: the token is nobody's.

    Raises:
        UpstreamUnavailable, DatabaseUnavailable: that cannot be known now.
    """
    try:
        user = await identities.user(token)
    except (Unauthorized, Forbidden):
        return None
    return user.name or user.email


def sign_in_address(mode: str, path: str, login: str | None) -> str | None:
    """
    Args:
        mode: Of access, as the configuration names it.
        path: Of the page to come back to.
        login: Where a provider's logins begin, if there is one.
    """
    if mode == "open":
        return None
    if mode == "clio" and login is not None:
        return f"{login.lstrip('/')}?{urlencode({'redirect': path}, safe='/')}"
    return f"sign-in?{urlencode({'next': path.lstrip('/')}, safe='/')}"
