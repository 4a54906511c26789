"""An S3 stand-in, one for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.backends.s3 import s3_server
from wkdvid.core.guard import ANONYMOUS_S3


@dataclass(frozen=True)
class S3:
    options: dict[str, object]
    """Of a TensorStore spec, as the operator's environment would make them."""
    upload: Callable[[Path], str]
    """Put a folder into a bucket of its own, for anyone to read; returns its URL, which ends in ``/``."""


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    buckets: list[str] = []
    with s3_server() as (endpoint, client):

        def upload(folder: Path) -> str:
            bucket = f"bucket-{len(buckets)}"
            buckets.append(bucket)
            client.create_bucket(Bucket=bucket)
            for path in folder.rglob("*"):
                if path.is_file():
                    key = f"data/{path.relative_to(folder)}"
                    client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), ACL="public-read")
            return f"s3://{bucket}/data/"

        yield S3({**ANONYMOUS_S3, "endpoint": endpoint, "aws_region": "us-east-1"}, upload)
