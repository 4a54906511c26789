"""A stored file as the Python file that tifffile reads directories from, in a thread."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from wkdvid.backends.numbers import LARGEST
from wkdvid.core.geometry import ceil_div
from wkdvid.core.limits import KIB
from wkdvid.errors import BackendError, InvalidRequest, UpstreamUnavailable

BLOCK_BYTES = 16 * KIB
"""Read at a time: a directory mostly lies beside what it points to."""
KEPT_BLOCKS = 512
SIZE = LARGEST
"""What tifffile is told: a store does not say how large a file is. What lies beyond its end is empty."""

ReadAhead: TypeAlias = Callable[[int, int], bytes]
"""Bytes from one position up to another, fewer where the file ends."""


class RangeFile:
    """Reads so many bytes in all, and for so long: directories may point to each other for ever.

    Once a read has failed, all do: tifffile takes some failures for a broken tag, and goes on without it.
    """

    def __init__(self, read: ReadAhead, limit: int, deadline_s: float, what: str) -> None:
        """
        Args:
            limit: Bytes that may be asked for; what is asked for twice counts twice.
            deadline_s: From now on.
            what: The file, for messages.
        """
        self._read_ahead = read
        self._position = 0
        self._blocks: dict[int, bytes] = {}
        self._what = what
        self._limit = self._left = limit
        self._deadline_s = deadline_s
        self._end = time.monotonic() + deadline_s
        self.failure: InvalidRequest | BackendError | None = None

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int, /) -> bytes:
        """
        Raises:
            InvalidRequest: more than the limit.
            BackendError: it cannot be read, or not in time.
        """
        try:
            self.check()
            self._spend(size)
            found = self._part(self._position, min(self._position + size, SIZE))
        except (InvalidRequest, BackendError) as error:
            self.failure = error
            raise
        self._position += len(found)
        return found

    def close(self) -> None:
        self._blocks.clear()

    def check(self) -> None:
        """
        Raises:
            InvalidRequest, BackendError: as the read that failed first.
        """
        if self.failure is not None:
            raise self.failure

    def _spend(self, size: int) -> None:
        if not 0 <= size <= self._left:
            raise InvalidRequest(
                f"{self._what}: its directories and the tables of its tiles have more than {self._limit} bytes,"
                " the limit (limits.metadata_bytes); larger tiles make smaller tables"
            )
        if time.monotonic() > self._end:
            raise UpstreamUnavailable(f"{self._what}: its directories cannot be read within {self._deadline_s:g} s")
        self._left -= size

    def _part(self, start: int, stop: int) -> bytes:
        wanted = range(start // BLOCK_BYTES, ceil_div(stop, BLOCK_BYTES))
        missing = [i for i in wanted if i not in self._blocks]
        blocks = {i: self._blocks[i] for i in wanted if i in self._blocks}
        if missing:
            first = missing[0] * BLOCK_BYTES
            data = self._read_ahead(first, (missing[-1] + 1) * BLOCK_BYTES)
            for i in range(missing[0], missing[-1] + 1):
                blocks[i] = data[i * BLOCK_BYTES - first :][:BLOCK_BYTES]
            self._keep({i: blocks[i] for i in missing})
        return b"".join(blocks[i] for i in wanted)[start % BLOCK_BYTES :][: max(0, stop - start)]

    def _keep(self, blocks: Mapping[int, bytes]) -> None:
        self._blocks.update(blocks)
        while len(self._blocks) > KEPT_BLOCKS:
            del self._blocks[next(iter(self._blocks))]
