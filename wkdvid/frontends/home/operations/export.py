"""The routes of layers as other programs store them."""

from __future__ import annotations

from collections.abc import Mapping

from wkdvid.frontends.home.operations.operation import OCTETS, Operation

_ZARR = {"zarr": "OME-Zarr 0.5 (zarr 3)", "zarr2": "OME-Zarr 0.4 (zarr 2)"}
EXPORT: Mapping[str, Operation] = {
    "GET /precomputed/{organization}/{name}/{layer}/{path}": Operation(
        "Read a layer as Neuroglancer's precomputed: info, chunks, and what its source has of segments",
        "A document, a chunk or a file, or the part that Range names.",
        OCTETS,
    ),
    **{
        f"GET /{tree}/{{organization}}/{{name}}/{{layer}}/{{path}}": Operation(
            f"Read a layer as {form}", "A document or a chunk, or the part that Range names.", OCTETS
        )
        for tree, form in _ZARR.items()
    },
    **{
        f"GET /{tree}/{{organization}}/{{name}}/{{document}}": Operation(
            f"Describe the group of a dataset's layers as {form}", "A document."
        )
        for tree, form in _ZARR.items()
    },
}
