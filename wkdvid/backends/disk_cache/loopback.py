"""The cache as a web server on the loopback device, which TensorStore reads in place of the sources.

TensorStore has no way to call a store that is written in Python, and everything that reads voxels goes through its
stores. So it is given an address of this server for a source's folder; whatever it asks for below that (objects, parts
of shards, with the conditions by which it notices changes) is answered from what is kept, else from the source.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Mapping, MutableMapping
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from urllib.parse import unquote

from aiohttp import web

from wkdvid.backends.disk_cache.folder import Folder
from wkdvid.backends.disk_cache.reads import PAGE_BYTES, CachedReads, Pieces
from wkdvid.backends.disk_cache.store import DOCUMENT, WHOLE
from wkdvid.core.geometry import ceil_div
from wkdvid.errors import AccessDenied, AuthRejected, BackendError, CorruptChunk, UpstreamUnavailable

HOST = "127.0.0.1"
PASS = "X-Wkdvid-Cache"  # noqa: S105 - the name of a header
STATUSES: Mapping[type[BaseException], int] = {
    AccessDenied: HTTPStatus.FORBIDDEN,
    AuthRejected: HTTPStatus.UNAUTHORIZED,
    CorruptChunk: HTTPStatus.BAD_REQUEST,
    UpstreamUnavailable: HTTPStatus.FAILED_DEPENDENCY,
    BackendError: HTTPStatus.FAILED_DEPENDENCY,
}
"""Of these TensorStore tries none again: the source was tried. ``failures.translate`` makes the same errors of them."""
DOCUMENTS = frozenset({"info", "zarr.json", ".zarray", ".zattrs", ".zgroup", "attributes.json"})
"""Metadata that TensorStore reads itself."""
LARGEST_PART = 1 << 28
"""Bytes of a part that is kept in pages; a larger one is kept as it was asked for."""
CLOSING_S = 0.1
LONGEST_LINE = 65_536
"""Bytes of a request's first line: keys that metadata name are long when they are percent-encoded."""
_PART = re.compile(r"bytes=(\d*)-(\d*)")


class Loopback:
    def __init__(self, reads: CachedReads) -> None:
        self.folders: dict[str, Folder] = {}
        """By the first part of their addresses' path."""
        self._reads = reads
        self._pass = secrets.token_urlsafe(32)
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        let_pass_by_proxies(HOST, os.environ)
        self._server = web.Server(self._answer, access_log=None, max_line_size=LONGEST_LINE)
        self._listener = await asyncio.get_running_loop().create_server(self._server, HOST, 0)

    async def aclose(self) -> None:
        if self._server is not None and self._listener is not None:
            self._listener.close()
            await self._server.shutdown(CLOSING_S)

    @property
    def is_open(self) -> bool:
        return self._listener is not None

    def kvstore(self, number: str) -> dict[str, object]:
        """TensorStore's spec of a folder. No other process can read through it: it does not know what to show."""
        if self._listener is None:
            raise RuntimeError("the cache has not been started")
        port = self._listener.sockets[0].getsockname()[1]
        return {
            "driver": "http",
            "base_url": f"http://{HOST}:{port}/{number}/",
            "headers": [f"{PASS}: {self._pass}"],
        }

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        number, _, key = unquote(request.raw_path.partition("?")[0][1:]).partition("/")
        folder, shown = self.folders.get(number), request.headers.get(PASS, "").encode(errors="replace")
        if folder is None or not secrets.compare_digest(shown, self._pass.encode()):
            return web.Response(status=HTTPStatus.FORBIDDEN)
        asked = _PART.fullmatch(request.headers.get("Range", ""))
        try:
            if asked is not None and asked[1] and asked[2] and int(asked[2]) - int(asked[1]) < LARGEST_PART:
                return await self._pages(request, folder, key, int(asked[1]), int(asked[2]) + 1)
            return await self._object(request, folder, key, asked)
        except BackendError as error:
            return web.Response(status=next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES))

    async def _object(
        self, request: web.BaseRequest, folder: Folder, key: str, asked: re.Match[str] | None
    ) -> web.Response:
        """All of an object, or one part that has no end, or is its end, or is too large for pages."""
        part = None if asked is None else _slice(asked[1], asked[2])
        name = folder.place.name(folder.source, key if asked is None else f"{key}\0{asked[0]}")
        numbers = DOCUMENT if key.rpartition("/")[2] in DOCUMENTS else WHOLE
        pieces = await self._reads.read(folder.place, name, numbers, partial(folder.fetch_whole, key, part))
        value = pieces[numbers.start].value
        if asked is None or value is None:
            return _response(request, pieces, value, {})
        return _part(request, pieces, value, int(asked[1] or 0))

    async def _pages(self, request: web.BaseRequest, folder: Folder, key: str, start: int, stop: int) -> web.Response:
        numbers = range(start // PAGE_BYTES, ceil_div(stop, PAGE_BYTES))
        pieces = await self._reads.read(
            folder.place, folder.place.name(folder.source, key), numbers, partial(folder.fetch_pages, key)
        )
        values = [pieces[number].value for number in sorted(pieces)]
        if None in values:
            return _response(request, pieces, None, {})
        joined = b"".join(value for value in values if value is not None)
        begin = start - numbers.start * PAGE_BYTES
        return _part(request, pieces, joined[begin : begin + stop - start], start)


def _part(request: web.BaseRequest, pieces: Pieces, value: bytes, start: int) -> web.Response:
    """Where the object has fewer bytes than were asked for, TensorStore sees it by ``Content-Range``."""
    if not value:
        return web.Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return _response(request, pieces, value, {"Content-Range": f"bytes {start}-{start + len(value) - 1}/*"})


def _response(
    request: web.BaseRequest, pieces: Pieces, value: bytes | None, headers: MutableMapping[str, str]
) -> web.Response:
    if value is None:
        return web.Response(status=HTTPStatus.NOT_FOUND)
    tag = _tag(pieces)
    if tag is not None:
        headers["ETag"] = tag
        if request.headers.get("If-Match", tag) != tag:
            return web.Response(status=HTTPStatus.PRECONDITION_FAILED)
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    status = HTTPStatus.PARTIAL_CONTENT if "Content-Range" in headers else HTTPStatus.OK
    return web.Response(status=status, body=value, headers=headers)


def _tag(pieces: Pieces) -> str | None:
    """Names the version of an object, where the source does."""
    (version,) = {piece.validator for piece in pieces.values()}
    return f'"{blake2b(version, digest_size=16).hexdigest()}"' if version else None


def _slice(start: str, last: str) -> slice:
    if not start:
        return slice(-int(last), None)
    return slice(int(start), int(last) + 1 if last else None)


def let_pass_by_proxies(host: str, environ: MutableMapping[str, str]) -> None:
    """Where the environment names a proxy, TensorStore's libcurl would ask it for the loopback device too."""
    names = [environ.get("no_proxy", environ.get("NO_PROXY", ""))]
    if any(name in environ for name in ("http_proxy", "all_proxy", "ALL_PROXY")) and host not in names[0]:
        environ["no_proxy"] = ",".join(filter(None, [*names, host]))
