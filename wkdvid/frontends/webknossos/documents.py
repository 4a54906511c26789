"""Layers and datasets as webKnossos describes them (webknossos.md A.3 and B.10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any, TypeAlias
from urllib.parse import quote

from wkdvid.core.catalog import Dataset, State
from wkdvid.core.geometry import mag_text
from wkdvid.core.layers import Layer
from wkdvid.core.volume import LayerInfo
from wkdvid.export.zarr_documents import ZarrFormat
from wkdvid.frontends.addresses import (
    neuroglancer_address,
    precomputed_address,
    zarr2_address,
    zarr_address,
)

MAX_SAFE_INTEGER = 2**53 - 1
"""Ids above this need an envelope, which a version before 15 cannot read."""
ENVELOPES_SINCE = 15
RGB = 3
AXIS_ORDER = {"c": 0, "x": 1, "y": 2, "z": 3}
"""Of the arrays that we stream."""

FindAddress: TypeAlias = Callable[[Dataset, LayerInfo, str], str | None]
LAYER_ADDRESSES: Mapping[str, FindAddress] = {
    "neuroglancer": neuroglancer_address,
    "precomputed": precomputed_address,
    "zarr": zarr_address,
    "zarr2": zarr2_address,
}
Storage: TypeAlias = Callable[[Layer], dict[str, Any]]
"""From a layer to ``dataFormat`` and ``mags``."""
_ELEMENT_CLASSES = {"float32": "float", "float64": "double"}


def listing(dataset: Dataset, base: str) -> dict[str, Any]:
    """What the server says of one dataset: names, layers and where each protocol has it.

    Args:
        base: Scheme and host that the caller used.
    """
    key, (state, reason) = dataset.key, dataset.status
    path = f"{quote(key.organization)}/{quote(key.dataset)}"
    return {
        "organization": key.organization,
        "name": key.dataset,
        "datasetId": dataset.entry.dataset_id,
        "uuid": dataset.entry.uuid,
        "state": state,
        **({"reason": reason} if reason else {}),
        "public": dataset.public,
        "layers": [listed_layer(layer) for layer in dataset.layers.values()],
        "addresses": {
            "webknossos": f"{base}/data/datasets/{path}",
            "dvid": f"{base}/api/repo/{dataset.entry.uuid}/info",
            **{name: _of_layers(find, dataset, base) for name, find in LAYER_ADDRESSES.items()},
        },
    }


def _of_layers(find: FindAddress, dataset: Dataset, base: str) -> list[str]:
    """The address of each layer that has one."""
    addresses = (find(dataset, layer.info, base) for layer in dataset.layers.values())
    return [address for address in addresses if address is not None]


def listed_layer(layer: Layer) -> dict[str, Any]:
    info = layer.info
    return {
        "name": info.name,
        "category": info.category,
        "elementClass": element_class(info),
        "format": info.format,
        "voxelSizeNm": list(info.voxel_size_nm),
        "boundingBox": bounding_box(info),
        "mags": [list(mag) for mag in layer.mags],
        "notes": list(info.notes),
    }


def element_class(info: LayerInfo) -> str:
    """``uint24`` for RGB, else numpy's name, but ``float`` and ``double``."""
    if info.num_channels == RGB:
        return "uint24"
    return _ELEMENT_CLASSES.get(info.dtype.name, info.dtype.name)


def data_source(dataset: Dataset, version: int, storage: Storage) -> dict[str, Any]:
    """The DataSource of a dataset, readable by legacy and modern clients alike.

    Args:
        version: Of the API; it decides how large segment ids are written.
        storage: What is said of where a layer's arrays are and in which format.
    """
    identity = {"team": dataset.key.organization, "name": dataset.key.dataset}
    if dataset.state is not State.OPEN:
        return {"id": identity, "status": dataset.reason or "is being opened"}
    factor = next(iter(dataset.layers.values())).info.voxel_size_nm
    return {
        "id": identity,
        "scale": {"factor": list(factor), "unit": "nanometer"},
        "version": 1,
        "dataLayers": [data_layer(layer, version, storage) for layer in dataset.layers.values()],
    }


def data_layer(layer: Layer, version: int, storage: Storage) -> dict[str, Any]:
    info = layer.info
    document: dict[str, Any] = {
        "name": info.name,
        "category": info.category,
        "elementClass": element_class(info),
        "numChannels": info.num_channels,
        "boundingBox": bounding_box(info),
        **storage(layer),
    }
    document["resolutions"] = [mag["mag"] for mag in document["mags"]]
    if info.category == "segmentation":
        document |= {"mappings": [], **_largest_segment_id(info, version)}
    return document


def streamed(zarr_format: ZarrFormat) -> Storage:
    """The layers as ``export.ome_zarr`` has them; paths begin at the dataset."""

    def storage(layer: Layer) -> dict[str, Any]:
        paths = {mag: f"./{layer.info.name}/{mag_text(mag)}" for mag in layer.mags}
        return {
            "dataFormat": "zarr" if zarr_format == 2 else "zarr3",
            "mags": [{"mag": list(mag), "path": path, "axisOrder": AXIS_ORDER} for mag, path in paths.items()],
        }

    return storage


def bounding_box(info: LayerInfo) -> dict[str, Any]:
    """In voxels of mag 1."""
    box = info.levels[0].extent.scaled_up(info.levels[0].mag)
    width, height, depth = box.size
    return {"topLeft": list(box.start), "width": width, "height": height, "depth": depth}


def _largest_segment_id(info: LayerInfo, version: int) -> dict[str, Any]:
    largest = None if info.largest_segment_id is None else segment_id(info.largest_segment_id, version)
    return {} if largest is None else {"largestSegmentId": largest}


def segment_id(number: int, version: int) -> int | dict[str, str] | None:
    """As JSON: in an envelope, where JavaScript does not hold it. None: a version that cannot read those."""
    if abs(number) <= MAX_SAFE_INTEGER:
        return number
    return {"customJsonEncoding": "bigint", "value": str(number)} if version >= ENVELOPES_SINCE else None


def directory(names: Iterable[str]) -> str:
    """A page that lists what is in a folder of the tree."""
    items = "".join(f'<li><a href="{quote(name)}">{escape(name)}</a></li>' for name in names)
    return f"<!doctype html><title>wkdvid</title><ul>{items}</ul>"
