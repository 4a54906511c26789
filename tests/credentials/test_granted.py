"""Which of the operator's credentials go to which address, as the stores see it: S3, and web servers of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import requests
import zarr

from tests.backends import test_n5
from tests.backends.s3 import s3_server
from tests.credentials.closed import NOT_GRANTED, SECRET, VOXELS, backends, check, opened, refusal
from tests.doors import door
from wkdvid.core.credentials import Credential, Credentials, anonymous_access, own_access
from wkdvid.core.guard import Guard
from wkdvid.errors import (
    BackendError,
)
from wkdvid.testing.volume_suite import open_with

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
