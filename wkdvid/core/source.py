"""What a source is: one folder of some store, and the ways to write it. ``core.guard`` decides which are allowed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias, get_args
from urllib.parse import SplitResult, quote, unquote, urlsplit

from wkdvid.errors import InvalidRequest

Scheme: TypeAlias = Literal["file", "http", "https", "gs", "s3"]

SCHEMES: Mapping[str, Scheme] = MappingProxyType({scheme: scheme for scheme in get_args(Scheme)})
DEFAULT_PORTS: Mapping[str, int] = MappingProxyType({"http": 80, "https": 443})
MAX_LENGTH = 4096
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

_FORMAT_PREFIX = re.compile(r"(precomputed|zarr|zarr2|zarr3|n5|wkw|tiff|boss)://(.*)")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_PATH_SAFE = "/!$&'()*+,;=:@~-._"


class Through(Protocol):
    """Keeps what sources have sent, and stands between them and who reads them."""

    def kvstore(self, source: Source) -> dict[str, object]:
        """TensorStore's spec of the source's folder as it is kept."""
        ...

    async def remembered(
        self, source: Source, name: str, fetch: Callable[[], Awaitable[bytes | None]], *, is_chunk: bool
    ) -> bytes | None:
        """What ``fetch`` gives, or has given while that is fresh, or while ``fetch`` raises UpstreamUnavailable.

        Args:
            name: What is fetched of the source.
            is_chunk: Voxels; else metadata, which is kept longer.
        Raises:
            BackendError: as ``fetch``.
        """
        ...

    def bar(self, source: Source, reason: str) -> None:
        """Do not ask the source's store: it could not be found out whether that is allowed. Empty: it is."""
        ...

    def doubt(self) -> None:
        """What was served just now is not what its metadata says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """By which right and which way a source is read: the operator's to say, for each address (``core.credentials``)."""

    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Members of TensorStore's spec of an S3 bucket: the endpoint, and where the credentials are."""
    endpoint: str | None = None
    """From where a Google bucket is read over HTTP; None: by TensorStore's driver, with the process's own identity."""
    headers: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    """Sent with each HTTP request. Asked for at each opening, since tokens expire; may raise AuthRejected."""
    granted: bool = False
    """Whether there are credentials for it: of the server, as the operator granted them, or of the dataset."""
    through: Through | None = field(default=None, repr=False)
    """What keeps what it sends; None: it is always asked itself."""


@dataclass(frozen=True, slots=True)
class Source:
    """A folder that may hold a volume. Backends get theirs from ``Guard``, which has checked it."""

    scheme: Scheme
    authority: str
    """Host and port (http, https; no userinfo) or bucket (gs, s3); empty for files."""
    path: str
    """Ends in ``/``, or is empty. Files: a path (real, where from ``Guard``). Buckets: a key. URLs: percent-encoded."""
    query: str = field(default="", repr=False)
    """Of a URL, sent with every read; may hold a signature, so it is never shown."""
    format_hint: str | None = None
    """The format, such as ``precomputed``, where it stood before the address."""
    label: str = field(default="", compare=False)
    """What stands for the address in ``name``, where that is not for everybody: the real path of a file."""
    access: Access = field(default=Access(), repr=False, compare=False)

    @property
    def name(self) -> str:
        """The source as anybody may see it: without secrets, and a file without its real path."""
        return self.label or self.url

    @property
    def url(self) -> str:
        """The source without secrets. Of a file it holds the real path: for the operator alone."""
        if self.is_http:
            return f"{self.scheme}://{self.authority}{self.path}"
        if self.scheme == "file":
            return f"file://{quote_path(self.path)}"
        return f"{self.scheme}://{self.authority}/{quote_path(self.path)}"

    @property
    def kvstore(self) -> dict[str, object]:
        """TensorStore's JSON spec of the folder, as it is to be read: from where it is kept, else its ``origin``."""
        through = self.access.through
        return self.origin if through is None else through.kvstore(self)

    async def remembered(
        self, name: str, fetch: Callable[[], Awaitable[bytes | None]], *, is_chunk: bool = False
    ) -> bytes | None:
        """As ``Through``; without it, what ``fetch`` gives."""
        through = self.access.through
        if through is None:
            return await fetch()
        return await through.remembered(self, name, fetch, is_chunk=is_chunk)

    @property
    def origin(self) -> dict[str, object]:
        """TensorStore's JSON spec of the folder where it is (kvstore drivers ``file``, ``http``, ``gcs``, ``s3``).

        It may hold secrets, and tokens that expire: to be given to TensorStore at once, and to nobody else.

        Raises:
            AuthRejected: the credentials that the operator granted are not there.
        """
        if self.is_http:
            return self._http_store(self.address_of(""))
        if self.scheme == "file":
            return {"driver": "file", "path": self.path}
        if self.scheme == "gs" and self.access.endpoint is not None:
            return self._http_store(f"{self.access.endpoint}/{self.authority}/{quote_path(self.path)}")
        driver = "gcs" if self.scheme == "gs" else "s3"
        return {"driver": driver, "bucket": self.authority, "path": self.path, **self.access.options}

    def _http_store(self, base_url: str) -> dict[str, object]:
        headers = [f"{name}: {value}" for name, value in self.access.headers().items()]
        return {"driver": "http", "base_url": base_url, **({"headers": headers} if headers else {})}

    @property
    def is_http(self) -> bool:
        return self.scheme in DEFAULT_PORTS

    @property
    def host(self) -> tuple[str, int]:
        """Host (no brackets around an IPv6 address) and port of an http(s) source."""
        parts = urlsplit(f"//{self.authority}")
        return parts.hostname or "", parts.port or DEFAULT_PORTS[self.scheme]

    def address_of(self, key: str) -> str:
        """The URL, with its query, that a GET of ``key`` below this http(s) source names."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.url}{quote_path(key)}{query}"

    def joined(self, key: str) -> str | None:
        """The path of the folder ``key`` relative to this one, or None if its ``..`` lead above the store."""
        parts = [part for part in self.path.split("/") if part]
        for part in key.split("/"):
            if part == ".." and not parts:
                return None
            if part == "..":
                parts.pop()
            elif part not in ("", "."):
                parts.append(quote_path(part) if self.is_http else part)
        begin = "" if self.scheme in ("gs", "s3") else "/"
        return begin + "".join(f"{part}/" for part in parts)

    def split(self) -> tuple[Source, str]:
        """A source that is one file: the folder that it lies in, and its key there.

        Raises:
            InvalidRequest: the top of a store, or a URL whose last part holds an encoded ``/``.
        """
        name = self.path.rstrip("/").rpartition("/")[2]
        key = unquote(name) if self.is_http else name
        if not key or "/" in key:
            raise InvalidRequest(f"source: {self.name!r} does not name a file")
        label = f"{'/'.join(self.label.split('/')[:-2]) or '.'}/" if self.label else ""
        return replace(self, path=self.path[: -len(name) - 1], label=label), key


def read_source(text: str) -> Source:
    """Read a path, or a file, http(s), gs or s3 URL, with ``precomputed://`` etc. before it or not; no policy.

    URLs are percent-decoded once, as TensorStore does with its own; plain paths are not.

    Raises:
        InvalidRequest: another scheme, a pipeline, ``..``, credentials in the URL.
    """
    if not text or len(text) > MAX_LENGTH or UNPRINTABLE.search(text) or text != text.strip():
        raise InvalidRequest(
            f"source: {shown(text)!r} is not a source: 1 to {MAX_LENGTH} characters,"
            " no control character, no space at either end"
        )
    if "|" in text:
        raise InvalidRequest(f"source: {shown(text)!r} is a pipeline ('|'); name one folder of one store")
    if prefix := _FORMAT_PREFIX.fullmatch(text):
        is_bare_host = prefix[1] == "boss" and "://" not in prefix[2]  # no BossDB is a folder
        return replace(_read_address(f"https://{prefix[2]}" if is_bare_host else prefix[2]), format_hint=prefix[1])
    return _read_address(text)


def file_source(path: str) -> Source:
    refuse_parents(path)
    return Source("file", "", _folder(path))


def bucket_source(scheme: Scheme, bucket: str, path: str) -> Source:
    refuse_parents(path)
    if not _BUCKET.fullmatch(bucket) or UNPRINTABLE.search(path):
        raise InvalidRequest(f"source: {shown(bucket)!r} does not name a bucket; write {scheme}://bucket/folder")
    return Source(scheme, bucket, _folder(path))


def shown(text: str) -> str:
    """The text without userinfo and query, for messages; cuts too much rather than too little."""
    return re.sub(r"//.*@", "//", text, flags=re.DOTALL).partition("?")[0][:200]


def quote_path(path: str) -> str:
    """Percent-encode what RFC 3986 does not allow in a path; ``/`` stays."""
    return quote(path, safe=_PATH_SAFE)


def refuse_parents(path: str) -> None:
    if ".." in re.split(r"[/\\]", path):
        raise InvalidRequest(f"source: {shown(path)!r} holds '..'; write the path without it")


def _read_address(address: str) -> Source:
    found = _SCHEME.match(address)
    if found is None:
        return file_source(address)
    scheme = SCHEMES.get(found[1].lower())
    if scheme is None:
        raise InvalidRequest(f"source: scheme {found[1][:40]!r} is not offered; a path, or {', '.join(SCHEMES)}")
    parts = _split(address)
    if scheme in ("http", "https"):
        return _http_source(scheme, parts)
    if scheme == "file":
        return _file_url_source(parts)
    return bucket_source(scheme, parts.netloc, unquote(parts.path).lstrip("/"))


def _split(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
    except ValueError:
        raise InvalidRequest(f"source: {shown(address)!r} is not a URL") from None
    if "@" in parts.netloc:
        raise InvalidRequest(
            f"source: {shown(address)!r} holds credentials; the operator gives them (sources.credentials)"
        )
    if parts.fragment or (parts.query and parts.scheme not in DEFAULT_PORTS):
        raise InvalidRequest(f"source: {shown(address)!r} has a '?' or '#' part, which names nothing there")
    return parts


def _file_url_source(parts: SplitResult) -> Source:
    if parts.netloc.lower() not in ("", "localhost") or not parts.path.startswith("/"):
        raise InvalidRequest(f"source: {shown(parts.geturl())!r} is not a path of this machine; write file:///folder")
    return file_source(unquote(parts.path))


def _http_source(scheme: Scheme, parts: SplitResult) -> Source:
    """The URL rebuilt from its parts, so that no other parser of it can come to another host."""
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not _HOST.fullmatch(host) or "\\" in parts.path:
        raise InvalidRequest(
            f"source: {shown(parts.geturl())!r} does not name a host; write {scheme}://host/folder, the host in ASCII"
        )
    refuse_parents(unquote(parts.path))
    authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    path = _folder(quote(parts.path, safe=f"{_PATH_SAFE}%") or "/")
    return Source(scheme, authority, path, query=quote(parts.query, safe=f"{_PATH_SAFE}%?"))


def _folder(path: str) -> str:
    return path if not path or path.endswith("/") else f"{path}/"
