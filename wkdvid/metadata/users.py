"""Users, groups and opaque tokens in SQL."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cachebox import LRUCache

from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.users import Change, User
from wkdvid.metadata.audit import note
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.schema import api_tokens, user_groups, users

COUNTER = "users.generation"
"""File of the number of changes, in the state folder: other workers of the host see them at once."""
KEPT_S = 30.0
"""For which other hosts may not see a change."""
KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    user: User | None
    epoch: float
    generation: int
    until: float
    """``time.monotonic()``"""


class SqlUsers:
    """A ``core.users.Users``; its methods are described there."""

    def __init__(self, engine: sa.Engine, counter: SharedCounter) -> None:
        self._queries = Queries(engine)
        self._counter = counter
        self._known: LRUCache[str, _Known] = LRUCache(KEPT)

    async def find(self, email: str) -> User | None:
        return (await self._look(email)).user

    async def token_epoch(self, email: str) -> float:
        return (await self._look(email)).epoch

    async def _look(self, email: str) -> _Known:
        known: _Known | None = self._known.get(email)
        generation = self._counter.value
        if known is not None and known.generation == generation and time.monotonic() < known.until:
            return known

        def look(connection: sa.Connection) -> _Known:
            row = connection.execute(sa.select(users).where(users.c.email == email)).first()
            groups = connection.execute(_groups(email)).scalars().all()
            until = time.monotonic() + KEPT_S
            epoch = 0.0 if row is None else row.token_epoch
            return _Known(None if row is None else _user(row, groups), epoch, generation, until)

        found = await self._queries.read(look)
        self._known[email] = found
        return found

    async def all(self) -> Sequence[User]:
        def read(connection: sa.Connection) -> Sequence[User]:
            groups: dict[str, list[str]] = {}
            for name, email in connection.execute(sa.select(user_groups).order_by(user_groups.c.name)):
                groups.setdefault(email, []).append(name)
            rows = connection.execute(sa.select(users).order_by(users.c.email))
            return [_user(row, groups.get(row.email, ())) for row in rows]

        return await self._queries.read(read)

    async def change(self, changes: Mapping[str, Change], by: str) -> None:
        def change(connection: sa.Connection) -> None:
            for email, one in sorted(changes.items()):  # in one order, so that no two wait for each other
                stored = connection.execute(sa.select(users).where(users.c.email == email).with_for_update()).first()
                groups = connection.execute(_groups(email)).scalars().all()
                _put(connection, one(None if stored is None else _user(stored, groups)), is_new=stored is None)
                note(connection, by, "put user", detail=_noted(connection, email))

        await self._queries.run(change)
        self._changed()

    async def remove(self, email: str, by: str) -> bool:
        def remove(connection: sa.Connection) -> bool:
            for table in (user_groups, api_tokens):
                connection.execute(sa.delete(table).where(table.c.email == email))
            found = connection.execute(sa.delete(users).where(users.c.email == email)).rowcount
            note(connection, by, "remove user", detail={"user": email})
            return bool(found)

        found = await self._queries.run(remove)
        self._changed()
        return found

    async def members(self, group: str) -> Sequence[str]:
        wanted = sa.select(user_groups.c.email).where(user_groups.c.name == group).order_by(user_groups.c.email)
        return await self._queries.read(lambda c: c.execute(wanted).scalars().all())

    async def revoke_tokens(self, email: str, by: str) -> None:
        def revoke(connection: sa.Connection) -> None:
            now = time.time()
            is_it = users.c.email == email
            if not connection.execute(sa.update(users).where(is_it).values(token_epoch=now, updated=now)).rowcount:
                new = {**_row(User(email=email), now), "email": email, "created": now, "token_epoch": now}
                connection.execute(sa.insert(users).values(new))
            connection.execute(sa.delete(api_tokens).where(api_tokens.c.email == email))
            note(connection, by, "revoke tokens", detail={"user": email})

        await self._queries.run(revoke)
        self._changed()

    async def add_token(self, digest: str, email: str, label: str, expires: float | None) -> None:
        def add(connection: sa.Connection) -> None:
            row = {"digest": digest, "email": email, "label": label, "created": time.time(), "expires": expires}
            connection.execute(sa.insert(api_tokens).values(row))
            note(connection, email, "add token", detail={"label": label})

        await self._queries.run(add)

    async def owner_of_token(self, digest: str) -> str | None:
        valid = sa.or_(api_tokens.c.expires.is_(None), api_tokens.c.expires > time.time())
        wanted = sa.select(api_tokens.c.email).where(api_tokens.c.digest == digest, valid)
        return await self._queries.read(lambda c: c.execute(wanted).scalars().first())

    def _changed(self) -> None:
        """After the change is durable: whoever asks from now on, in any worker of the host, looks again."""
        self._counter.add(1)


def _put(connection: sa.Connection, user: User, *, is_new: bool) -> None:
    now = time.time()
    row = _row(user, now)
    if is_new:
        connection.execute(sa.insert(users).values(**row, email=user.email, created=now, token_epoch=0.0))
    else:
        connection.execute(sa.update(users).where(users.c.email == user.email).values(row))
    connection.execute(sa.delete(user_groups).where(user_groups.c.email == user.email))
    for name in dict.fromkeys(user.groups):
        connection.execute(sa.insert(user_groups).values(name=name, email=user.email))


def _noted(connection: sa.Connection, email: str) -> Mapping[str, Any]:
    row = connection.execute(sa.select(users).where(users.c.email == email)).one()
    roles = {"global_roles": json.loads(row.global_roles), "datasets": json.loads(row.datasets)}
    return {"user": email, **roles, "disabled": row.disabled}


def _groups(email: str) -> sa.Select[Any]:
    return sa.select(user_groups.c.name).where(user_groups.c.email == email).order_by(user_groups.c.name)


def _user(row: sa.Row[Any], groups: Sequence[str]) -> User:
    return User(
        email=row.email,
        name=row.name,
        org=row.org,
        picture=row.picture,
        disabled=row.disabled,
        global_roles=tuple(json.loads(row.global_roles)),
        datasets={name: tuple(roles) for name, roles in json.loads(row.datasets).items()},
        groups=tuple(groups),
        updated=row.updated,
    )


def _row(user: User, now: float) -> dict[str, object]:
    return {
        "name": user.name,
        "org": user.org,
        "picture": user.picture,
        "disabled": user.disabled,
        "global_roles": json.dumps(list(user.global_roles)),
        "datasets": json.dumps({name: list(roles) for name, roles in user.datasets.items()}),
        "updated": now,
    }
