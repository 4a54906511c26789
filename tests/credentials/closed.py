"""A volume that is shown to those alone who have the right credentials, and what others are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.doors import Door
from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.core.credentials import Credentials
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.core.volume import Volume
from wkdvid.errors import (
    AuthRejected,
)
from wkdvid.testing.volume_suite import open_with

VOXELS = np.arange(8 * 8 * 8, dtype=np.uint16).reshape(8, 8, 8)
SECRET = "s3cr3t"
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
