"""The levels of a layer, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wkdvid.core.geometry import Box, mag_text, volume_of
from wkdvid.core.layers import Layer
from wkdvid.core.volume import LevelInfo
from wkdvid.frontends.home.facts import times


@dataclass(frozen=True, slots=True)
class LevelRow:
    mag: str
    voxel_size: str
    """In nm."""
    size: str
    offset: str
    chunk: str
    chunks: str
    encoding: str


def level_rows(layer: Layer) -> Sequence[LevelRow]:
    return [_level(level, layer) for level in layer.info.levels]


def _level(level: LevelInfo, layer: Layer) -> LevelRow:
    return LevelRow(
        mag=mag_text(level.mag),
        voxel_size=times(f"{nm * factor:g}" for nm, factor in zip(layer.info.voxel_size_nm, level.mag, strict=True)),
        size=times(f"{n:,}" for n in level.extent.size),
        offset=", ".join(map(str, level.extent.start)),
        chunk=times(map(str, level.chunk_shape)),
        chunks=f"{_chunks(level):,}",
        encoding=level.encoding,
    )


def _chunks(level: LevelInfo) -> int:
    """How many chunks the extent touches."""
    x, y, z = (a - origin for a, origin in zip(level.extent.start, level.chunk_origin, strict=True))
    return volume_of(Box.at((x, y, z), level.extent.size).scaled_down(level.chunk_shape).size)


def computed_mags(layer: Layer) -> str:
    """Of those that webKnossos is offered."""
    return ", ".join(mag_text(mag) for mag in layer.mags if not layer.scales[mag].stored)
