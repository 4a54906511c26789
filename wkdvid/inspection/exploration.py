"""What webKnossos's form "add remote dataset" is told of addresses: a DataSource, and a report for who filled it in.

Its main server posts ``{"layerParameters": [{"remoteUri", "credentialId"?, "preferredVoxelSize"?}], "organizationId"}``
and reads ``{"dataSource"?, "report"}``; failures are lines of the report, not statuses
(webKnossos: ExploreRemoteDatasetRequest and ExploreRemoteDatasetResponse of its datastore). The preferred voxel size is
not followed: voxels have the size that their source says, and the form warns where that differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wkdvid.core.catalog import Dataset, State
from wkdvid.core.layers import Layer, Opened, arrange_layers
from wkdvid.core.volume import StoredFiles, StoresFiles
from wkdvid.errors import BackendError, InvalidEntry, InvalidRequest, RequestError
from wkdvid.frontends.webknossos.documents import ENVELOPES_SINCE, data_source
from wkdvid.frontends.webknossos.proxy import DATA_FORMATS
from wkdvid.inspection.inspector import Inspection, Inspector, plain

MAX_ADDRESSES = 32
HEADER_FILES = ("info", ".zarray", ".zattrs", ".zgroup", "zarr.json", "attributes.json", "datasource-properties.json")
"""Documents of a volume that people copy the address of, and mean the folder."""
UNNAMED = {"name": "", "team": ""}
"""The main server asks its user for the names."""


async def explore(inspector: Inspector, body: object) -> dict[str, Any]:
    """
    Args:
        body: The parsed JSON.
    Raises:
        InvalidRequest: it is no such request.
    """
    report: list[str] = []
    found: list[Inspection] = []
    try:
        for parameters in _parameters(body):
            await _look_at(inspector, parameters, found, report)
        source = _data_source(found, report)
    finally:
        for inspection in found:
            await inspection.aclose()
    return {"dataSource": source, "report": "\n".join(report)} if source else {"report": "\n".join(report)}


def _parameters(body: object) -> Sequence[Mapping[str, Any]]:
    listed = body.get("layerParameters") if isinstance(body, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_ADDRESSES:
        raise InvalidRequest(f"layerParameters: expected a list of 1 to {MAX_ADDRESSES} objects")
    for i, parameters in enumerate(listed):
        if not isinstance(parameters, dict) or not isinstance(parameters.get("remoteUri"), str):
            raise InvalidRequest(f"layerParameters[{i}].remoteUri: expected an address")
    return listed


async def _look_at(
    inspector: Inspector, parameters: Mapping[str, Any], found: list[Inspection], report: list[str]
) -> None:
    address = _folder(parameters["remoteUri"])
    if parameters.get("credentialId") is not None:
        report.append(
            "Credentials that are given to webKnossos are not used here; the operator of this datastore grants them by"
            " address (sources.credentials)."
        )
    try:
        inspection = await inspector.inspect({"source": address})
    except (RequestError, BackendError) as error:
        report.append(f"{address}: {error}.")
        return
    found.append(inspection)
    report.append(f"Found {len(inspection.layers)} {inspection.backend} layers at {address}.")
    report += inspection.problems
    report += [f"Layer {layer.info.name}: {problem}" for layer in inspection.layers for problem in layer.problems]


def _folder(address: str) -> str:
    folder, slash, name = address.strip().rpartition("/")
    return folder + slash if name in HEADER_FILES else address.strip()


def _data_source(found: Sequence[Inspection], report: list[str]) -> dict[str, Any] | None:
    """All layers on one grid; None if there is nothing that the main server could name."""
    opened = [Opened(None, layer.volume) for inspection in found for layer in inspection.layers]
    if not opened:
        return None
    entry = found[0].dataset.entry
    try:
        layers = arrange_layers(entry, opened)
    except InvalidEntry as error:
        report += [f"The layers do not fit together: {plain(text, entry.backend)}." for text in error.problems]
        return None
    nameable = {name: layer for name, layer in layers.items() if _files(layer)}
    report += [
        f"Layer {name} is of a format ({layer.info.format}) or a part of arrays that webKnossos's form does not know."
        " It can be registered with this datastore: POST /data/datasets."
        for name, layer in layers.items()
        if name not in nameable
    ]
    if not nameable:
        return None
    return {**data_source(Dataset(entry, 0, State.OPEN, nameable), ENVELOPES_SINCE, _remote), "id": UNNAMED}


def _remote(layer: Layer) -> dict[str, Any]:
    """A layer's stored mags at their own addresses."""
    return {"dataFormat": DATA_FORMATS[_files(layer)[0].format], "mags": _mags(layer)}


def _mags(layer: Layer) -> list[dict[str, Any]]:
    return [
        {
            "mag": list(level.mag),
            "path": one.place + one.folder,
            "axisOrder": {axis: one.axes.index(axis) for axis in one.axes},
        }
        for level, one in zip(layer.info.levels, _files(layer), strict=False)
    ]


def _files(layer: Layer) -> Sequence[StoredFiles]:
    return layer.volume.files if isinstance(layer.volume, StoresFiles) else ()
