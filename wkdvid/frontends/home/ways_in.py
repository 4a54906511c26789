"""How other programs read a layer: lines to copy, each complete and for this layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Vec3
from wkdvid.core.layers import Layer
from wkdvid.core.volume import LayerInfo
from wkdvid.frontends.addresses import dataset_path, exported_address, neuroglancer_address

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
        base: Scheme and host that the caller used.
        webknossos: URL of the main server, where there is one.
    """
    info = layer.info
    precomputed, zarr, zarr2 = (
        exported_address(dataset, info.name, base, tree) for tree in ("precomputed", "zarr", "zarr2")
    )
    return [
        *_webknossos(dataset, webknossos, zarr),
        WayIn("Neuroglancer", f"precomputed://{precomputed}", "source of a layer"),
        *_dvid(dataset, info, corner, base),
        WayIn("Precomputed", precomputed, "Neuroglancer, cloud-volume, TensorStore"),
        WayIn("OME-Zarr 0.5", f"{zarr}/", "zarr 3"),
        WayIn("OME-Zarr 0.4", f"{zarr2}/", "zarr 2"),
        WayIn("cloud-volume", _cloud_volume(precomputed, corner), "pip install cloud-volume"),
        WayIn("zarr-python", _zarr_python(zarr), "pip install 'zarr>=3' fsspec aiohttp"),
        WayIn("TensorStore", _tensorstore(precomputed), "pip install tensorstore"),
    ]


def _webknossos(dataset: Dataset, webknossos: str | None, zarr: str) -> Sequence[WayIn]:
    streamed = (
        "import webknossos as wk\n"
        f'dataset = wk.RemoteDataset.explore_and_add_remote("{zarr}/", "{dataset.key.dataset}", "/")'
    )
    package = WayIn("webknossos (Python)", streamed, "adds it to the webKnossos that you are logged in to")
    if webknossos is None:
        return [WayIn("webKnossos", f"{zarr}/", "Add dataset, remote"), package]
    return [WayIn("webKnossos", f"{webknossos.rstrip('/')}/datasets/{dataset_path(dataset.key)}/view"), package]


def _dvid(dataset: Dataset, info: LayerInfo, corner: Vec3, base: str) -> Sequence[WayIn]:
    """Nothing, for types of voxels that DVID has not."""
    if info.dtype.kind != "u" and info.dtype.name != "float32":
        return []
    uuid, name = dataset.entry.uuid, quote(info.name)
    size, offset = "_".join([str(CUBE)] * 3), "_".join(map(str, corner))
    stop = tuple(n + CUBE for n in corner)
    raw = f"{base}/api/node/{uuid}/{name}/raw/0_1_2/{size}/{offset}"
    slices = ", ".join(f"{a}:{b}" for a, b in zip(corner, stop, strict=True))
    python = (
        "from wkdvid.client import Client\n"
        f'volume = Client("{base}").voxels("{uuid}", "{info.name}")\n'
        f"array = volume[0, {slices}]"
    )
    source = neuroglancer_address(dataset, info, base)
    return [
        *([WayIn("Neuroglancer over DVID", source, "source of a layer")] if source else []),
        WayIn("DVID", f"{base}/api/node/{uuid}/{name}/info"),
        WayIn("Python", python, "pip install 'wkdvid[client]'"),
        WayIn("curl", f"curl -o cube.raw '{raw}'", f"{CUBE} voxels a side, x fastest, {info.dtype.name}"),
    ]


def _cloud_volume(precomputed: str, corner: Vec3) -> str:
    x, y, z = (f"{n}:{n + CUBE}" for n in corner)
    return (
        "from cloudvolume import CloudVolume\n"
        f'volume = CloudVolume("precomputed://{precomputed}", mip=0, bounded=False, fill_missing=True)\n'
        f"array = volume[{x}, {y}, {z}]"
    )


def _zarr_python(zarr: str) -> str:
    return f'import zarr\narray = zarr.open_group("{zarr}/", mode="r")["0"]'


def _tensorstore(precomputed: str) -> str:
    return f'import tensorstore as ts\nvolume = ts.open("{precomputed}/|neuroglancer-precomputed:", read=True).result()'
