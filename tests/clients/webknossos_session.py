"""The ``webknossos`` package at work, in an interpreter that has it: a JSON line for each call, another for its answer.

Knows nothing of wkdvid: this is what a user's program is. Arrays go into files.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import webknossos as wk
from webknossos.client.context import _clear_all_context_caches


def read(url: str, token: str | None, folder: str, mode: str, dataset: dict[str, str]) -> dict[str, Any]:
    """Every layer in every mag, whole.

    Args:
        folder: Where the arrays are put.
        mode: Of access.
        dataset: What ``RemoteDataset.open`` is told.

    Returns:
        By layer, the mags with the place where each begins, in its own voxels.
    """
    with wk.webknossos_context(url=url, token=token, timeout=60):
        opened = wk.RemoteDataset.open(**dataset, access_mode=wk.RemoteAccessMode[mode])
        return {name: _read_layer(layer, Path(folder)) for name, layer in opened.layers.items()}


def read_references(folder: str) -> dict[str, Any]:
    """As ``read``, of a dataset on disk that only says where its layers' arrays are."""
    return {name: _read_layer(layer, Path(folder)) for name, layer in wk.Dataset.open(folder).layers.items()}


def _read_layer(layer: Any, folder: Path) -> dict[str, Any]:
    begins = {}
    for mag, view in layer.mags.items():
        name = mag.to_long_layer_name()
        np.save(folder / f"{layer.name}-{name}.npy", _read_view(view))
        begins[name] = view.bounding_box.in_mag(mag).topleft.to_list()
    return begins


def _read_view(view: Any) -> Any:
    """(c, x, y, z), or (x, y, z) where the array has no channels: its axes come in the order of the stored ones."""
    voxels = view.read()
    axes = view.normalized_bounding_box.axes
    stored = axes if len(axes) == voxels.ndim else ("x", "y", "z")
    return voxels.transpose([stored.index(axis) for axis in "cxyz" if axis in stored])


def download(
    url: str, token: str | None, folder: str, dataset_id: str, box: list[list[int]], sharing_token: str | None = None
) -> dict[str, Any]:
    """A box (top left and size, in voxels of mag 1) of every layer, in every mag, into a dataset on disk."""
    shared = {"sharing_token": sharing_token}
    with wk.webknossos_context(url=url, token=token, timeout=60):
        remote = wk.RemoteDataset.open(dataset_id=dataset_id, **shared)
        zarr = wk.DataFormat.Zarr  # in small chunks: the others' shards have 512 voxels a side
        local = remote.download(bbox=wk.BoundingBox(*box), path=Path(folder) / "local", data_format=zarr, **shared)
    return {name: _read_layer(layer, Path(folder)) for name, layer in local.layers.items()}


def download_mesh(
    url: str, token: str | None, folder: str, dataset_id: str, datastore: str, segment: int, **how: Any
) -> str:
    """The path of an STL file.

    Args:
        how: A mesh file, or mag and seed.
    """
    with wk.webknossos_context(url=url, token=token, timeout=60):
        dataset = wk.RemoteDataset.open(dataset_id=dataset_id)
        return str(dataset.download_mesh(segment, folder, datastore_url=datastore, **how))


def list_datasets(url: str, token: str | None, organization: str) -> list[str]:
    with wk.webknossos_context(url=url, token=token, timeout=60):
        return sorted(one.name for one in wk.RemoteDataset.list(organization_id=organization).values())


CALLS = {call.__name__: call for call in (read, read_references, download, download_mesh, list_datasets)}


def answer(line: str) -> dict[str, Any]:
    try:
        name, arguments = json.loads(line)
        _clear_all_context_caches()  # the versions of the API that a server offers are asked for anew
        return {"result": CALLS[name](**arguments)}
    except Exception:  # all of it is for whoever asked
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # the package prints
    for line in sys.stdin:
        print(json.dumps(answer(line)), file=answers, flush=True)
