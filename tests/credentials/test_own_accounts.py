"""Service accounts that datasets bring themselves: for their own Google buckets alone, and shown to nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google.auth.jwt
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.backends.wkw_files import write_layer
from tests.credentials.closed import NOT_GRANTED, SECRET, VOXELS, account_key, write_key
from tests.doors import Door, door
from wkdvid.backends.opening import NO_SECRETS, Opener
from wkdvid.backends.registry import Backends
from wkdvid.core.catalog_store import write_document
from wkdvid.core.credentials import Credential, Credentials, anonymous_access
from wkdvid.core.guard import GOOGLE_TOKENS, Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.core.own_accounts import files_of, put_away
from wkdvid.core.secrets import Secrets
from wkdvid.core.volume import Volume
from wkdvid.errors import (
    AuthRejected,
    InvalidEntry,
    InvalidRequest,
    WkdvidError,
)
from wkdvid.inspection.inspector import Inspector


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
