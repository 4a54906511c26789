"""Values by name."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from typing import Any

from wkdvid.client import decoding
from wkdvid.client.calls import JSON, Call, Reply, Steps, segment
from wkdvid.client.errors import InvalidArgument
from wkdvid.client.twins import E, Instance, operation


class KeyValue(Instance[E]):
    """An instance of type ``keyvalue``. DVID does not keep empty values apart from missing ones."""

    @operation
    def get(self, key: str) -> Steps[bytes]:
        """
        Raises:
            NotFound: there is no value.
        """
        return self.value(key)

    @operation
    def get_many(self, keys: Sequence[str]) -> Steps[dict[str, bytes]]:
        """Those of the values that there are, in one request."""
        return Call(
            action="read values",
            path=self.path("keyvalues"),
            query={"jsontar": "true"},
            body=json.dumps([_checked(key) for key in keys]).encode(),
            content_type=JSON,
            decode=_untarred,
        )

    @operation
    def has(self, key: str) -> Steps[bool]:
        decode = lambda reply: reply.status == 200  # noqa: E731
        return self._call("ask for a value", key, decode, method="HEAD", accepted=frozenset({200, 404}))

    @operation
    def put(self, key: str, value: bytes) -> Steps[None]:
        return self._call("write a value", key, decoding.nothing, method="POST", body=value)

    @operation
    def delete(self, key: str) -> Steps[None]:
        """It may be missing already."""
        return self._call("delete a value", key, decoding.nothing, method="DELETE")

    @operation
    def keys(self) -> Steps[list[str]]:
        """In the order of their bytes."""
        return Call(action="list keys", path=self.path("keys"), decode=decoding.json_of(list))

    @operation
    def keyrange(self, first: str, last: str) -> Steps[list[str]]:
        """Keys from ``first`` to ``last``, both included."""
        path = self.path("keyrange", _key(first), _key(last))
        return Call(action="list keys", path=path, decode=decoding.json_of(list))

    def value(self, key: str) -> Call[bytes]:
        return self._call("read a value", key, decoding.octets)

    def _call(self, action: str, key: str, decode: Any, **options: Any) -> Call[Any]:
        return Call(action=action, path=self.path("key", _key(key)), decode=decode, **options)


def _untarred(reply: Reply) -> dict[str, bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(reply.body), mode="r:") as archive:
            files = {member.name: archive.extractfile(member) for member in archive if member.size}
            return {name: file.read() for name, file in files.items() if file is not None}
    except tarfile.TarError as error:
        raise ValueError(f"tar: {error}") from error


def _key(key: str) -> str:
    return segment(_checked(key))


def _checked(key: str) -> str:
    """
    Raises:
        InvalidArgument: DVID would take another key for it: it cuts keys at slashes, whether encoded or not.
    """
    if not key or "/" in key or key in {".", ".."}:
        raise InvalidArgument(f"key {key!r}: one or more characters, no slash, neither '.' nor '..'")
    return key
