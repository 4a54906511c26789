"""The directories (IFDs) of a TIFF, read with tifffile, as plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from wkdvid.backends.tensorstore_volume import DTYPES
from wkdvid.backends.tiff.encodings import ENCODINGS, PREDICTORS
from wkdvid.backends.tiff.range_file import SIZE, RangeFile
from wkdvid.core.geometry import ceil_div
from wkdvid.core.limits import Limits
from wkdvid.core.volume import Array
from wkdvid.errors import CorruptChunk, InvalidRequest
from wkdvid.extras import imported

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

Decode: TypeAlias = Callable[..., tuple[Array | None, tuple[int, ...], tuple[int, ...]]]
"""tifffile's ``TiffPage.decode``: from bytes and index of a tile to its samples (depth, y, x, sample), where they lie
in the page (sample, depth, y, x, 0), and their shape."""

NEEDS = "TIFF needs tifffile"
UNTILED_PIXELS = 20_000_000
"""As webknossos-connect had it: all of a page is read at a time."""
GRAY_INVERTED, GRAY, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
"""Tag PhotometricInterpretation."""
ALPHA = (1, 2)
"""Tag ExtraSamples."""
SEPARATE = 2
"""Tag PlanarConfiguration: each sample has tiles of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What the pages of one level have in common."""

    width: int
    height: int
    tile: tuple[int, int]
    """Pixels (x, y); the whole page where it is not tiled."""
    segment: tuple[int, int]
    """Pixels (x, y) of what is encoded as one: a tile, or a strip."""
    samples: int
    """In a segment."""
    channels: int
    """Samples that are served: not alpha."""
    separate: bool
    """Each channel has segments of its own, one after the other."""
    dtype: np.dtype[Any]
    encoding: str
    inverted: bool
    """0 is white."""
    nodata: float
    """Of segments that are not stored."""
    decode: Decode

    @property
    def kind(self) -> tuple[np.dtype[Any], int, bool]:
        """What the levels of an image have in common."""
        return self.dtype, self.channels, self.inverted

    @property
    def segments(self) -> int:
        """Of one page, or of one of its channels where they are separate."""
        return ceil_div(self.width, self.segment[0]) * ceil_div(self.height, self.segment[1])

    @property
    def segment_bytes(self) -> int:
        """Decoded."""
        return self.segment[0] * self.segment[1] * self.samples * self.dtype.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    layout: Layout
    offsets: npt.NDArray[np.uint64]
    """Where each segment begins in the file; 0 where it is not stored."""
    byte_counts: npt.NDArray[np.uint64]
    jpeg_tables: bytes | None
    shift: int = 0
    """To be added to the offsets."""


def open_directory(file: RangeFile) -> TiffFile:
    """Without what tifffile does for other formats that use TIFF's structure.

    Raises:
        InvalidRequest: tifffile is not installed.
    """
    tifffile = imported("tifffile", "tiff", NEEDS, InvalidRequest)
    opened: TiffFile = tifffile.TiffFile(file, size=SIZE, is_lsm=False, is_ndpi=False, is_scanimage=False)
    return opened


def read_page(page: TiffPage, limits: Limits, what: str, alike: Layout | None = None) -> Page:
    """
    Args:
        alike: The layout of a page with the same ``hash``.
    Raises:
        InvalidRequest: it is stored in a way that is not read; with what would help.
        CorruptChunk: its tables do not fit its size.
    """
    layout = alike or _layout(page, limits, what)
    count = layout.segments * (page.samplesperpixel if layout.separate else 1)
    offsets, byte_counts = (np.asarray(table) for table in (page.dataoffsets, page.databytecounts))
    if offsets.shape != (count,) or byte_counts.shape != (count,):
        raise CorruptChunk(
            f"{what}: a page of {layout.width} x {layout.height} pixels has {offsets.size} offsets and"
            f" {byte_counts.size} sizes of tiles or strips, expected {count}"
        )
    return Page(layout, offsets.astype(np.uint64), byte_counts.astype(np.uint64), page.jpegtables)


def sub_pages(page: TiffPage) -> Iterator[TiffPage]:
    """The pages that the tag SubIFDs names."""
    yield from cast("Sequence[TiffPage]", page.pages if page.subifds else ())


def resolution_of(page: TiffPage) -> tuple[float | None, float | None]:
    """Pixels (x, y) in the unit of length."""
    fractions = [page.tags.valueof(code) for code in (282, 283)]
    x, y = (f[0] / f[1] if isinstance(f, tuple) and len(f) == 2 and f[1] else None for f in fractions)
    return x, y


def _layout(page: TiffPage, limits: Limits, what: str) -> Layout:
    _refuse_unreadable(page, what)
    dtype = np.dtype(page.dtype)
    separate = page.planarconfig == SEPARATE and page.samplesperpixel > 1
    width, height = page.imagewidth, page.imagelength
    segment = (page.tilewidth, page.tilelength) if page.is_tiled else (width, page.rowsperstrip)
    if min(width, height, *segment) < 1:
        raise CorruptChunk(f"{what}: a page of {width} x {height} pixels in tiles or strips of {segment}")
    layout = Layout(
        width=width,
        height=height,
        tile=segment if page.is_tiled else (width, height),
        segment=segment,
        samples=1 if separate else page.samplesperpixel,
        channels=page.samplesperpixel - sum(kind in ALPHA for kind in page.extrasamples),
        separate=separate,
        dtype=dtype,
        encoding=ENCODINGS[page.compression],
        inverted=page.photometric == GRAY_INVERTED and dtype.kind == "u",
        nodata=page.nodata,
        decode=page.decode,
    )
    size = math.prod(layout.tile) * layout.samples * dtype.itemsize
    if size > limits.chunk_bytes:
        raise InvalidRequest(
            f"{what}: a tile, or a page without tiles, has {size} bytes decoded,"
            f" the limit is {limits.chunk_bytes} (limits.chunk_bytes)"
        )
    return layout


def _refuse_unreadable(page: TiffPage, what: str) -> None:
    if page.photometric == PALETTE:
        raise InvalidRequest(f"{what}: its colours come from a palette; write it as gray or RGB")
    if page.bitspersample not in (8, 16, 32, 64) or page.dtype is None or page.dtype.name not in DTYPES:
        raise InvalidRequest(
            f"{what}: samples of {page.bitspersample} bits, format {int(page.sampleformat)}, are not read; write it"
            " with whole bytes, 8 to 64 bits, as integers or floats"
        )
    if page.compression not in ENCODINGS or page.predictor not in PREDICTORS:
        readable = ", ".join(dict.fromkeys(ENCODINGS.values()))
        raise InvalidRequest(
            f"{what}: compression {int(page.compression)} with predictor {int(page.predictor)} is not read;"
            f" write it with one of {readable}"
        )
    coded = YCBCR if ENCODINGS[page.compression] == "jpeg" and page.planarconfig != SEPARATE else RGB
    if page.photometric not in (GRAY_INVERTED, GRAY, RGB, coded):
        raise InvalidRequest(f"{what}: its colours are of kind {int(page.photometric)}; write it as gray or RGB")
    if page.imagedepth != 1 or page.tiledepth > 1:
        raise InvalidRequest(f"{what}: its pages have a depth; write a plane per page")
    if not page.is_tiled and page.imagewidth * page.imagelength > UNTILED_PIXELS:
        raise InvalidRequest(
            f"{what}: {page.imagewidth} x {page.imagelength} pixels without tiles, the limit is {UNTILED_PIXELS};"
            " write it with vips tiffsave --tile --pyramid --bigtiff"
        )
