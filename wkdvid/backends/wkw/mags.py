"""The mags of a layer: where the folders are, what their ``header.wkw`` says, and which of them make a pyramid."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wkdvid.backends.opening import Opener
from wkdvid.backends.stored_objects import open_objects
from wkdvid.backends.wkw.header import HEADER_BYTES, HEADER_FILE, Grid, Header, parse_header
from wkdvid.backends.wkw.properties import LayerProperties, mag_of_folder
from wkdvid.core.geometry import ONE, Box, Vec3, volume_of
from wkdvid.core.source import Source
from wkdvid.errors import AuthRejected, CorruptChunk, InvalidRequest, UpstreamUnavailable

UNFIT = (InvalidRequest, CorruptChunk, AuthRejected)
"""Why a mag is left out. What may pass is no reason."""

_FILE = re.compile(r"(?:([^/]+)/)?z([0-9]{1,9})/y([0-9]{1,9})/x([0-9]{1,9})\.wkw")


@dataclass(frozen=True, slots=True)
class Place:
    mag: Vec3
    folders: tuple[str, ...]
    """Of which the first that is there holds the mag."""
    box: Box
    """In voxels of the mag; where nothing but its files says how far it goes, in whole files."""
    in_files: bool = False

    def extent(self, grid: Grid) -> Box:
        side = grid.block_side * grid.file_side if self.in_files else 1
        return self.box.scaled_up((side, side, side))


@dataclass(frozen=True, slots=True)
class StoredMag:
    mag: Vec3
    source: Source
    header: Header
    extent: Box


def described_places(layer: LayerProperties) -> list[Place]:
    return [Place(mag.mag, mag.folders, layer.box.scaled_down(mag.mag)) for mag in layer.mags]


async def listed_places(opener: Opener, source: Source) -> list[Place]:
    """The mags of which a layer's folder has files, by their names, or the one mag that it is itself.

    None of a web server's, which lists no files.

    Raises:
        BackendError: the folder cannot be listed.
    """
    if source.is_http:
        return []
    objects = await open_objects(source, opener.context)
    try:
        async with asyncio.timeout(opener.deadline_s):
            keys = await objects.keys()
    except TimeoutError as error:
        raise UpstreamUnavailable(f"{source.name}: no list of its files within {opener.deadline_s:g} s") from error
    return _places(keys)


def _places(keys: Iterable[str]) -> list[Place]:
    files: dict[str, Box] = {}
    for key in keys:
        found = _FILE.fullmatch(key)
        if found is not None:
            file = Box.at((int(found[4]), int(found[3]), int(found[2])), ONE)
            files[found[1] or ""] = _around(files.get(found[1] or "", file), file)
    mags = {folder: mag_of_folder(folder) if folder else ONE for folder in files}
    return [Place(mag, (folder,), files[folder], in_files=True) for folder, mag in mags.items() if mag is not None]


def _around(a: Box, b: Box) -> Box:
    """The smallest box that holds both."""
    (x0, y0, z0), (x1, y1, z1), (u0, v0, w0), (u1, v1, w1) = a.start, a.stop, b.start, b.stop
    return Box((min(x0, u0), min(y0, v0), min(z0, w0)), (max(x1, u1), max(y1, v1), max(z1, w1)))


async def open_mags(
    opener: Opener, folder: Source, places: Sequence[Place]
) -> tuple[Sequence[StoredMag], tuple[str, ...]]:
    """Those that make a pyramid, finest first, and a note for each that is left out.

    Args:
        folder: That the places are relative to.
    Raises:
        InvalidRequest, CorruptChunk, AuthRejected: there is none that can be read.
        InvalidRequest: a web server that does not send parts of files.
        UpstreamUnavailable: the source does not answer.
    """
    opener.check_levels(len(places), folder.name)
    ordered = sorted(places, key=lambda place: (volume_of(place.mag), place.mag))
    answers = await asyncio.gather(*(_open(opener, folder, place) for place in ordered), return_exceptions=True)
    mags: list[StoredMag] = []
    unfit: list[tuple[Vec3, Exception]] = []
    for place, answer in zip(ordered, answers, strict=True):
        try:
            if isinstance(answer, BaseException):
                raise answer
            _check_fit(mags, answer)
        except UNFIT as error:
            unfit.append((place.mag, error))
        else:
            mags.append(answer)
    if not mags:
        raise unfit[0][1]
    await opener.check_ranges(mags[0].source, HEADER_FILE)
    return mags, tuple(f"Mag {'-'.join(map(str, mag))} is left out: {error}." for mag, error in unfit)


async def _open(opener: Opener, folder: Source, place: Place) -> StoredMag:
    """
    Raises:
        InvalidRequest, BackendError: it cannot be read.
    """
    refusal: AuthRejected | None = None
    for name in place.folders:
        source = opener.guard.child(folder, name)
        try:
            data = await opener.read_start(source, HEADER_FILE, HEADER_BYTES)
        except AuthRejected as error:  # some buckets refuse what they lack
            refusal = error
            continue
        if data is not None:
            header = parse_header(data, f"{source.name} ({HEADER_FILE})")
            _check_size(opener, header.grid, source.name)
            return StoredMag(place.mag, source, header, place.extent(header.grid))
    raise refusal or InvalidRequest(f"{folder.name}: there is no {HEADER_FILE} in {' or '.join(place.folders)}")


def _check_size(opener: Opener, grid: Grid, what: str) -> None:
    """Decoding holds a whole block: a header must not declare one that fills the memory."""
    limit = opener.limits.chunk_bytes
    if grid.block_bytes > limit:
        raise InvalidRequest(
            f"{what}: one block has {grid.block_bytes} bytes decoded, the limit is {limit} (limits.chunk_bytes)"
        )


def _check_fit(finer: Sequence[StoredMag], mag: StoredMag) -> None:
    """
    Raises:
        InvalidRequest: it makes no pyramid with those before it.
    """
    if not finer:
        return
    voxels, of_finest = mag.header.grid.voxels, finer[0].header.grid.voxels
    if voxels != of_finest:
        raise InvalidRequest(f"its voxels are {voxels}, those of the finest mag {of_finest}")
    if mag.mag == finer[-1].mag:
        raise InvalidRequest("it is there twice")
    if any(a < b for a, b in zip(mag.mag, finer[-1].mag, strict=True)):
        raise InvalidRequest("it is finer on some axis than the one before it")
