"""Where other programs find a dataset and its layers: what they are given to copy."""

from __future__ import annotations

from urllib.parse import quote

from wkdvid.core.catalog import Dataset
from wkdvid.core.entries import DatasetKey
from wkdvid.core.volume import LayerInfo
from wkdvid.export.precomputed import can_hold


def neuroglancer_address(dataset: Dataset, info: LayerInfo, base: str) -> str | None:
    """The layer in Neuroglancer over ``dvid://``. None: there it knows gray of 8 bits and labels alone.

    Args:
        base: Scheme and host that the caller used, and the path of a share link.
    """
    scheme, _, place = base.partition("://")
    unsigned = info.dtype.kind == "u" and info.num_channels == 1
    if not unsigned or (info.category == "color" and info.dtype.itemsize > 1):
        return None
    place = place.replace("/", "\\")  # it takes no slash before the UUID; browsers make one of a backslash
    return f"dvid://{scheme}://{place}/{dataset.entry.uuid}/{quote(info.name)}"


def precomputed_address(dataset: Dataset, info: LayerInfo, base: str) -> str | None:
    """The layer as a precomputed volume. None: the format has no such voxels."""
    return f"{base}/precomputed/{dataset_path(dataset.key)}/{quote(info.name)}" if can_hold(info) else None


def zarr_address(dataset: Dataset, info: LayerInfo, base: str) -> str:
    """The layer as OME-Zarr 0.5."""
    return f"{base}/zarr/{dataset_path(dataset.key)}/{quote(info.name)}"


def zarr2_address(dataset: Dataset, info: LayerInfo, base: str) -> str:
    """The layer as OME-Zarr 0.4."""
    return f"{base}/zarr2/{dataset_path(dataset.key)}/{quote(info.name)}"


def dataset_path(key: DatasetKey) -> str:
    """``organization/dataset`` as it stands in addresses."""
    return "/".join(map(quote, key))
