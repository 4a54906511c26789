"""Service accounts that the operator grants for Google buckets, as the store and the maker of tokens see it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google.auth.jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.credentials.closed import NOT_GRANTED, SECRET, check, opened, refusal, write_key
from tests.doors import Door, door
from wkdvid.core.credentials import Credential, Credentials, anonymous_access
from wkdvid.core.guard import Guard
from wkdvid.errors import (
    UpstreamUnavailable,
)

GOOGLE = "https://oauth2.googleapis.com/token"


def google_credentials(server: Door, file: Path, prefix: str = "gs://bucket/em") -> Credentials:
    environ = {"TENSORSTORE_GCS_HTTP_URL": server.url}
    granted = Credential(prefix=prefix, service_account=file)
    return Credentials([granted], anonymous_access(environ), environ)


async def test_service_account(bucket: Door, tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    asked: list[Mapping[str, Any]] = []

    def token(assertion: str) -> str:
        asked.append(google.auth.jwt.decode(assertion, certs=public, audience=GOOGLE))  # type: ignore[no-untyped-call]
        return SECRET

    bucket.token = token
    credentials = google_credentials(bucket, write_key(tmp_path / "key.json", bucket, key))
    await check(credentials, "gs://bucket/em")
    await check(credentials, "gs://bucket/em")
    assert [(one["iss"], one["scope"]) for one in asked] == [
        ("em@lab.iam.gserviceaccount.com", "https://www.googleapis.com/auth/devstorage.read_only")
    ]
    assert NOT_GRANTED in await refusal(credentials, "gs://bucket/other")
    assert "Authorization" not in bucket.seen[-1][1]


async def test_an_old_token_is_renewed(
    bucket: Door, tmp_path: Path, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = iter(["old", SECRET])
    bucket.token = lambda assertion: next(tokens)
    credentials = google_credentials(bucket, write_key(tmp_path / "key.json", bucket, key))
    await refusal(credentials, "gs://bucket/em")
    monkeypatch.setattr("wkdvid.core.service_account.LEAST_LEFT", datetime.timedelta(minutes=61))
    await check(credentials, "gs://bucket/em")


async def test_service_account_that_is_not_accepted(bucket: Door, tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    file = write_key(tmp_path / "key.json", bucket, key)
    credentials = google_credentials(bucket, file)
    assert "is not accepted" in await refusal(credentials, "gs://bucket/em")
    for text in ("{", "[]", f'{{"private_key": "{SECRET}"}}'):
        file.write_text(text)
        assert await refusal(credentials, "gs://bucket/em") == (
            "precomputed.lab.data.layers.layer: gs://bucket/em/: "
            "the service account that is granted for it is not accepted"
        )


async def test_nobody_gives_tokens(bucket: Door, tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    with door(tmp_path) as closed:
        file = write_key(tmp_path / "key.json", closed, key)
    with pytest.raises(UpstreamUnavailable, match="gives no token"):
        await opened(google_credentials(bucket, file), "gs://bucket/em")


async def test_without_a_grant_google_is_asked_anonymously(bucket: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the process has an identity there."""
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", SECRET)
    environ = {"TENSORSTORE_GCS_HTTP_URL": bucket.url}
    anonymous = Credentials(otherwise=anonymous_access(environ), environ=environ)
    assert NOT_GRANTED in await refusal(anonymous, "gs://bucket/em")
    bucket.wanted = {}
    await check(anonymous, "gs://bucket/em")
    assert not any("Authorization" in headers for _, headers in bucket.seen)


async def test_the_default_chain_is_granted_by_prefix(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Credentials([Credential(prefix="gs://bucket/em", environment=True)], anonymous_access({}), {})
    guard = Guard((), frozenset(), driver)
    assert guard.parse_source("gs://bucket/em/a").kvstore == {"driver": "gcs", "bucket": "bucket", "path": "em/a/"}
    other = guard.child(guard.parse_source("gs://bucket/em"), "../other")
    assert other.kvstore == {"driver": "http", "base_url": "https://storage.googleapis.com/bucket/other/"}
