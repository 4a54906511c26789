"""The image that a TIFF holds: its planes, and its coarser levels in SubIFDs or in further pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from wkdvid.backends.numbers import is_size
from wkdvid.backends.tiff.directory import Layout, Page, open_directory, read_page, resolution_of, sub_pages
from wkdvid.backends.tiff.ome import is_ome, read_ome
from wkdvid.backends.tiff.planes import (
    NO_SIZE,
    PartialSize,
    Planes,
    Table,
    imagej_unit,
    plain_stack,
    read_imagej,
    read_shaped,
)
from wkdvid.backends.tiff.range_file import RangeFile
from wkdvid.core.limits import Limits
from wkdvid.errors import BackendError, CorruptChunk, InvalidRequest

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

NM_PER_RESOLUTION_UNIT: Mapping[int, float] = {2: 25.4e6, 3: 1e7}
"""Inch and centimetre."""


@dataclass(frozen=True, slots=True, eq=False)
class TiffLevel:
    layout: Layout
    pages: Sequence[Sequence[Page | None]]
    """By c and z; None where a plane was never written."""
    factor: int
    """How many times finer, in x and y, the image is."""


@dataclass(frozen=True, slots=True, eq=False)
class TiffImage:
    levels: Sequence[TiffLevel]
    """Finest first."""
    voxel_size_nm: PartialSize
    notes: tuple[str, ...]


def read_image(file: RangeFile, time: int, limits: Limits, what: str) -> TiffImage:
    """Read the directories of a file. What is wrong with them may make tifffile raise anything.

    Args:
        time: Which of several time points.
    Raises:
        InvalidRequest: an image that is not read; with what would help.
        BackendError: it cannot be read, or is damaged.
    """
    try:
        image = _Directories(open_directory(file), limits, what).image(time)
    except (InvalidRequest, BackendError):
        raise
    except Exception as error:
        file.check()
        raise CorruptChunk(f"{what}: its directories are damaged") from error
    finally:
        file.close()  # what decodes tiles may hold it
    file.check()
    return image


class _Directories:
    def __init__(self, tiff: TiffFile, limits: Limits, what: str) -> None:
        self._pages = tiff.pages
        self._first = tiff.pages.first
        self._imagej = tiff.imagej_metadata
        self._limits = limits
        self._what = what
        self._layouts: dict[int, Layout] = {}
        """By ``TiffPage.hash``."""
        self._base = self._read(self._first)

    def image(self, time: int) -> TiffImage:
        base = self._base
        planes = self._described(base.layout)
        if planes is not None and planes.virtual:
            stack = {int(i): [_following(base, int(i))] for i in planes.pages.flat}
            notes: tuple[str, ...] = ()
        else:
            families = [self._family(page) for page in cast("Iterable[TiffPage]", self._pages)]
            alike = [i for i, family in enumerate(families) if family and family[0].layout is base.layout]
            planes = planes or plain_stack(alike)
            stack, notes = self._stack(families, planes)
        levels = tuple(_levels(stack, self._time_point(planes, time)))
        return TiffImage(levels, self._voxel_size(planes), (*planes.notes, *notes, *_time_notes(planes, time)))

    def _read(self, page: TiffPage) -> Page:
        found = read_page(page, self._limits, self._what, self._layouts.get(page.hash))
        self._layouts[page.hash] = found.layout
        return found

    def _family(self, page: TiffPage) -> list[Page]:
        """A page and its coarser levels in SubIFDs; nothing where its voxels are of another kind than the first's."""
        family: list[Page] = []
        for member in (page, *sub_pages(page)):
            if (member.dtype, member.samplesperpixel) != (self._first.dtype, self._first.samplesperpixel):
                break
            found = self._read(member)
            coarser = not family or _factor(family[-1].layout, found.layout) is not None
            if found.layout.kind != self._base.layout.kind or not coarser:
                break
            family.append(found)
        return family

    def _stack(self, families: Sequence[list[Page]], planes: Planes) -> tuple[dict[int, list[Page]], tuple[str, ...]]:
        """The levels of each page that is a plane, and notes. What other pages there are may be coarser levels."""
        used = [int(i) for i in np.unique(planes.pages) if i >= 0]
        stack = {i: families[i] for i in used}
        layouts = [page.layout for page in stack[used[0]]] if used else []
        for i, family in stack.items():
            if not layouts or [page.layout for page in family] != layouts:
                raise InvalidRequest(f"{self._what}: page {i} differs from the others in size, kind or levels")
        others: dict[Layout, list[Page]] = {}
        for i, family in enumerate(families):
            if i not in stack and family:
                others.setdefault(family[0].layout, []).append(family[0])
        ignored = len(families) - len(used)
        for layout, pages in others.items():
            if len(pages) == len(used) and _factor(layouts[-1], layout) is not None:
                layouts.append(layout)
                ignored -= len(pages)
                for i, page in zip(used, pages, strict=True):
                    stack[i].append(page)
        return stack, (f"{ignored} pages of the file are neither planes nor levels of its image.",) if ignored else ()

    def _described(self, layout: Layout) -> Planes | None:
        """The planes as the file's description says; None where it has none, or one that does not fit."""
        first, pages = self._first, len(self._pages)
        if is_ome(first.description):
            return read_ome(first.description, layout.samples, pages, self._what)
        if self._imagej is not None:
            contiguous = first.is_contiguous and first.is_final
            return read_imagej(self._imagej, layout.samples, pages, contiguous=contiguous)
        return read_shaped(first.description, first.shape, pages)

    def _time_point(self, planes: Planes, time: int) -> Table:
        last = len(planes.pages) - 1
        if time > last:
            raise InvalidRequest(f"{self._what}: t: expected a whole number from 0 to {last}, got {time}")
        table: Table = planes.pages[time]
        return table

    def _voxel_size(self, planes: Planes) -> PartialSize:
        """As OME-XML says it, else by the resolution of the first page; ImageJ has a unit, and the z, of its own."""
        if planes.voxel_size_nm != NO_SIZE:
            return planes.voxel_size_nm
        if self._imagej is None:
            unit, spacing = NM_PER_RESOLUTION_UNIT.get(int(self._first.tags.valueof(296, default=2))), None
        else:
            unit, spacing = imagej_unit(self._imagej), self._imagej.get("spacing")
        if unit is None:
            return NO_SIZE
        x, y = (unit / count if is_size(count) else None for count in resolution_of(self._first))
        return (x, y, spacing * unit if is_size(spacing) else None)


def _levels(stack: Mapping[int, Sequence[Page]], table: Table) -> Iterator[TiffLevel]:
    layouts = [page.layout for page in next(iter(stack.values()))]
    factor = 1
    for k, layout in enumerate(layouts):
        factor *= (_factor(layouts[k - 1], layout) or 1) if k else 1
        pages = [[stack[int(i)][k] if i >= 0 else None for i in row] for row in table]
        yield TiffLevel(layout, pages, factor)


def _factor(fine: Layout, coarse: Layout) -> int | None:
    """How many times smaller, in x and y, a level is: a whole number, whichever way its size was rounded.

    The longer side tells: of 3 voxels, halved, 1 may be left. None where it is no coarser level.
    """
    sides = [(fine.width, coarse.width), (fine.height, coarse.height)]
    long, short = max(sides)
    factor = round(long / short)
    fits = factor > 1 and all(abs(a / factor - b) < 1 for a, b in sides)
    return factor if fits else None


def _following(first: Page, number: int) -> Page:
    """A plane whose voxels follow those of the first page."""
    return replace(first, shift=number * int(first.byte_counts.sum()))


def _time_notes(planes: Planes, time: int) -> tuple[str, ...]:
    count = len(planes.pages)
    return (f"The source has {count} time points; t = {time} is served.",) if count > 1 else ()
