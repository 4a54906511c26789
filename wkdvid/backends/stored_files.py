"""The files of a level, for programs that read its format themselves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from wkdvid.backends.opening import Opener
from wkdvid.backends.stored_objects import StoredObjects, open_objects
from wkdvid.core.source import Source
from wkdvid.core.volume import FileFormat
from wkdvid.errors import InvalidRequest, UpstreamUnavailable

Value = TypeVar("Value")

_KEYS: Mapping[FileFormat, str] = {
    "zarr2": r"\.zarray|\.zattrs|[0-9]+([./][0-9]+)*",
    "zarr3": r"zarr\.json|c([./][0-9]+)*|[0-9]+([./][0-9]+)*",
    "n5": r"attributes\.json|[0-9]+(/[0-9]+)*",
    "precomputed": r"info|{folder}/([0-9a-f]+\.shard|(-?[0-9]+--?[0-9]+)(_-?[0-9]+--?[0-9]+){{2}})",
}
"""What an array's metadata and chunks are called. Nothing else is handed out, whatever lies beside them."""

ANY_KEY = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[^/\\\x00-\x1f][^\\\x00-\x1f]{0,1023}")
"""Nothing that leads out of the folder, nor what TensorStore takes for that: a backslash."""


class Files:
    """Reads whole files of a folder, or parts of them, each within the deadline."""

    def __init__(self, objects: StoredObjects, opener: Opener, keys: re.Pattern[str] = ANY_KEY) -> None:
        """
        Args:
            keys: Of the files that are handed on.
        """
        self._objects = objects
        self._opener = opener
        self._keys = keys

    async def length(self, key: str) -> int | None:
        return await self._of(key, lambda: self._objects.length(key))

    async def read(self, key: str, start: int, stop: int) -> bytes | None:
        return await self._of(key, lambda: self._objects.read_range(key, start, stop))

    async def read_whole(self, key: str, limit: int) -> bytes | None:
        return await self._of(key, lambda: self._objects.read_small(key, limit))

    def _is_ours(self, key: str) -> bool:
        source = self._objects.source
        if self._keys.fullmatch(key) is None:
            return False
        if source.scheme == "file":
            try:
                self._opener.guard.local_path(source.path + key)
            except InvalidRequest:  # a link that leads out of the roots
                return False
        return True

    async def _of(self, key: str, read: Callable[[], Awaitable[Value | None]]) -> Value | None:
        if not self._is_ours(key):
            return None
        try:
            async with asyncio.timeout(self._opener.deadline_s):
                found = await read()
        except TimeoutError as error:
            what = f"{self._objects.source.name}: no answer within {self._opener.deadline_s:g} s"
            raise UpstreamUnavailable(what) from error
        if found is None and self._opener.presence is not None:
            await self._opener.presence.check()
        return found


class LevelFiles(Files):
    """Those of one array. Names in the store are those of the format."""

    def __init__(self, file_format: FileFormat, folder: str, axes: str, objects: StoredObjects, opener: Opener) -> None:
        """
        Args:
            folder: Of the array, below that of ``objects``: "", or the key of a precomputed scale.
            axes: One letter for each dimension of the array.
        """
        super().__init__(objects, opener, re.compile(_KEYS[file_format].format(folder=re.escape(folder))))
        self.format: FileFormat = file_format
        self.folder = folder
        self.place = objects.source.name
        self.axes = axes


async def open_folder(opener: Opener, address: str) -> Files:
    """All files below an address.

    Raises:
        InvalidRequest: it is not admitted.
        BackendError: the store cannot be opened.
    """
    return Files(await open_objects(await opener.source(address), opener.context), opener)


async def open_files(opener: Opener, source: Source, file_format: FileFormat, axes: str) -> LevelFiles:
    """The files of an array that has a folder of its own.

    Raises:
        BackendError: the store cannot be opened.
    """
    return LevelFiles(file_format, "", axes, await open_objects(source, opener.context), opener)
