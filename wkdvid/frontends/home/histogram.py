"""How often the values of a layer occur: counted once for each opening, drawn as a plot, and what contrast follows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from wkdvid.core.body_cache import Body
from wkdvid.core.concurrent import begin_shared
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import AUTOMATIC, Tone
from wkdvid.core.sampling import sampled_voxels
from wkdvid.core.services import Services
from wkdvid.core.volume import Array, LayerInfo

BINS = 128
OUTLIERS = 0.1
"""Percent of the values, at either end, that the plot does not show."""
CLIPPED = 0.5
"""Percent of the values, at either end, that the contrast makes black or white."""
WAIT_S = 2.0
"""How long a page waits for it; it is then counted on for the next one."""
HEIGHT = 100.0
"""Of the plot, in the units of its drawing; a bin is one wide."""


@dataclass(frozen=True, slots=True)
class Histogram:
    counts: tuple[tuple[int, ...], ...]
    """For each channel, of ``BINS`` bins from ``low`` to ``high``."""
    low: float
    high: float
    window: tuple[float, float]
    """What to show black and white."""
    voxels: int
    """How many were looked at: those of a lattice of places that are not 0."""


async def histogram_of(services: Services, layer: Layer) -> Histogram | None:
    """None: not yet known; segments have none.

    Raises:
        BackendError: the source cannot be read.
    """
    if layer.info.category == "segmentation":
        return None

    async def make() -> Body:
        voxels = await sampled_voxels(services, layer)
        return await services.apart(lambda: orjson.dumps(count(voxels, layer.info)))

    key = (layer.scales[layer.info.levels[0].mag].id, "home histogram")
    counting = begin_shared(services.kept(key, make), "count values")
    try:
        body = await asyncio.wait_for(asyncio.shield(counting), WAIT_S)
    except TimeoutError:
        return None
    told: dict[str, Any] = orjson.loads(body)
    return Histogram(**{**told, "window": tuple(told["window"])})


def count(voxels: Array, info: LayerInfo) -> dict[str, Any]:
    """The members of a ``Histogram``.

    Args:
        voxels: (c, n).
    """
    values = voxels[np.isfinite(voxels)] if info.dtype.kind == "f" else voxels.ravel()
    if not values.size:
        return {"counts": [], "low": 0, "high": 1, "window": [0, 0], "voxels": 0}
    low, black, white, high = (
        float(v) for v in np.percentile(values, (OUTLIERS, CLIPPED, 100 - CLIPPED, 100 - OUTLIERS))
    )
    if info.dtype == np.uint8:
        low, high = 0.0, 255.0
    high = max(high, float(np.nextafter(low, np.inf)))
    counts = [np.histogram(channel, BINS, (low, high))[0].tolist() for channel in voxels]
    return {"counts": counts, "low": low, "high": high, "window": [black, white], "voxels": voxels.shape[1]}


def tone_of(histogram: Histogram | None, info: LayerInfo) -> Tone:
    """The contrast in which pictures of the layer are shown."""
    if histogram is None or info.num_channels > 1 or histogram.window[0] >= histogram.window[1]:
        return AUTOMATIC
    return Tone(*histogram.window)


def outlines(histogram: Histogram) -> list[str]:
    """For each channel the path of an SVG, ``BINS`` wide and ``HEIGHT`` high, its most frequent value at the top."""
    return [_outline(counts, max(*counts, 1)) for counts in histogram.counts]


def _outline(counts: tuple[int, ...], most: int) -> str:
    steps = "".join(f"V{HEIGHT * (1 - number / most):.1f}h1" for number in counts)
    return f"M0 {HEIGHT:g}{steps}V{HEIGHT:g}z"


def place_of(histogram: Histogram, value: float) -> float:
    """Where a value stands in the plot, from 0 to ``BINS``."""
    share = (value - histogram.low) / (histogram.high - histogram.low)
    return round(BINS * min(max(share, 0.0), 1.0), 2)
