"""A volume, and a Google bucket that holds it, for those alone who show the token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.credentials.closed import SECRET, VOXELS
from tests.doors import Door, door
from tests.volumes import write_precomputed


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the folder ``em``."""
    root = tmp_path_factory.mktemp("closed")
    write_precomputed(root / "em", [((1, 1, 1), VOXELS)])
    return root


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def bucket(volume: Path, tmp_path: Path) -> Iterator[Door]:
    """``gs://bucket/em`` over HTTP, for who has the token."""
    (tmp_path / "bucket").symlink_to(volume)
    with door(tmp_path, Authorization=f"Bearer {SECRET}") as server:
        yield server
