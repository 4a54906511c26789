"""Share links: tokens that read one dataset, or one layer of it, until they expire or are revoked.

A link's token is its id and our signature of that, so one that is made up is known without a look at what is stored.
What it is for, and until when, is stored, and in the memory of every process.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

from wkdvid.core.access import Action, Authorizer, Protected
from wkdvid.core.catalog import Dataset
from wkdvid.core.entries import DatasetKey
from wkdvid.core.host_lock import HostLock
from wkdvid.errors import UpstreamUnavailable

TOKEN = "link-([0-9a-f]{16})-([0-9a-f]{32})"  # noqa: S105 - the form of one
_TOKEN = re.compile(TOKEN)
_PURPOSE = b"wkdvid share links"
"""The secret signs other things too; a signature of one kind is good for no other."""
SIGNED = 4096
"""Ids whose signatures are kept: a request looks at its own a few times."""
DAY_S = 86_400.0
DAYS, MOST_DAYS = 7.0, 366.0
"""How long a link counts: where nothing else is said, and at the longest."""
_BEGAN = time.time() - time.monotonic()

MayShare: TypeAlias = Callable[[str, Protected], Awaitable[bool]]
"""Whether somebody (by email) may still do what making a link of a dataset takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    id: str
    dataset: DatasetKey
    layer: str | None
    """None: all layers, and what else the dataset has for readers."""
    made: float
    """Seconds since 1970."""
    expires: float
    by: str
    """Email of who made it; "" where users are not known by name."""


class LinkStore(Protocol):
    """All links, in step with the store (``core.agreement.InStep``). Changes raise DatabaseUnavailable."""

    @property
    def current(self) -> bool: ...

    async def catch_up(self) -> None: ...

    async def be_current(self) -> None: ...

    async def look_again(self) -> None: ...

    async def follow(self, lock: HostLock) -> None: ...

    @property
    def by_id(self) -> Mapping[str, Link]: ...

    async def add(self, link: Link) -> None:
        """
        Raises:
            TooLarge: the dataset has as many links as it may have.
        """
        ...

    async def remove(self, link: Link, by: str) -> None: ...

    async def remove_all(self, dataset: DatasetKey) -> None: ...


class Links:
    def __init__(self, store: LinkStore, secret: str) -> None:
        """
        Args:
            secret: Of tokens; the same for all workers, and for all hosts that share the store.
        """
        self.store = store
        key = hmac.digest(secret.encode(), _PURPOSE, "sha256")
        self._signature = lru_cache(SIGNED)(lambda link_id: hmac.digest(key, link_id.encode(), "sha256").hex()[:32])

    def token(self, link: Link) -> str:
        return f"link-{link.id}-{self._signature(link.id)}"

    def find(self, token: str) -> Link | None:
        """The link that a token is of, as far as this process knows; None: there is none, or it counts no more."""
        link = self.store.by_id.get(self._signed_id(token) or "")
        return None if link is None or link.expires <= now() else link

    async def look_for(self, token: str) -> Link | None:
        """As ``find``, also of what other workers and hosts have made and revoked.

        Raises:
            DatabaseUnavailable: that cannot be known now.
        """
        link_id = self._signed_id(token)
        if link_id is None:
            return None
        await self.store.be_current()
        if link_id not in self.store.by_id:
            await self.store.look_again()
        return self.find(token)

    def _signed_id(self, token: str) -> str | None:
        parts = _TOKEN.fullmatch(token)
        return parts[1] if parts and hmac.compare_digest(parts[2], self._signature(parts[1])) else None

    async def make(self, dataset: DatasetKey, layer: str | None, days: float, by: str) -> Link:
        """
        Raises:
            TooLarge, DatabaseUnavailable: as ``LinkStore.add``.
        """
        made, link_id = time.time(), secrets.token_hex(8)
        link = Link(id=link_id, dataset=dataset, layer=layer, made=made, expires=made + days * DAY_S, by=by)
        await self.store.add(link)
        return link

    async def all(self) -> Sequence[Link]:
        """Those that count, the newest first."""
        await self.store.catch_up()
        return sorted((link for link in self.store.by_id.values() if link.expires > now()), key=lambda one: -one.made)

    async def get(self, link_id: str) -> Link | None:
        """One that this host knows, whether it has expired or not."""
        await self.store.catch_up()
        return self.store.by_id.get(link_id)

    def seen(self, dataset: Dataset, token: str | None) -> Dataset:
        """What of a dataset the token shows, which may read it: all, but by a link to one layer that one alone."""
        if token is None or not is_link(token):
            return dataset
        link = self.find(token)
        if link is None:  # it has expired meanwhile
            return dataset.with_only(())
        return dataset if link.layer is None else dataset.with_only((link.layer,))

    def shows_part(self, token: str | None) -> bool:
        """Whether the token shows less of a dataset than there is."""
        if token is None or not is_link(token):
            return False
        link = self.find(token)
        return link is None or link.layer is not None

    async def opened(self, opening: Awaitable[Dataset], dataset: DatasetKey, token: str | None) -> Dataset:
        """What is opened, as the token shows it.

        Raises:
            UpstreamUnavailable: it cannot be opened now. Why, which may name other layers, no link tells.
        """
        try:
            return self.seen(await opening, token)
        except UpstreamUnavailable as error:
            if token is None or not is_link(token):
                raise
            raise UpstreamUnavailable(f"dataset {dataset} is unavailable") from error


class LinkAuthorizer:
    """Decides over tokens of links, in every mode alike; over all others whoever decides in the mode.

    Such a token reads what it is for, and nothing else: not even what anybody may read without one.
    """

    def __init__(self, others: Authorizer, links: Links, may_share: MayShare | None) -> None:
        """
        Args:
            may_share: None: who made a link is not asked for again.
        """
        self._others = others
        self._links = links
        self._may_share = may_share

    @property
    def tokens_expire(self) -> bool:
        return self._others.tokens_expire

    def decide(self, token: str | None, action: Action, dataset: Protected | None) -> bool | None:
        if token is None or not is_link(token):
            return self._others.decide(token, action, dataset)
        if action is not Action.READ or dataset is None:
            return False
        link = self._links.find(token) if self._links.store.current else None
        if link is not None and link.dataset != dataset.key:
            return False
        return None if link is None or self._may_share else True

    async def ask(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        """
        Raises:
            UpstreamUnavailable, DatabaseUnavailable: that cannot be known now.
        """
        if token is None or not is_link(token):
            return await self._others.ask(token, action, dataset)
        if action is not Action.READ or dataset is None:
            return False
        link = await self._links.look_for(token)
        if link is None or link.dataset != dataset.key:
            return False
        return self._may_share is None or await self._may_share(link.by, dataset)


def is_link(token: str) -> bool:
    """Whether it has the form of a link's token: then it is nothing else, whether it counts or not."""
    return token.startswith("link-") and _TOKEN.fullmatch(token) is not None


def now() -> float:
    """Seconds since 1970, for what expires: a clock that is set back revives nothing that this process saw expire."""
    return max(time.time(), _BEGAN + time.monotonic())
