"""A dataset as it is reported to main servers of each generation (webknossos.md A.3, B.10, C.2 M2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import mag_text
from wkdvid.core.layers import Layer
from wkdvid.frontends.webknossos.documents import AXIS_ORDER, ENVELOPES_SINCE, MAX_SAFE_INTEGER, Storage, data_source

CUBE_LENGTH = 1024
"""Of the files that servers of 2019 take a layer to lie in."""


def forms(base: str) -> Sequence[Callable[[Dataset], dict[str, Any]]]:
    """Newest first.

    Args:
        base: Where clients reach this server.
    """
    return (
        lambda dataset: {"dataSource": data_source(dataset, ENVELOPES_SINCE, _streamed_from(base, dataset))},
        lambda dataset: data_source(dataset, ENVELOPES_SINCE - 1, _streamed_from(base, dataset)),
        _connect,
    )


def _streamed_from(base: str, dataset: Dataset) -> Storage:
    """Whoever follows the paths reads zarr 3 from here, by our own id: the main server has yet to give one."""
    tree = f"{base}/data/v{ENVELOPES_SINCE}/zarr/{dataset.entry.dataset_id}"

    def storage(layer: Layer) -> dict[str, Any]:
        paths = {mag: f"{tree}/{layer.info.name}/{mag_text(mag)}" for mag in layer.mags}
        mags = [{"mag": list(mag), "path": path, "axisOrder": AXIS_ORDER} for mag, path in paths.items()]
        return {"dataFormat": "zarr3", "mags": mags}

    return storage


def _connect(dataset: Dataset) -> dict[str, Any]:
    """As webknossos-connect reports it."""
    source = data_source(dataset, ENVELOPES_SINCE - 1, _as_wkw)
    if "status" in source:
        return source
    layers = source["dataLayers"]
    for layer in layers:
        if layer["category"] == "segmentation":
            largest = int(np.iinfo(layer["elementClass"]).max)
            layer.setdefault("largestSegmentId", min(largest, MAX_SAFE_INTEGER))
    return {"id": source["id"], "scale": source["scale"]["factor"], "dataLayers": layers}


def _as_wkw(layer: Layer) -> dict[str, Any]:
    mags = [list(mag) for mag in layer.mags]
    return {
        "dataFormat": "wkw",
        "mags": [{"mag": mag} for mag in mags],
        "wkwResolutions": [{"resolution": mag, "cubeLength": CUBE_LENGTH} for mag in mags],
    }
