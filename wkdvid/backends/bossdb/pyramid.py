"""Which resolutions of a channel the server can serve, and what has to be said about the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wkdvid.backends.bossdb.cutouts import chunk_shape
from wkdvid.backends.bossdb.metadata import CUBOID, Channel, Frame, Resolution
from wkdvid.backends.levels import level_mags
from wkdvid.core.geometry import ZERO, Box, Float3
from wkdvid.core.volume import LevelInfo
from wkdvid.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """At least one level, finest first."""

    numbers: tuple[int, ...]
    """Of the server's resolutions, one for each level."""
    levels: tuple[LevelInfo, ...]
    voxel_size_nm: Float3
    """Of the finest level."""
    notes: tuple[str, ...]


def plan_pyramid(
    channel: Channel, frame: Frame, resolutions: Sequence[Resolution], chunk_bytes: int, what: str
) -> Pyramid:
    """The levels that can be read, each of them whole.

    Args:
        resolutions: Finest first; none if the server cannot describe them.
        chunk_bytes: Of voxels, that are asked for at a time at most.
    Raises:
        InvalidRequest: not even the base resolution can be read, or they make no pyramid.
    """
    served, notes = _served(channel, frame, resolutions, what)
    mags = level_mags([resolution.voxel_size_nm for resolution in served], what)
    levels = tuple(
        LevelInfo(
            mag=mag,
            extent=_extent(resolution, frame, what),
            chunk_shape=chunk_shape(resolution.cuboid, channel.dtype.itemsize, chunk_bytes),
            chunk_origin=ZERO,
            encoding="blosc",
        )
        for mag, resolution in zip(mags, served, strict=True)
    )
    numbers = tuple(resolution.number for resolution in served)
    return Pyramid(numbers=numbers, levels=levels, voxel_size_nm=served[0].voxel_size_nm, notes=notes)


def _served(
    channel: Channel, frame: Frame, resolutions: Sequence[Resolution], what: str
) -> tuple[Sequence[Resolution], tuple[str, ...]]:
    """Those from the base on, below which nothing was written."""
    if not resolutions and not channel.base_resolution:
        finest = Resolution(number=0, voxel_size_nm=frame.voxel_size_nm, stop=frame.extent.stop, cuboid=CUBOID)
        return [finest], ("The server does not describe the pyramid: its finest resolution is served alone.",)
    written = [resolution for resolution in resolutions if resolution.number >= channel.base_resolution]
    if not written or written[0].number != channel.base_resolution:
        raise InvalidRequest(f"{what}: the server does not describe resolution {channel.base_resolution}, the base")
    if not channel.is_downsampled and len(written) > 1:
        return written[:1], ("The channel is not downsampled: its base resolution is served alone.",)
    whole = [resolution for resolution in written if _is_whole(resolution, frame)]
    if whole == written:
        return written, ()
    if not whole or whole[0] is not written[0]:
        raise InvalidRequest(f"{what}: the frame begins at {frame.extent.start}: the server refuses a part of the base")
    note = (
        f"The frame begins at {frame.extent.start}: of coarser resolutions the server refuses a part, so"
        f" {len(written) - len(whole)} of them are not served."
    )
    return whole, (note,)


def _is_whole(resolution: Resolution, frame: Frame) -> bool:
    """Whether the server lets all voxels of a resolution be read.

    It compares boxes of every resolution with the frame in voxels of resolution 0. So where the frame begins beyond 0
    on an axis that is downsampled, a part is refused, which would look as if nothing were there.
    """
    sides = zip(frame.extent.start, resolution.voxel_size_nm, frame.voxel_size_nm, strict=True)
    return all(start == 0 or round(size / finest) == 1 for start, size, finest in sides)


def _extent(resolution: Resolution, frame: Frame, what: str) -> Box:
    """Of a resolution that is served whole. The server's extents count from 0, not from the frame."""
    inside = frame.extent.intersect(Box(frame.extent.start, resolution.stop))
    if inside is None:
        raise InvalidRequest(f"{what}: resolution {resolution.number} has no voxels within the frame")
    return inside
