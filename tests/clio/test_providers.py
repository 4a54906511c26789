"""Tokens of OpenID Connect providers: whose count, which keys they are checked with, and when those are asked for."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey, RSAKey

from tests.clio.provider import CLIENT, Provider
from wkdvid.core.notice import Notice
from wkdvid.errors import Unauthorized, UpstreamUnavailable
from wkdvid.identity import oidc
from wkdvid.identity.oidc import OidcVerifier
from wkdvid.identity.providers import Provider as Configured


@pytest.fixture(scope="module")
def module_provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(module_provider: Provider) -> Iterator[Provider]:
    keys = dict(module_provider.keys)
    module_provider.asked.clear()
    yield module_provider
    module_provider.keys, module_provider.is_down = keys, False


def verifier(provider: Provider, **options: Any) -> OidcVerifier:
    configured = Configured(**{"issuer": provider.issuer, "audiences": (CLIENT,), **options})
    return OidcVerifier(configured, Notice(logging.getLogger("test"), "well"))


@pytest.mark.parametrize("kind", ["RS256", "ES256"])
async def test_a_token_says_who_it_is(provider: Provider, kind: str) -> None:
    provider.keys["second"] = (
        RSAKey.generate_key(2048, {"kid": "second"})
        if kind == "RS256"
        else ECKey.generate_key("P-256", {"kid": "second"})
    )
    token = provider.token("second", groups=["a", 1], picture="p", at_hash="x")
    found = await verifier(provider, groups_claim="groups").verify(token)
    assert (found.email, found.name, found.picture, found.groups) == ("ada@lab.org", "Ada", "p", ("a",))
    assert "at_hash" not in found.claims


NOW = int(time.time())
REFUSED: Mapping[str, Mapping[str, Any]] = {
    "of another issuer": {"iss": "https://evil.example"},
    "for another client": {"aud": "another"},
    "for nobody": {"aud": None},
    "expired": {"exp": NOW - 120},
    "never expires": {"exp": None},
    "not yet valid": {"nbf": NOW + 3600},
    "issued in the future": {"iat": NOW + 3600},
    "email not verified": {"email_verified": False},
    "email perhaps verified": {"email_verified": None},
    "email verified in words": {"email_verified": "false"},
    "without an email": {"email": None},
    "email is none": {"email": "ada"},
    "email is a list": {"email": ["ada@lab.org"]},
}


@pytest.mark.parametrize("claims", REFUSED.values(), ids=REFUSED)
async def test_a_token_that_does_not_count(provider: Provider, claims: Mapping[str, Any]) -> None:
    checking = verifier(provider)
    await checking.verify(provider.token())
    with pytest.raises(Unauthorized):
        await checking.verify(provider.token(**claims))


def with_public_key(provider: Provider) -> str:
    """A token of HS256 whose secret is what everybody knows."""
    public = provider.keys["first"].public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "first"}).encode()).rstrip(b"=")
    signed = header + b"." + provider.token().split(".")[1].encode()
    return b".".join([signed, urlsafe_b64encode(hmac.digest(public, signed, "sha256")).rstrip(b"=")]).decode()


async def test_nobody_forges_a_token(provider: Provider) -> None:
    """With algorithm none, with the public key as a secret, with a key of one's own, or with no signature."""
    checking = verifier(provider)
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    unsigned = provider.token().rpartition(".")[0]
    with contextlib.closing(Provider()) as forger:
        forger.issuer = provider.issuer
        of_own_key = forger.token()
    none = jwt.encode(claims, None, "none", {"kid": "first"})  # type: ignore[arg-type]
    for forged in (none, with_public_key(provider), of_own_key, f"{unsigned}.", f"{unsigned}.{'A' * 342}"):
        with pytest.raises(Unauthorized):
            await checking.verify(forged)


async def test_audiences(provider: Provider) -> None:
    both = verifier(provider, audiences=("other", CLIENT))
    assert (await both.verify(provider.token())).email == "ada@lab.org"
    anybody = verifier(provider, audiences=("*",))
    assert (await anybody.verify(provider.token(aud="whoever"))).email == "ada@lab.org"


async def test_a_new_key_is_asked_for_once_a_minute(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    checking = verifier(provider, jwks_uri=f"{provider.issuer}/keys")
    await checking.verify(provider.token())
    provider.keys["new"] = ECKey.generate_key("P-256", {"kid": "new"})
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await checking.verify(provider.token("new"))
    assert provider.asked == ["/keys"]
    monkeypatch.setattr(oidc, "PAUSE_S", -1.0)
    assert (await checking.verify(provider.token("new"))).email == "ada@lab.org"
    assert provider.asked == ["/keys"] * 2


async def test_keys_stay_while_the_provider_is_down(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    checking = verifier(provider)
    await checking.verify(provider.token())
    provider.is_down = True
    monkeypatch.setattr(oidc, "FRESH_S", -1.0)
    monkeypatch.setattr(oidc, "PAUSE_S", -1.0)
    assert (await checking.verify(provider.token())).email == "ada@lab.org"
    provider.keys["new"] = ECKey.generate_key("P-256", {"kid": "new"})
    with pytest.raises(Unauthorized):
        await checking.verify(provider.token("new"))


async def test_a_provider_that_was_never_reached(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told that a good token is bad."""
    checking = verifier(provider)
    provider.is_down = True
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await checking.verify(provider.token())
    assert len(provider.asked) == 1
    provider.is_down = False
    monkeypatch.setattr(oidc, "RETRY_S", -1.0)
    assert (await checking.verify(provider.token())).email == "ada@lab.org"


async def test_keys_from_a_file_need_no_network(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(provider.published()))
    provider.is_down = True
    assert (await verifier(provider, jwks_file=path).verify(provider.token())).email == "ada@lab.org"
    assert provider.asked == []
    path.write_text("no JSON")
    with pytest.raises(UpstreamUnavailable):
        await verifier(provider, jwks_file=path).verify(provider.token())


async def test_the_metadata_of_another_issuer_are_not_taken(provider: Provider) -> None:
    with pytest.raises(UpstreamUnavailable):
        await verifier(provider, issuer=f"{provider.issuer}/tenant").verify(provider.token())
