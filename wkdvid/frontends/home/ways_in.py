"""How other programs read a layer: lines to copy, each complete and for this layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Vec3, mag_text
from wkdvid.core.layers import Layer
from wkdvid.core.volume import LayerInfo
from wkdvid.frontends.addresses import (
    dataset_path,
    neuroglancer_address,
    precomputed_address,
    zarr2_address,
    zarr_address,
)

CUBE = 64
"""Voxels a side of what the lines read."""


@dataclass(frozen=True, slots=True)
class WayIn:
    name: str
    text: str
    """To be copied as it is."""
    note: str = ""


def ways_in(dataset: Dataset, layer: Layer, corner: Vec3, base: str, webknossos: str | None) -> Sequence[WayIn]:
    """
    Args:
        corner: First voxel of a cube that is read, of mag 1.
        base: Where the caller found us; goes into addresses.
        webknossos: URL of the main server, where there is one.
    """
    info = layer.info
    zarr = zarr_address(dataset, info, base)
    return [
        *_webknossos(dataset, webknossos, zarr),
        *_precomputed(precomputed_address(dataset, info, base), corner),
        WayIn("OME-Zarr 0.5", f"{zarr}/", "zarr 3"),
        WayIn("OME-Zarr 0.4", f"{zarr2_address(dataset, info, base)}/", "zarr 2"),
        WayIn("zarr-python", _zarr_python(zarr, info), "pip install 'zarr>=3' fsspec aiohttp"),
        *_dvid(dataset, info, corner, base),
    ]


def _webknossos(dataset: Dataset, webknossos: str | None, zarr: str) -> Sequence[WayIn]:
    package = (
        "import webknossos as wk\n"
        f'dataset = wk.RemoteDataset.explore_and_add_remote("{zarr}/", "{dataset.key.dataset}")'
    )
    if webknossos is None:
        link = WayIn("webKnossos", f"{zarr}/", "Add dataset, remote")
    else:
        link = WayIn("webKnossos", f"{webknossos.rstrip('/')}/datasets/{dataset_path(dataset.key)}/view")
    return [link, WayIn("webknossos (Python)", package, "adds it to your webKnossos")]


def _precomputed(address: str | None, corner: Vec3) -> Sequence[WayIn]:
    """
    Args:
        address: None: the format has no such voxels.
    """
    if address is None:
        return []
    box = ", ".join(f"{n}:{n + CUBE}" for n in corner)
    cloud_volume = (
        "from cloudvolume import CloudVolume\n"
        f'volume = CloudVolume("precomputed://{address}", mip=0, bounded=False, fill_missing=True)\n'
        f"array = volume[{box}]"
    )
    tensorstore = (
        f'import tensorstore as ts\nvolume = ts.open("{address}/|neuroglancer-precomputed:", read=True).result()'
    )
    return [
        WayIn("Neuroglancer", f"precomputed://{address}", "source of a layer"),
        WayIn("Precomputed", address),
        WayIn("cloud-volume", cloud_volume, "pip install cloud-volume"),
        WayIn("TensorStore", tensorstore, "pip install tensorstore"),
    ]


def _zarr_python(zarr: str, info: LayerInfo) -> str:
    return f'import zarr\narray = zarr.open_group("{zarr}/", mode="r")["{mag_text(info.levels[0].mag)}"]'


def _dvid(dataset: Dataset, info: LayerInfo, corner: Vec3, base: str) -> Sequence[WayIn]:
    """Nothing, for types of voxels that DVID has not."""
    if info.dtype.kind != "u" and info.dtype.name != "float32":
        return []
    node = f"{base}/api/node/{dataset.entry.uuid}/{quote(info.name)}"
    size, offset = "_".join([str(CUBE)] * 3), "_".join(map(str, corner))
    box = ", ".join(f"{n}:{n + CUBE}" for n in corner)
    client = (
        "from wkdvid.client import Client\n"
        f'volume = Client("{base}").voxels("{dataset.entry.uuid}", "{info.name}")\n'
        f"array = volume[0, {box}]"
    )
    source = neuroglancer_address(dataset, info, base)
    return [
        WayIn("DVID", f"{node}/info"),
        *([WayIn("Neuroglancer over DVID", source, "source of a layer")] if source else []),
        WayIn("Python client", client, "pip install 'wkdvid[client]'"),
        WayIn("curl", f"curl -o cube.raw '{node}/raw/0_1_2/{size}/{offset}'", f"{CUBE} voxels a side, x fastest"),
    ]
