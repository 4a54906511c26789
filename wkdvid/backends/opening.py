"""What every backend needs to open a source: the TensorStore context, the guard, and metadata within limits."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import tensorstore as ts

from wkdvid.backends.beginnings import read_start
from wkdvid.backends.contexts import context_spec
from wkdvid.backends.failures import translate, translate_of
from wkdvid.backends.outcomes import FAILURES, finished
from wkdvid.backends.presence import LOOK_S, Presence
from wkdvid.core.entries import LayerEntry
from wkdvid.core.guard import Guard
from wkdvid.core.hosts import serves_ranges
from wkdvid.core.limits import Limits
from wkdvid.core.own_accounts import OwnAccounts
from wkdvid.core.secrets import Secrets
from wkdvid.core.source import Source
from wkdvid.core.variables import NO_VARIABLES
from wkdvid.errors import AuthRejected, CorruptChunk, InvalidRequest, UpstreamUnavailable

if TYPE_CHECKING:
    from wkdvid.backends.disk_cache.cache import DiskCache

NO_SECRETS = Secrets({})

MAX_DEPTH = 64
"""Nesting of a metadata document."""


class Opener:
    """Opens key-value stores and arrays of sources that the guard admits."""

    def __init__(
        self,
        guard: Guard,
        limits: Limits,
        *,
        pool_bytes: int,
        deadline_s: float,
        secrets: Secrets = NO_SECRETS,
        variables: Mapping[str, str] = NO_VARIABLES,
        keys: Path | None = None,
        cache: DiskCache | None = None,
        look_s: float = LOOK_S,
    ) -> None:
        """
        Args:
            pool_bytes: TensorStore's cache of decoded chunks.
            deadline_s: For each try to read metadata, and for each read of voxels.
            secrets: Those that entries may refer to.
            variables: Of the environment, those that entries may hold in their text.
            keys: Folder of those that were put away (``core.own_accounts``).
            cache: What keeps the sources of entries; None: nothing does.
            look_s: As ``Presence`` has it.
        """
        self.guard = guard
        self.limits = limits
        self.deadline_s = deadline_s
        self.secrets = secrets
        self.variables = variables
        self.context = ts.Context(context_spec(pool_bytes))
        self.shared: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        """What a backend shares between its layers, for as long as one of them holds it."""
        self.presence: Presence | None = None
        """Of the source of the entry that this is ``of``."""
        self._cache = cache
        self._look_s = look_s
        self._accounts = OwnAccounts(secrets, variables, guard.check_token_address, keys)

    def of(self, entry: LayerEntry, *, has_secrets: bool = False) -> Opener:
        """What opens an entry's sources: this, or one that reads Google buckets with the entry's own account.

        Both share a pool of decoded chunks, in which TensorStore keeps apart what is read with another token.

        Args:
            has_secrets: The entry refers to secrets by which its sources are read.
        Raises:
            InvalidRequest: the key of its account is not there.
        """
        own = copy.copy(self)
        own.presence = Presence(self.context, self._look_s)
        if entry.credentials is not None:
            own.guard = own.guard.with_own(self._accounts.of(entry.dataset, entry.credentials))
        if self._cache is not None and entry.disk_cache:
            own.guard = own.guard.kept_by(
                self._cache.of(entry.dataset, is_apart=has_secrets or entry.credentials is not None)
            )
        return own

    def asking_sources(self) -> Opener:
        """The same, but what is kept of sources is not heeded."""
        own = copy.copy(self)
        own._cache = None
        return own

    async def source(self, text: object, probe_key: str | None = None) -> Source:
        """The admitted source that a user's URL or path names, redirects followed.

        Args:
            probe_key: A key that must be there; over http it is asked for to find redirects.
        Raises:
            InvalidRequest: not a source, or not one that is allowed.
        """
        if not isinstance(text, str) or not text:
            raise InvalidRequest("source: expected a URL or a path")
        source = self.guard.parse_source(text)
        await self.guard.check_host(source)
        if probe_key is not None and source.is_http:
            source = await self.guard.follow_redirects(source, probe_key)
        return source

    async def file(self, text: object) -> tuple[Source, str]:
        """The admitted file that a user's URL or path names, as the folder that it lies in and its key there.

        Raises:
            InvalidRequest: as ``source`` and ``check_ranges``.
            BackendError: the server cannot be asked.
        """
        source, key = (await self.source(text)).split()
        source = await self.guard.follow_redirects(source, key)
        await self.check_ranges(source, key)
        return source, key

    async def check_ranges(self, source: Source, key: str) -> None:
        """For formats whose files are read in parts.

        Args:
            key: Of any object that is there.
        Raises:
            InvalidRequest: a web server that sends whole files only.
            BackendError: the server cannot be asked.
        """

        async def ask() -> bytes:
            headers = source.access.headers()
            return b"yes" if await serves_ranges(source.address_of(key), f"{source.name}{key}", headers) else b"no"

        if source.is_http and await source.remembered(f"ranges of {key}", ask) == b"no":
            raise InvalidRequest(
                f"{source.name}{key}: its server sends whole files only, not the parts that are asked for (byte ranges)"
            )

    async def read_start(self, source: Source, key: str, length: int) -> bytes | None:
        """The first ``length`` bytes of a stored object, all of a smaller one, or None if the source has no such key.

        Raises:
            BackendError: it could not be judged whether it is there.
        """
        try:
            async with asyncio.timeout(self.deadline_s):
                found = await read_start(source, key, length, self.context)
        except TimeoutError as error:
            raise UpstreamUnavailable(f"{source.name} ({key}): no answer within {self.deadline_s:g} s") from error
        except FAILURES as error:
            raise translate_of(error, source, key) from error
        if found is not None and self.presence is not None:
            self.presence.note(source, key)
        return found

    async def read_json(self, source: Source, key: str) -> dict[str, Any] | None:
        """One JSON object of metadata, or None if the source has no such key.

        Raises:
            CorruptChunk: not JSON, not an object, nested too deeply, larger than ``limits.metadata_bytes``.
            BackendError: as ``read_start``.
        """
        limit = self.limits.metadata_bytes
        text = await self.read_start(source, key, limit + 1)
        if text is None:
            return None
        if len(text) > limit:
            raise CorruptChunk(f"{source.name}: {key} has more than {limit} bytes, the limit (limits.metadata_bytes)")
        return await asyncio.to_thread(parse_document, text, f"{source.name}: {key}")

    async def read_documents(self, places: Sequence[tuple[Source, str]]) -> list[dict[str, Any] | None]:
        """Several JSON objects at a time, each from a folder by its key; None for what is not there.

        A bucket that may not be listed answers "forbidden" for what it lacks: refusals count if they are all there is.

        Raises:
            BackendError: as ``read_json``.
        """
        answers = await asyncio.gather(*(self.read_json(*place) for place in places), return_exceptions=True)
        found: list[dict[str, Any] | None] = []
        refusal: AuthRejected | None = None
        for answer in answers:
            if isinstance(answer, AuthRejected):
                refusal = answer
                found.append(None)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append(answer)
        if refusal is not None and not any(document is not None for document in found):
            raise refusal
        return found

    async def overlay(self, source: Source, key: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The source as a TensorStore key-value store in which ``key`` holds another document, kept in memory."""
        text = json.dumps(document).encode()
        path = f"overlay/{hashlib.sha256(text).hexdigest()}"  # by content: reopening adds nothing and finds its cache
        store = await finished(ts.KvStore.open({"driver": "memory", "path": path}, context=self.context))
        await finished(store.write("", text))
        layers = [{"base": source.kvstore}, {"exact": key, "base": {"driver": "memory", "path": path}}]
        return {"driver": "kvstack", "layers": layers}

    def check_levels(self, count: int, what: str) -> None:
        """
        Raises:
            InvalidRequest: more levels than ``limits.levels``.
        """
        if count > self.limits.levels:
            raise InvalidRequest(f"{what}: {count} levels, the limit is {self.limits.levels} (limits.levels)")

    async def open(self, spec: Mapping[str, Any], what: str) -> ts.TensorStore:
        """Open an array for reading.

        Args:
            spec: TensorStore JSON, checked by the guard or made by a backend.
            what: The source, for messages.
        Raises:
            BackendError, InvalidRequest: it cannot be read, or its declared chunks are over the limit.
        """
        full = {"recheck_cached_data": "open", **spec}
        try:
            async with asyncio.timeout(self.deadline_s):
                store = await finished(ts.open(full, read=True, open=True, context=self.context))
        except TimeoutError as error:
            raise UpstreamUnavailable(f"{what}: no answer within {self.deadline_s:g} s") from error
        except FAILURES as error:
            raise translate(error, what) from error
        self.check_chunk(store, what)
        return store

    def check_chunk(self, store: ts.TensorStore, what: str) -> None:
        """Decoding holds a whole chunk: a source must not declare one that fills the memory.

        Raises:
            InvalidRequest: chunks over ``limits.chunk_bytes``.
        """
        shape = store.chunk_layout.read_chunk.shape or store.shape
        size = math.prod(length or 1 for length in shape) * store.dtype.numpy_dtype.itemsize
        if size > self.limits.chunk_bytes:
            raise InvalidRequest(
                f"{what}: one chunk has {size} bytes decoded, the limit is {self.limits.chunk_bytes}"
                " (limits.chunk_bytes)"
            )


def parse_document(text: bytes, what: str) -> dict[str, Any]:
    """
    Raises:
        CorruptChunk: not a JSON object, or one that is nested too deeply.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptChunk(f"{what} is not valid JSON") from error
    if not isinstance(document, dict):
        raise CorruptChunk(f"{what} is not a JSON object")
    if _depth(document, MAX_DEPTH) < 0:
        raise CorruptChunk(f"{what} is nested more than {MAX_DEPTH} levels deep")
    return document


def _depth(value: object, left: int) -> int:
    """How much of ``left`` remains at the deepest place; negative if it does not suffice."""
    if left < 0 or not isinstance(value, dict | list):
        return left
    members = value.values() if isinstance(value, dict) else value
    return min((_depth(member, left - 1) for member in members), default=left)
