"""Files of a folder, whole or in part, as they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from wkdvid.core.limits import Limits
from wkdvid.core.volume import ReadsFiles
from wkdvid.errors import CorruptChunk, NotFound, TooLarge
from wkdvid.frontends.ranges import ByteRange

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Part:
    """A file or a part of it, as it is answered."""

    status: int
    body: bytes
    content_range: str | None = None


async def read_part(files: ReadsFiles, key: str, asked: ByteRange | None, limits: Limits) -> Part:
    """
    Raises:
        NotFound: there is no such file. A reader takes that for data that was never written.
        TooLarge: what is asked for is over the limit.
        BackendError: it cannot be read.
    """
    if asked is None:
        return Part(200, _there(await files.read_whole(key, limits.unstreamed_bytes), key))
    if asked.first is not None and asked.last is not None:
        try:
            return await _read(files, key, range(asked.first, asked.last + 1), "*", limits)
        except CorruptChunk:
            pass  # it is shorter
    length = _there(await files.length(key), key)
    part = asked.of(length)
    if part is None:
        return Part(416, b"", f"bytes */{length}")
    return await _read(files, key, part, str(length), limits)


async def _read(files: ReadsFiles, key: str, part: range, length: str, limits: Limits) -> Part:
    if len(part) > limits.unstreamed_bytes:
        raise TooLarge(f"{len(part)} bytes, the limit is {limits.unstreamed_bytes} (limits.unstreamed_bytes)")
    body = _there(await files.read(key, part.start, part.stop), key)
    return Part(206, body, f"bytes {part.start}-{part.stop - 1}/{length}")


def _there(found: Found | None, key: str) -> Found:
    if found is None:
        raise NotFound(f"there is no file {key[:200]!r}")
    return found
