"""An inspection as JSON: what ``wkdvid inspect --json`` prints and ``POST /api/inspect`` answers."""

from __future__ import annotations

import math
from typing import Any

from wkdvid.core.volume import LayerInfo
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.dvid.instances import instances
from wkdvid.frontends.dvid.versions import shown
from wkdvid.frontends.webknossos.documents import bounding_box, element_class
from wkdvid.inspection.inspector import InspectedLayer, Inspection, Inspector
from wkdvid.inspection.sampling import LevelSample


async def answer(inspector: Inspector, body: object) -> dict[str, Any]:
    """What ``POST /api/inspect`` answers; errors as ``Inspector.inspect``.

    Args:
        body: The parsed JSON.
    """
    if not isinstance(body, dict):
        raise InvalidRequest('body: expected an object, such as {"source": "gs://bucket/folder"}')
    found = await inspector.inspect(body)
    await found.aclose()
    return document(found)


def document(found: Inspection) -> dict[str, Any]:
    return {
        "backend": found.backend,
        "problems": list(found.problems),
        "layers": [_layer(found, layer) for layer in found.layers],
    }


def _layer(found: Inspection, layer: InspectedLayer) -> dict[str, Any]:
    info = layer.info
    return {
        "name": info.name,
        "category": info.category,
        "dtype": info.dtype.name,
        "channels": info.num_channels,
        "entry": dict(layer.entry),
        "voxelSizeNm": list(info.voxel_size_nm),
        "fillValue": info.fill_value if math.isfinite(info.fill_value) else str(info.fill_value),
        "largestSegmentId": info.largest_segment_id,
        "levels": [_level(info, i, sample) for i, sample in enumerate(layer.samples)],
        "served": {"webknossos": _webknossos(layer), "dvid": _dvid(found, layer)},
        "problems": list(layer.problems),
    }


def _level(info: LayerInfo, i: int, sample: LevelSample) -> dict[str, Any]:
    level = info.levels[i]
    return {
        "mag": list(level.mag),
        "offset": list(level.extent.start),
        "size": list(level.extent.size),
        "chunkShape": list(level.chunk_shape),
        "chunkOrigin": list(level.chunk_origin),
        "encoding": level.encoding,
        "sample": {
            "chunks": sample.chunks,
            "lookedAt": sample.looked_at,
            "withData": sample.with_data,
            "neverWritten": sample.absent,
            "blank": sample.blank,
            "failed": len(sample.failures),
        },
    }


def _webknossos(layer: InspectedLayer) -> dict[str, Any] | None:
    """The layer there, or None if it would be refused; its mags are relative to the dataset's finest voxels."""
    if layer.served is None:
        return None
    info = layer.served.info
    return {
        "layer": info.name,
        "elementClass": element_class(info),
        "boundingBox": bounding_box(info),
        "mags": [{"mag": list(mag), "stored": layer.served.scales[mag].stored} for mag in layer.served.mags],
    }


def _dvid(found: Inspection, layer: InspectedLayer) -> list[dict[str, Any]]:
    """The data instances there, a labelmap with all of its scales."""
    return [
        {
            "instance": one.name,
            "type": one.typename,
            "scales": [
                {"mag": list(scale.mag), "stored": scale.stored}
                for scale in (one.layer.halvings if one.is_labels else [one.scale])
            ],
        }
        for one in instances(shown(found.dataset), found.dataset)
        if layer.served is one.layer
    ]
