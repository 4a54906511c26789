"""Which names, paths and hosts a request or a dataset may use (guards.md S3-S9, S18).

The checks hold for the moment they are made: run them again at each opening, since links and DNS records change.
TensorStore resolves hosts by itself, so a network of untrusted users needs an egress filter as well (decisions.md 27).
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urljoin, urlsplit

from wkdvid.core.credentials import ANONYMOUS_S3, Credentials
from wkdvid.core.hosts import is_public, redirect_of, resolve
from wkdvid.core.service_account import ServiceAccount
from wkdvid.core.source import (
    MAX_LENGTH,
    UNPRINTABLE,
    Source,
    Through,
    bucket_source,
    file_source,
    quote_path,
    read_source,
    refuse_parents,
    shown,
)
from wkdvid.errors import InvalidRequest, UpstreamUnavailable

__all__ = ["ANONYMOUS_S3", "Guard", "Source", "check_name"]

NameKind: TypeAlias = Literal["organization", "dataset", "layer"]

ARRAY_DRIVERS = ("neuroglancer_precomputed", "zarr", "zarr2", "zarr3", "n5")
SPEC_MEMBERS = (
    "driver",
    "kvstore",
    "path",
    "scale_index",
    "scale_metadata",
    "multiscale_metadata",
    "metadata",
    "transform",
)
KVSTORE_MEMBERS = {
    "file": ("driver", "path"),
    "http": ("driver", "base_url", "path"),
    "gcs": ("driver", "bucket", "path"),
    "s3": ("driver", "bucket", "path"),
}
MAX_REDIRECTS = 3
NO_CREDENTIALS = Credentials()
GOOGLE_TOKENS = frozenset(
    {
        "https://oauth2.googleapis.com/token",
        "https://accounts.google.com/o/oauth2/token",
        "https://www.googleapis.com/oauth2/v4/token",
    }
)
"""Where keys of service accounts, of today and of earlier years, say that tokens are made."""

_NAME = re.compile(r"[A-Za-z0-9_.$@ -]{1,128}")


def check_name(kind: NameKind, text: str) -> str:
    """Return ``text``, already percent-decoded, if it can name an organization, dataset or layer (decisions.md 1).

    Raises:
        InvalidRequest: it cannot.
    """
    spaces = kind != "layer"
    fits = _NAME.fullmatch(text) and not text.startswith(".") and ".." not in text and text.strip() == text
    if fits and (spaces or " " not in text):
        return text
    characters = "A-Z a-z 0-9 _ . $ @ -" + (" and space" if spaces else "")
    raise InvalidRequest(
        f"{kind}: {text[:140]!r} is not a name: 1 to 128 of {characters}, with no leading dot, no '..'"
        + (" and no space at either end" if spaces else "")
    )


class Guard:
    """Makes checked sources out of text, keys and specs that users or their files give."""

    def __init__(
        self,
        file_roots: tuple[Path, ...],
        http_hosts: frozenset[str],
        credentials: Credentials = NO_CREDENTIALS,
    ) -> None:
        """Take what the operator allows.

        Args:
            file_roots: Directories that file sources may lie in. The first, the data directory, is where relative
                paths begin. None at all: no file source.
            http_hosts: ``host`` or ``host:port`` that may be named by http and may have a private address.
            credentials: What is sent along to which address.
        """
        self._roots = tuple(Path(os.path.realpath(root)) for root in file_roots)
        names = [Path(root.name if i else "") for i, root in enumerate(file_roots)]
        spellings = (*(root.absolute() for root in file_roots), *self._roots)
        self._shown_roots = tuple(zip(spellings, names * 2, strict=True))
        self._hosts = frozenset(host.lower() for host in http_hosts)
        self._credentials = credentials
        self.through: Through | None = None
        """What sources are read through, but for those on disk."""

    def kept_by(self, through: Through) -> Guard:
        """The same guard for sources that are read through what keeps them."""
        kept = copy.copy(self)
        kept.through = through
        return kept

    def with_own(self, account: Callable[[str], ServiceAccount]) -> Guard:
        """The same guard for a dataset with an account of its own, as ``Credentials.with_own``."""
        own = copy.copy(self)
        own._credentials = self._credentials.with_own(account)
        return own

    def check_token_address(self, text: str) -> None:
        """
        Raises:
            InvalidRequest: tokens of datasets' own accounts are made at Google, or at hosts that the operator lists.
        """
        source = read_source(text)
        if text not in GOOGLE_TOKENS and not (source.is_http and self._is_listed(source)):
            raise InvalidRequest(
                "credentials: token_uri is none of Google's; the operator can list its host in sources.http_hosts"
            )

    def local_path(self, path: str | Path) -> Path:
        """The real path, all links followed, of something that lies in one of the roots.

        Raises:
            InvalidRequest: it lies outside; the message holds nothing but the given text.
        """
        return self._inside(path, str(path))

    def parse_source(self, text: str) -> Source:
        """Read a source as users write it (``read_source``). Whether its host may be asked is up to ``check_host``.

        Raises:
            InvalidRequest: it cannot be read, or is a path outside the roots.
        """
        return self._admit(read_source(text), text)

    async def check_host(self, source: Source) -> None:
        """Refuse an http(s) host that is not listed and not wholly on the public internet; others pass.

        Buckets pass: their hosts are the provider's, or the endpoint that the operator names. For those of Google
        the tokens are made that they are asked with. What cannot be judged now passes where the source is kept, and is
        not asked then.

        Raises:
            InvalidRequest: http, or an address that is private, to a host that is not in ``sources.http_hosts``.
            UpstreamUnavailable: the name cannot be resolved, or there is no token.
            AuthRejected: the key to be used for a token is not accepted.
        """
        through = source.access.through
        try:
            await self._check_host(source)
        except UpstreamUnavailable as error:
            if through is None:
                raise
            through.bar(source, str(error))
        else:
            if through is not None:
                through.bar(source, "")

    async def _check_host(self, source: Source) -> None:
        await self._credentials.prepare(source)
        if not source.is_http or self._is_listed(source):
            return
        host, port = source.host
        if source.scheme == "http":
            raise InvalidRequest(f"source: http to {host!r} is refused; use https, or list it in sources.http_hosts")
        if not all(is_public(address) for address in await resolve(host, port)):
            raise InvalidRequest(
                f"source: {host!r} has an address that is not on the public internet; list it in sources.http_hosts"
            )

    def child(self, source: Source, key: str) -> Source:
        """The folder that a source's own metadata names by a relative ``key``, which may legally hold ``..``.

        Raises:
            InvalidRequest: it leaves the roots (files), the origin (URLs) or the bucket.
        """
        if UNPRINTABLE.search(key) or "\\" in key or "://" in key or key.startswith("/"):
            raise InvalidRequest(f"source: key {key[:140]!r} is not a relative path")
        path = source.joined(key)
        if path is None:
            raise InvalidRequest(f"source: key {key[:140]!r} leads out of the source's store")
        label = f"{source.label}{key}/" if source.label and key else source.label
        return replace(self._admit(replace(source, path=path), key), label=label)

    def check_spec(self, spec: Mapping[str, object]) -> dict[str, object]:
        """Turn a user's TensorStore spec into one that can do no more than read the array of a checked source.

        Returns:
            A new spec, its ``path`` merged into ``kvstore``. ``spec_source`` gives what ``check_host`` has to see.

        Raises:
            InvalidRequest: a driver, kvstore or member that is not offered, or a place that is not allowed.
        """
        kept = {key: value for key, value in spec.items() if key not in ("kvstore", "path")}
        return {**kept, "kvstore": self.spec_source(spec).kvstore}

    def spec_source(self, spec: Mapping[str, object]) -> Source:
        """The folder that a user's TensorStore spec reads; checks and errors as in ``check_spec``."""
        _only_members("spec", spec, SPEC_MEMBERS)
        if spec.get("driver") not in ARRAY_DRIVERS:
            raise InvalidRequest(f"spec.driver: not offered; one of {', '.join(ARRAY_DRIVERS)}")
        kvstore = spec.get("kvstore")
        if isinstance(kvstore, str):
            source = self.parse_source(kvstore)
        elif isinstance(kvstore, Mapping):
            source = self._kvstore_source(kvstore)
        else:
            raise InvalidRequest("spec.kvstore: missing; a URL, or an object with 'driver'")
        return self.child(source, _text_member("spec", spec, "path"))

    async def follow_redirects(self, source: Source, probe_key: str) -> Source:
        """Where an http(s) source answers, after up to 3 redirects of ``probe_key``, each checked like a new source.

        It keeps its name. Chunk reads follow none, so this is done once, at registration. Other sources are returned as
        they are.

        Raises:
            InvalidRequest: too many redirects, one to a place that is not allowed, or one to another key.
            UpstreamUnavailable: a host does not answer.
        """
        here = source
        for _ in range(MAX_REDIRECTS + 1):
            await self.check_host(here)
            location = await self._location(here, probe_key, source.name)
            if location is None:
                return here if here is source else replace(here, format_hint=source.format_hint, label=source.name)
            here = self._moved(here, probe_key, location)
        raise InvalidRequest(f"source: {source.url!r} is redirected more than {MAX_REDIRECTS} times")

    @staticmethod
    async def _location(here: Source, probe_key: str, name: str) -> str | None:
        """Where to a source is redirected. What is sent along is granted for this hop: the next has its own."""
        if not here.is_http:
            return None

        async def ask() -> bytes:
            location = await redirect_of(here.address_of(probe_key), f"source: {name!r}", here.access.headers())
            return json.dumps(location).encode()

        told: str | None = json.loads(await here.remembered(f"location of {probe_key}", ask) or b"null")
        return told

    def _inside(self, path: str | Path, given: str) -> Path:
        if self._roots and not UNPRINTABLE.search(str(path)):
            real = Path(os.path.realpath(self._roots[0] / path))
            if any(real.is_relative_to(root) for root in self._roots):
                return real
        raise InvalidRequest(
            f"source: {given[:MAX_LENGTH]!r} is outside the directories that sources may name;"
            " the operator can add one to sources.file_roots"
        )

    def _admit(self, source: Source, given: str) -> Source:
        if source.scheme == "file":
            real = self._inside(source.path, given)
            return replace(source, path=f"{real}/".replace("//", "/"), label=self._label(source.path))
        return replace(source, access=replace(self._credentials.access(source), through=self.through))

    def _label(self, path: str) -> str:
        """A file source as anybody may see it: relative to the data directory, or beginning with its root's name."""
        if not path.startswith("/"):
            return path
        for root, name in self._shown_roots:
            if Path(path).is_relative_to(root):
                return f"{name / Path(path).relative_to(root)}/"
        return f".../{Path(path).name}/"

    def _is_listed(self, source: Source) -> bool:
        host, port = source.host
        bracketed = f"[{host}]" if ":" in host else host
        return not self._hosts.isdisjoint({host, bracketed, f"{bracketed}:{port}"})

    def _kvstore_source(self, kvstore: Mapping[str, object]) -> Source:
        driver = kvstore.get("driver")
        if not isinstance(driver, str) or driver not in KVSTORE_MEMBERS:
            raise InvalidRequest(f"spec.kvstore.driver: not offered; one of {', '.join(KVSTORE_MEMBERS)}")
        _only_members("spec.kvstore", kvstore, KVSTORE_MEMBERS[driver])
        path = _text_member("spec.kvstore", kvstore, "path")
        if driver == "file":
            return self._admit(file_source(path), path)
        if driver == "http":
            return self._base_url_source(_text_member("spec.kvstore", kvstore, "base_url"), path)
        bucket = _text_member("spec.kvstore", kvstore, "bucket")
        return self._admit(bucket_source("gs" if driver == "gcs" else "s3", bucket, path), path)

    def _base_url_source(self, base_url: str, path: str) -> Source:
        source = self.parse_source(base_url)
        if not source.is_http:
            raise InvalidRequest("spec.kvstore.base_url: not an http or https URL")
        refuse_parents(path)
        return self.child(source, path.lstrip("/"))

    def _moved(self, source: Source, probe_key: str, location: str) -> Source:
        """The source that a redirect of its ``probe_key`` leads to, before ``check_host``."""
        try:
            parts = urlsplit(urljoin(source.address_of(probe_key), location))
        except ValueError:
            raise InvalidRequest(f"source: {source.url!r} is redirected to what is not a URL") from None
        if parts.scheme not in ("http", "https"):
            raise InvalidRequest(f"source: {source.url!r} is redirected to another scheme than http or https")
        if not parts.path.endswith(f"/{quote_path(probe_key)}"):
            raise InvalidRequest(f"source: {source.url!r} is redirected to {shown(parts.path)!r}, not to a {probe_key}")
        base = parts._replace(path=parts.path.removesuffix(quote_path(probe_key)))
        return self.parse_source(base.geturl())


def _only_members(where: str, given: Mapping[str, object], allowed: tuple[str, ...]) -> None:
    """Name, but do not show, a member that is not allowed: it may hold a credential."""
    for key in given:
        if key not in allowed:
            raise InvalidRequest(f"{where}: {str(key)[:64]!r} is not allowed there; only {', '.join(allowed)}")


def _text_member(where: str, given: Mapping[str, object], key: str) -> str:
    value = given.get(key, "")
    if not isinstance(value, str):
        raise InvalidRequest(f"{where}.{key}: not a string")
    return value
