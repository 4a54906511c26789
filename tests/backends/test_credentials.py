"""Which credentials go to which address, as the stores see it: S3, Google Storage and web servers of our own."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import google.auth.jwt
import numpy as np
import pytest
import requests
import zarr
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.backends import test_n5
from tests.backends.s3 import s3_server
from tests.backends.wkw_files import write_layer
from tests.doors import Door, door
from tests.volumes import write_precomputed
from wkdvid.backends.opening import NO_SECRETS, Opener
from wkdvid.backends.registry import Backends
from wkdvid.core.catalog_store import write_document
from wkdvid.core.credentials import Credential, Credentials, anonymous_access, own_access
from wkdvid.core.guard import GOOGLE_TOKENS, Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.core.own_accounts import files_of, put_away
from wkdvid.core.secrets import Secrets
from wkdvid.core.volume import Volume
from wkdvid.errors import (
    AuthRejected,
    BackendError,
    InvalidEntry,
    InvalidRequest,
    UpstreamUnavailable,
    WkdvidError,
)
from wkdvid.inspection.inspector import Inspector
from wkdvid.testing.volume_suite import open_with

VOXELS = np.arange(8 * 8 * 8, dtype=np.uint16).reshape(8, 8, 8)
SECRET = "s3cr3t"
GOOGLE = "https://oauth2.googleapis.com/token"
NOT_GRANTED = "no credentials of the server are granted for it (sources.credentials)"


def backends(credentials: Credentials, *hosts: str) -> Backends:
    return Backends(Opener(Guard((), frozenset(hosts), credentials), Limits(), pool_bytes=MIB, deadline_s=20))


async def opened(credentials: Credentials, url: str, *hosts: str) -> Volume:
    (volume,) = await open_with(backends(credentials, *hosts), "precomputed", {"source": url})
    return volume


async def check(credentials: Credentials, url: str, *hosts: str) -> None:
    """Metadata and chunks can be read."""
    volume = await opened(credentials, url, *hosts)
    voxels = await volume.read(0, volume.info.levels[0].extent)
    np.testing.assert_array_equal(voxels[0], VOXELS)


async def refusal(credentials: Credentials, url: str, *hosts: str) -> str:
    with pytest.raises(AuthRejected) as refused:
        await opened(credentials, url, *hosts)
    assert SECRET not in str(refused.value)
    return str(refused.value)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the folder ``em``."""
    root = tmp_path_factory.mktemp("closed")
    write_precomputed(root / "em", [((1, 1, 1), VOXELS)])
    return root


# ---- S3 -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClosedS3:
    """Buckets ``lab`` and ``other`` that one user may read, whose signature is checked."""

    endpoint: str
    key: str
    secret: str

    def environ(self, **more: str) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1", **more}


@pytest.fixture(scope="module")
def closed_s3(volume: Path) -> Iterator[ClosedS3]:
    with s3_server() as (endpoint, client):
        for bucket in ("lab", "other"):
            client.create_bucket(Bucket=bucket)
            for file in (volume / "em").rglob("*"):
                if file.is_file():
                    client.put_object(Bucket=bucket, Key=str(file.relative_to(volume)), Body=file.read_bytes())
        for folder in ("e", "em2"):  # moto fails where it should refuse to say that there is no object
            client.put_object(Bucket="lab", Key=f"{folder}/info", Body=b"{}")
        admin = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
        iam: Any = boto3.client("iam", endpoint_url=endpoint, **admin)
        iam.create_user(UserName="reader")
        statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        iam.close()
        requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=30)  # from now on signatures are checked
        yield ClosedS3(endpoint, key["AccessKeyId"], key["SecretAccessKey"])
        requests.post(f"{endpoint}/moto-api/reset-auth", data=b"inf", timeout=30)


@pytest.fixture
def aws(closed_s3: ClosedS3, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment, set for TensorStore, with keys."""
    environ = closed_s3.environ(AWS_ACCESS_KEY_ID=closed_s3.key, AWS_SECRET_ACCESS_KEY=closed_s3.secret)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


async def test_s3_of_the_operator_alone(aws: dict[str, str]) -> None:
    for bucket in ("lab", "other"):
        await check(Credentials(otherwise=own_access(aws)), f"s3://{bucket}/em")


async def test_s3_keys_go_to_what_is_granted(aws: dict[str, str]) -> None:
    granted = Credential(prefix="s3://lab/em", environment=True)
    credentials = Credentials([granted], anonymous_access(aws), aws)
    await check(credentials, "s3://lab/em")
    for url in ("s3://other/em", "s3://lab/e", "s3://lab/em2"):
        assert NOT_GRANTED in await refusal(credentials, url)


async def test_s3_wrong_keys_are_refused(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    credentials = Credentials([Credential(prefix="s3://lab", environment=True)], anonymous_access(aws), aws)
    assert "granted" not in await refusal(credentials, "s3://lab/em")


async def test_s3_profile_and_endpoint(closed_s3: ClosedS3, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[em]\naws_access_key_id = {closed_s3.key}\naws_secret_access_key = {closed_s3.secret}\n")
    place = Credential(prefix="s3://other/", endpoint=closed_s3.endpoint, region="us-east-1")
    known = replace(place, prefix="s3://lab/", profile="em")
    unknown = replace(place, prefix="s3://lab/em2/", profile="missing")
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    credentials = Credentials([place, known, unknown], anonymous_access(environ), environ)
    await check(credentials, "s3://lab/em")
    assert "has not the credentials" in await refusal(credentials, "s3://lab/em2")
    await refusal(credentials, "s3://other/em")


def test_requester_pays_is_said_to_the_store() -> None:
    granted = Credential(prefix="s3://lab", environment=True, requester_pays=True)
    credentials = Credentials([granted], anonymous_access({}), {"AWS_ACCESS_KEY_ID": "id"})
    store = Guard((), frozenset(), credentials).parse_source("s3://lab/em").kvstore
    assert (store["requester_pays"], store["aws_credentials"]) == (True, {"type": "environment"})


# ---- Web servers ----------------------------------------------------------------------------------------------------


async def test_bearer_and_headers_of_a_host(volume: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k3y\n")
    with door(volume, Authorization=f"Bearer {SECRET}", X_Key="k3y") as server:
        granted = Credential(prefix=f"{server.url}/em", bearer="$TOKEN", headers={"X-Key": f"file:{key}"})
        credentials = Credentials([granted], anonymous_access({}), {"TOKEN": SECRET})
        await check(credentials, f"{server.url}/em", server.host)
        assert {path.split("/")[1] for path, _ in server.seen} > {"info"}
        before = len(server.seen)
        assert NOT_GRANTED in await refusal(credentials, f"{server.url}/em2", server.host)
        assert not any({"Authorization", "X-Key"} & headers.keys() for _, headers in server.seen[before:])


async def test_every_backend_sends_them(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=VOXELS.shape, chunks=(8, 8, 4), dtype=VOXELS.dtype)
    array[:] = VOXELS
    test_n5.write_array(tmp_path, "a.n5", VOXELS[None])
    with door(tmp_path, Authorization=f"Bearer {SECRET}") as server:
        granted = Credential(prefix=server.url, bearer="$TOKEN")
        backends_ = backends(Credentials([granted], anonymous_access({}), {"TOKEN": SECRET}), server.host)
        spec = {"driver": "zarr3", "kvstore": f"{server.url}/a.zarr"}
        sources = {"zarr": f"{server.url}/a.zarr", "n5": f"{server.url}/a.n5", "tensorstore": spec}
        for backend, source in sources.items():
            (volume,) = await open_with(backends_, backend, {"source": source})
            voxels = (await volume.read(0, volume.info.levels[0].extent))[0]
            np.testing.assert_array_equal(voxels, VOXELS if backend == "n5" else VOXELS.T)


async def test_the_longest_prefix_counts(volume: Path) -> None:
    with door(volume, X_Key="em") as server:
        granted = [
            Credential(prefix=f"{server.url}{path}", headers={"X-Key": f"${name}"})
            for path, name in (("", "HOST"), ("/em", "EM"), ("/e", "E"))
        ]
        credentials = Credentials(granted, anonymous_access({}), {"HOST": "host", "EM": "em", "E": "e"})
        await check(credentials, f"{server.url}/em", server.host)
        await refusal(credentials, f"{server.url}/other", server.host)
        assert server.seen[-1][1]["X-Key"] == "host"


async def test_a_redirect_to_another_host_takes_no_credentials_along(volume: Path) -> None:
    with door(volume) as end, door(volume) as start:
        start.redirect_to = end.url
        granted = Credential(prefix=start.url, bearer="$TOKEN")
        credentials = Credentials([granted], anonymous_access({}), {"TOKEN": SECRET})
        await check(credentials, f"{start.url}/em", start.host, end.host)
        assert [headers["Authorization"] for _, headers in start.seen] == [f"Bearer {SECRET}"]
        assert len(end.seen) > 1
        assert not any("Authorization" in headers for _, headers in end.seen)


async def test_a_secret_that_is_gone_is_not_left_out(volume: Path) -> None:
    """Else the source would be asked for what is meant for others."""
    with door(volume) as server:
        credentials = Credentials([Credential(prefix=server.url, bearer="$TOKEN")], anonymous_access({}), {})
        assert "is not there any more" in await refusal(credentials, f"{server.url}/em", server.host)
        assert server.seen == []


async def test_credentials_are_shown_nowhere(volume: Path) -> None:
    with door(volume, Authorization=f"Bearer {SECRET}") as server:
        granted = Credential(prefix=server.url, bearer="$TOKEN")
        credentials = Credentials([granted], anonymous_access({}), {"TOKEN": SECRET})
        guard = Guard((), frozenset({server.host}), credentials)
        source = guard.parse_source(f"{server.url}/em")
        shown = f"{source} {source.name} {source.url} {guard.child(source, 's0')!r} {granted} {source.access}"
        assert SECRET not in shown
        assert SECRET in str(source.kvstore)
        whole = await opened(credentials, f"{server.url}/em", server.host)
        server.folder = volume / "nothing"
        (volume / "nothing").mkdir(exist_ok=True)
        server.wanted = {"Authorization": "another"}
        for _ in range(2):
            with pytest.raises(BackendError) as failed:
                await whole.read(0, whole.info.levels[0].extent)
            assert SECRET not in str(failed.value)


# ---- Google Storage -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def bucket(volume: Path, tmp_path: Path) -> Iterator[Door]:
    """``gs://bucket/em`` over HTTP, for who has the token."""
    (tmp_path / "bucket").symlink_to(volume)
    with door(tmp_path, Authorization=f"Bearer {SECRET}") as server:
        yield server


def write_key(file: Path, server: Door, key: rsa.RSAPrivateKey) -> Path:
    file.write_text(json.dumps(account_key(server, key)))
    return file


def account_key(server: Door, key: rsa.RSAPrivateKey) -> dict[str, str]:
    """The JSON of a service account, as Google's console gives it."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "em@lab.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": private.decode(),
        "token_uri": f"{server.url}/token",
    }


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


# ---- Accounts of datasets' own --------------------------------------------------------------------------------------


def own_backends(
    server: Door, secrets: Secrets = NO_SECRETS, keys: Path | None = None, granted: Sequence[Credential] = ()
) -> Backends:
    environ = {"TENSORSTORE_GCS_HTTP_URL": server.url}
    guard = Guard((), frozenset({server.host}), Credentials(granted, anonymous_access(environ), environ))
    variables = {"KEY_ID": "7"}
    opener = Opener(guard, Limits(), pool_bytes=MIB, deadline_s=20, secrets=secrets, variables=variables, keys=keys)
    return Backends(opener)


async def own_volume(
    backends: Backends, credentials: object, source: str = "gs://bucket/em", of_layer: object = None
) -> Volume:
    """That of the dataset ``lab/own``."""
    layer = {"source": source, "credentials": of_layer}
    document = {"neuroglancer": {"lab": {"own": {"layers": {"em": layer}, "credentials": credentials}}}}
    entries, problems = backends.parse(document)
    if problems:
        raise InvalidEntry(problems)
    assert SECRET not in repr(entries)
    assert "PRIVATE KEY" not in repr(entries)
    (opened,) = await backends.open_layers(entries[0])
    return opened.volume


async def own_refusal(backends: Backends, credentials: object, source: str = "gs://bucket/em") -> str:
    with pytest.raises(WkdvidError) as refused:
        await own_volume(backends, credentials, source)
    assert "PRIVATE KEY" not in str(refused.value)
    return str(refused.value)


async def check_volume(volume: Volume) -> None:
    np.testing.assert_array_equal((await volume.read(0, volume.info.levels[0].extent))[0], VOXELS)


async def test_key_of_a_dataset(bucket: Door, key: rsa.RSAPrivateKey) -> None:
    """It is for this dataset's Google buckets alone; a layer may have another."""
    bucket.token = lambda assertion: SECRET
    backends = own_backends(bucket)
    account = account_key(bucket, key)
    await check_volume(await own_volume(backends, account))
    await check_volume(await own_volume(backends, None, of_layer=account))
    assert NOT_GRANTED in await own_refusal(backends, None)
    since = len(bucket.seen)
    assert NOT_GRANTED in await own_refusal(backends, account, f"{bucket.url}/bucket/em")
    assert not any("Authorization" in headers for _, headers in bucket.seen[since:])


async def test_layers_are_found_with_the_key(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    write_layer(tmp_path / "bucket" / "d", VOXELS[None])
    with door(tmp_path, Authorization=f"Bearer {SECRET}") as server:
        server.token = lambda assertion: SECRET
        backends = own_backends(server)
        entry = {"source": "gs://bucket/d", "credentials": account_key(server, key)}
        entries, _ = backends.parse({"wkw": {"lab": {"own": entry}}})
        assert [one.volume.info.name for one in await backends.open_layers(entries[0])] == ["em"]
        found = await Inspector(backends._opener).inspect({"backend": "wkw", **entry})
        assert [layer.info.name for layer in found.layers] == ["em"]


async def test_the_datasets_key_goes_before_what_the_operator_grants(
    bucket: Door, tmp_path: Path, key: rsa.RSAPrivateKey
) -> None:
    issuers: list[str] = []

    def token(assertion: str) -> str:
        issuers.append(google.auth.jwt.decode(assertion, verify=False)["iss"])  # type: ignore[no-untyped-call]
        return SECRET

    bucket.token = token
    granted = Credential(prefix="gs://bucket", service_account=write_key(tmp_path / "key.json", bucket, key))
    backends = own_backends(bucket, granted=[granted])
    await check_volume(await own_volume(backends, {**account_key(bucket, key), "client_email": "own"}))
    assert issuers == ["own"]
    await check_volume(await own_volume(backends, None))
    assert issuers == ["own", "em@lab.iam.gserviceaccount.com"]


async def test_what_was_read_with_a_key_is_for_nobody_else(bucket: Door, key: rsa.RSAPrivateKey) -> None:
    """Although both read the same chunks through the same pool."""
    bucket.token = lambda assertion: SECRET
    backends = own_backends(bucket)
    bucket.wanted = {}
    anonymous = await own_volume(backends, None)
    bucket.wanted = {"Authorization": f"Bearer {SECRET}"}
    own = await own_volume(backends, account_key(bucket, key))
    await check_volume(own)
    since = len(bucket.seen)
    await check_volume(own)
    assert len(bucket.seen) == since, "the pool has it"
    with pytest.raises(AuthRejected):
        await check_volume(anonymous)


async def test_variables_in_a_key(bucket: Door, key: rsa.RSAPrivateKey) -> None:
    ids: list[str] = []

    def token(assertion: str) -> str:
        ids.append(google.auth.jwt.decode_header(assertion)["kid"])  # type: ignore[no-untyped-call]
        return SECRET

    bucket.token = token
    await check_volume(
        await own_volume(own_backends(bucket), {**account_key(bucket, key), "private_key_id": "$KEY_ID"})
    )
    assert ids == ["7"]


async def test_reference_to_a_key(bucket: Door, tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    bucket.token = lambda assertion: SECRET
    file = f"file:{write_key(tmp_path / 'key.json', bucket, key)}"
    environ = {"KEY": json.dumps(account_key(bucket, key)), "NONE": SECRET, "LIST": "[]"}
    granted = {name: ["gs://bucket/em"] for name in (file, "$KEY", "$NONE", "$LIST")}
    backends = own_backends(bucket, Secrets(granted, environ))
    for reference in (file, "$KEY", "${KEY}"):
        await check_volume(await own_volume(backends, reference))
        assert f"{reference} is not granted for gs://bucket/other/" in (
            await own_refusal(backends, reference, "gs://bucket/other")
        ).replace("$KEY", reference)
    for reference in ("$NONE", "$LIST"):
        assert (await own_refusal(backends, reference)).endswith("not the JSON key of a Google service account")
    assert "is not granted" in await own_refusal(backends, "$OTHER")


async def test_metadata_does_not_lead_a_reference_out_of_its_grant(bucket: Door, key: rsa.RSAPrivateKey) -> None:
    backends = own_backends(
        bucket, Secrets({"$KEY": ["gs://bucket/em"]}, {"KEY": json.dumps(account_key(bucket, key))})
    )
    ((entry,), _) = backends.parse(
        {"zarr": {"lab": {"own": {"layers": {"em": {"source": "gs://bucket/em"}}, "credentials": "$KEY"}}}}
    )
    guard = backends._opener.of(entry.layers[0]).guard
    inside = guard.child(guard.parse_source("gs://bucket/em"), "s0")
    assert inside.access.granted
    with pytest.raises(InvalidRequest, match="is not granted for gs://bucket/other/"):
        guard.child(inside, "../../other")


async def test_hosts_that_a_key_names_are_not_asked(bucket: Door, key: rsa.RSAPrivateKey) -> None:
    """In another universe google-auth would sign a token itself, which this bucket does not accept."""
    bucket.token = lambda assertion: SECRET
    account = {**account_key(bucket, key), "universe_domain": "lab.org", "project_id": "1"}
    await check_volume(await own_volume(own_backends(bucket), account))


async def test_where_a_datasets_tokens_are_made(bucket: Door, tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    """Else a key could have the server ask any address of its network."""
    account = account_key(bucket, key)
    with door(tmp_path) as other:
        for address in (f"{other.url}/token", "http://oauth2.googleapis.com/token", "https://oauth2.googleapis.com/x"):
            assert "token_uri is none of" in await own_refusal(own_backends(bucket), {**account, "token_uri": address})
        assert other.seen == []
    backends = own_backends(bucket)
    for address in GOOGLE_TOKENS:
        backends._opener.guard.check_token_address(address)


async def test_keys_that_are_put_away(bucket: Door, tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    bucket.token = lambda assertion: SECRET
    account = account_key(bucket, key)
    document: dict[str, Any] = {
        "n5": {"lab": {"layered": {"layers": {"em": {"credentials": account}, "other": 3}}, "odd": [], "plain": {}}},
        "neuroglancer": {"lab": {"own": {"layers": [], "credentials": account}}},
    }
    files = put_away(document)
    references = [
        document["n5"]["lab"]["layered"]["layers"]["em"]["credentials"],
        document["neuroglancer"]["lab"]["own"]["credentials"],
    ]
    assert "PRIVATE KEY" not in json.dumps(document)
    assert len(files) == 2
    assert files_of(document) == set(files)
    assert not put_away(document)
    for name, kept in files.items():
        write_document(tmp_path / name, kept)
    backends = own_backends(bucket, keys=tmp_path)
    await check_volume(await own_volume(backends, references[1]))
    gone = "the key of lab/own is not there any more"
    assert gone in await own_refusal(backends, references[0]), "it is another dataset's"
    assert gone in await own_refusal(own_backends(bucket), references[1])
    for text in ("{}", "{", json.dumps({**account, "client_email": "another"})):
        (tmp_path / references[1].rpartition("/")[2]).write_text(text)
        assert gone in await own_refusal(backends, references[1])


@pytest.mark.parametrize(
    "credentials",
    [
        3,
        [],
        {},
        "key",
        {"client_email": "a", "private_key": "PRIVATE KEY", "token_uri": 3},
        {"private_key": "PRIVATE KEY"},
    ],
)
async def test_credentials_that_are_none(bucket: Door, credentials: object) -> None:
    assert (await own_refusal(own_backends(bucket), credentials)).startswith(
        "neuroglancer.lab.own.credentials: expected the JSON key of a Google service account, with client_email,"
    )


async def test_key_of_a_dataset_that_is_not_accepted(bucket: Door, key: rsa.RSAPrivateKey) -> None:
    refused = await own_refusal(own_backends(bucket), {**account_key(bucket, key), "private_key": "PRIVATE KEY"})
    assert refused.endswith("lab/own: the service account that is granted for it is not accepted")
