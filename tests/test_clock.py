"""The clock is set by a day while the server runs: no token counts that would not, and nothing is remembered longer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.credentials.closed import account_key
from tests.doors import Door, door
from wkdvid.core import service_account
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.service_account import ServiceAccount
from wkdvid.core.users import User
from wkdvid.errors import Unauthorized
from wkdvid.identity import chain
from wkdvid.identity.chain import Identities
from wkdvid.identity.own import OwnTokens
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.users import SqlUsers

DAY = timedelta(days=1)
OWN = OwnTokens("a secret of more than thirty-two bytes")
ALICE = "alice@lab.org"


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    url = f"sqlite:///{tmp_path / 'users.db'}"
    migrate(url)
    return Identities(SqlUsers(open_engine(url), SharedCounter(tmp_path / "counter")), OWN, ())


async def test_a_token_that_was_checked_ends_with_the_day_that_it_names(identities: Identities) -> None:
    token = OWN.mint(ALICE, {}, life_s=600)
    assert await identities.user(token) == User(email=ALICE)
    with time_machine.travel(datetime.now(UTC) + DAY), pytest.raises(Unauthorized):
        await identities.user(token)
    assert await identities.user(token) == User(email=ALICE)


async def test_a_clock_that_goes_back_does_not_lengthen_what_is_remembered(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "KEPT_S", 0.05)
    token = OWN.mint(ALICE, {}, life_s=600)
    await identities.user(token)
    with time_machine.travel(datetime.now(UTC) - DAY):
        await asyncio.sleep(0.06)
        with pytest.raises(Unauthorized):  # it is looked at again, and is one of tomorrow
            await identities.user(token)


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Door]:
    with door(tmp_path) as one:
        yield one


async def test_an_account_of_google_has_a_new_token_in_time(google: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def token(assertion: str) -> str:
        given.append(f"token {len(given)}")
        return given[-1]

    google.token = token
    key = account_key(google, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    account = ServiceAccount(lambda: key, "gs://bucket")
    await account.renew()
    with time_machine.travel(datetime.now(UTC) - DAY):
        await account.renew()
        assert account.headers() == {"Authorization": "Bearer token 0"}
        monkeypatch.setattr(service_account, "LEAST_LEFT", timedelta(minutes=61))  # as if it had half an hour left
        await account.renew()
    assert account.headers() == {"Authorization": "Bearer token 1"}
