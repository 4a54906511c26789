"""What is wrong or odd about a layer, each in a sentence that ends with what helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wkdvid.core.geometry import Box, Vec3, volume_of
from wkdvid.core.pyramid import MAX_FACTOR, SMALL_ENOUGH
from wkdvid.core.volume import LayerInfo
from wkdvid.errors import AuthRejected, BackendError, CorruptChunk
from wkdvid.inspection.sampling import LevelSample

LARGE_CHUNK_BYTES = 10_000_000
"""Decoded; a browser's read of 32^3 or 64^3 voxels waits for whole chunks."""
NOT_DRAWN: Mapping[str, str] = {"int64": "Neuroglancer", "float64": "Neuroglancer and webKnossos"}
"""Who cannot draw voxels of a type at all."""
NOT_OVER_DVID = frozenset({"int8", "int16", "int32", "int64", "float64"})
"""DVID has no type for them."""
REMEDIES: Mapping[type[BackendError], str] = {
    CorruptChunk: "write or copy them again",
    AuthRejected: "the operator can grant credentials for them (sources.credentials), or their owner open them",
    BackendError: "see whether the source's host is well, and inspect again",
}
"""By the kind of a failure, the most special first."""


def layer_problems(info: LayerInfo) -> Iterator[str]:
    """What its metadata shows."""
    yield from _type_problems(info)
    yield from _pyramid_problems(info)
    for i, level in enumerate(info.levels):
        size = volume_of(level.chunk_shape) * info.voxel_bytes
        if size > LARGE_CHUNK_BYTES:
            yield (
                f"A chunk of level {i} has {size / 1e6:.0f} MB decoded, so that small reads are slow: write it with"
                " chunks of 64x64x64, which viewers like."
            )
    if min(info.levels[0].extent.start) < 0:
        yield (
            f"The volume begins at {info.levels[0].extent.start}, and webKnossos does not show negative positions: move"
            " its offset, if it is to be seen there as a whole."
        )


def _type_problems(info: LayerInfo) -> Iterator[str]:
    name = info.dtype.name
    if name in NOT_DRAWN:
        yield f"{NOT_DRAWN[name]} cannot draw voxels of type {name}: convert it, for example to float32."
    if name in NOT_OVER_DVID:
        yield f"Voxels of type {name} are not offered over DVID, which has no such type: convert it if you need that."
    if info.category == "color" and name in ("uint64", "int64"):
        yield (
            f"webKnossos shows voxels of type {name} as a segmentation only: if they are ids, give the layer the type"
            " segmentation."
        )
    if info.category == "segmentation" and info.dtype.kind == "f":
        yield f"A segmentation of type {name} has no ids: give the layer the type image, or convert it."


def _pyramid_problems(info: LayerInfo) -> Iterator[str]:
    finest, coarsest = info.levels[0], info.levels[-1]
    beyond = max(coarsest.extent.size) > SMALL_ENOUGH * MAX_FACTOR
    if len(info.levels) == 1 and max(finest.extent.size) > SMALL_ENOUGH:
        reach = f"only down to a {MAX_FACTOR}th" if beyond else "from all of its voxels"
        yield (
            f"There is one level only, and views that are zoomed out are computed, {reach}, which is slow: store"
            " coarser levels."
        )
    elif beyond:
        yield (
            f"The coarsest level still has {_times(coarsest.extent.size)} voxels, and the whole cannot be seen at"
            " once: store coarser levels."
        )
    for i, level in enumerate(info.levels[1:], 1):
        covered = level.extent.scaled_up(level.mag)
        if _lacks_voxels(covered, finest.extent, level.mag):
            yield (
                f"Level {i} covers {_range(covered)} of {_range(finest.extent)}, and the rest is not seen from afar:"
                " make it anew."
            )


def _lacks_voxels(covered: Box, whole: Box, mag: Vec3) -> bool:
    """Whole voxels at an edge: where sizes are rounded down, as by libvips, a part of one is lacking."""
    sides = zip(covered.start, covered.stop, whole.start, whole.stop, mag, strict=True)
    return any(low - first >= side or last - high >= side for low, high, first, last, side in sides)


def sample_problems(samples: Sequence[LevelSample]) -> Iterator[str]:
    """What the chunks show that were looked at."""
    for i, sample in enumerate(samples):
        which = f"of {sample.looked_at} chunks of level {i} that were looked at"
        if not sample.looked_at:
            yield f"There was no time to look at level {i}: inspect again, or see whether the source is slow."
        elif sample.failures:
            first = sample.failures[0]
            yield f"{len(sample.failures)} {which} cannot be read ({first}): {_remedy(first)}."
        elif sample.absent == sample.looked_at:
            yield (
                f"None {which} was ever written: if there should be data, see whether the chunks were copied along, and"
                " have the names that the metadata says."
            )
        elif not sample.with_data:
            yield f"None {which} holds anything but zeros or the fill value: see whether the data was written."


def _remedy(failure: BackendError) -> str:
    return next(text for kind, text in REMEDIES.items() if isinstance(failure, kind))


def _times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _range(box: Box) -> str:
    return f"{box.start} to {box.stop}"
