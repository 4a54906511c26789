"""The voxels of a chunk: one tile, or all strips of a small page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wkdvid.backends.chunk_functions import decoded
from wkdvid.backends.stored_objects import StoredFile
from wkdvid.backends.tiff.directory import Layout, Page
from wkdvid.backends.tiff.encodings import check_image
from wkdvid.core.concurrent import for_each
from wkdvid.core.geometry import Box, ceil_div
from wkdvid.core.limits import KIB
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk

OVERHEAD_BYTES = 64 * KIB
"""What a compressed tile may have beside twice its voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class TileReader:
    """Reads chunks of one level: those of one channel, or of all channels where they are stored together."""

    file: StoredFile
    layout: Layout
    pages: Sequence[Page | None]
    """By z."""
    sample: int
    """Whose segments are read, where samples have segments of their own."""
    inverted: bool
    """Show 0 as the largest value."""
    what: str
    """The file, for messages."""

    @property
    def channels(self) -> int:
        return 1 if self.layout.separate else self.layout.channels

    @property
    def fill_value(self) -> float:
        """Of what is not stored."""
        value = np.full(1, self.layout.nodata, self.layout.dtype)
        shown: float = (self._shown(value) if self.inverted else value)[0].item()
        return shown

    async def read(self, box: Box) -> Array | None:
        """The voxels (c, x, y, z) of a chunk; None if nothing of it is stored.

        Raises:
            CorruptChunk: what is stored is no such tile.
            BackendError: it cannot be read.
        """
        page = self.pages[box.start[2]]
        if page is None:
            return None
        where = f"{self.what}, tile at {box.start}"
        runs = self._runs(page, box, where)
        if not runs:
            return None
        found = await for_each(lambda run: self.file.read_range(run[0].start, run[-1].stop), runs)
        segments = [segment for run, data in zip(runs, found, strict=True) for segment in _cut(run, data)]
        size = sum(len(data) for _, data in segments) if self.layout.encoding == "raw" else None
        return await decoded(lambda: self._voxels(page, box, segments), where, size)

    def _runs(self, page: Page, box: Box, where: str) -> list[list[_Stored]]:
        """The stored segments of a chunk, those together that one read gives: strips mostly lie back to back."""
        layout = self.layout
        indices = self._indices(box)
        places = [(i, int(page.offsets[i]), int(page.byte_counts[i])) for i in indices]
        stored = [_Stored(i, start + page.shift, size) for i, start, size in places if start and size]
        if sum(part.size for part in stored) > 2 * len(indices) * layout.segment_bytes + OVERHEAD_BYTES:
            raise CorruptChunk(f"{where}: its stored bytes are far more than its voxels")
        runs: list[list[_Stored]] = []
        for part in stored:
            if runs and runs[-1][-1].stop == part.start:
                runs[-1].append(part)
            else:
                runs.append([part])
        return runs

    def _indices(self, box: Box) -> range:
        """Of a chunk's segments in the tables of a page (TIFF 6.0, section 15: TileOffsets)."""
        layout = self.layout
        first = self.sample * layout.segments
        if layout.tile != layout.segment:
            return range(first, first + layout.segments)
        across = ceil_div(layout.width, layout.tile[0])
        first += box.start[1] // layout.tile[1] * across + box.start[0] // layout.tile[0]
        return range(first, first + 1)

    def _voxels(self, page: Page, box: Box, segments: Sequence[tuple[int, bytes]]) -> Array:
        layout = self.layout
        out = np.full((self.channels, *box.size), layout.nodata, layout.dtype, order="F")
        for index, data in segments:
            check_image(layout.encoding, data, *layout.segment, layout.samples)
            samples, (_, _, top, left, _), _ = layout.decode(data, index, jpegtables=page.jpeg_tables)
            width, height = min(layout.segment[0], box.stop[0] - left), min(layout.segment[1], box.stop[1] - top)
            if samples is None or samples.dtype != layout.dtype or samples.shape[3:] != (layout.samples,):
                raise CorruptChunk(f"{self.what}: a tile of other samples than its directory says")
            pixels = samples[0, :height, :width, : self.channels]
            x, y = left - box.start[0], top - box.start[1]
            out[:, x : x + width, y : y + height, 0] = pixels.transpose(2, 1, 0)
        return self._shown(out) if self.inverted else out

    def _shown(self, stored: Array) -> Array:
        shown: Array = np.iinfo(self.layout.dtype).max - stored
        return shown


@dataclass(frozen=True, slots=True)
class _Stored:
    """A segment as it lies in the file."""

    index: int
    start: int
    size: int

    @property
    def stop(self) -> int:
        return self.start + self.size


def _cut(run: Sequence[_Stored], data: bytes) -> Iterator[tuple[int, bytes]]:
    for part in run:
        start = part.start - run[0].start
        yield part.index, data[start : start + part.size]
