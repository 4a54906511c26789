"""webKnossos datasets whose files the format's reference library (the wkw package) writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wkw

from tests.backends.arrays import Array, noise
from wkdvid.core.geometry import Box, Vec3
from wkdvid.testing.volume_suite import StoredLevel

BLOCK, FILE = 16, 2
"""Voxels along a block, blocks along a file."""
ENCODINGS: Mapping[str, int] = {"raw": 1, "lz4": 2, "lz4hc": 3}
PROPERTIES = "datasource-properties.json"


def write_mag(
    folder: Path, array: Array, start: Vec3, encoding: str = "raw", *, block: int = BLOCK, file: int = FILE
) -> None:
    """Write (c, x, y, z) into whole files, in which zeros surround it: compressed ones can be written no other way."""
    side = block * file
    low = [at // side * side for at in start]
    high = [-(-(at + n) // side) * side for at, n in zip(start, array.shape[1:], strict=True)]
    whole = np.zeros((len(array), *(b - a for a, b in zip(low, high, strict=True))), array.dtype, order="F")
    inside = tuple(slice(at - a, at - a + n) for at, a, n in zip(start, low, array.shape[1:], strict=True))
    whole[(slice(None), *inside)] = array
    header = wkw.Header(array.dtype.type, len(array), block_len=block, file_len=file, block_type=ENCODINGS[encoding])
    folder.mkdir(parents=True)
    with wkw.Dataset.create(str(folder), header) as dataset:
        dataset.write(low, whole)


def write_layer(
    dataset: Path,
    array: Array,
    *,
    name: str = "em",
    start: Vec3 = (0, 0, 0),
    mags: Sequence[Vec3] = ((1, 1, 1),),
    encoding: str = "raw",
    category: str = "color",
    **written: int,
) -> list[StoredLevel]:
    """Add a layer to a dataset; its coarser mags are noise."""
    c, x, y, z = array.shape
    box = Box.at(start, (x, y, z))
    levels = [StoredLevel(array=array, start=start)]
    for i, mag in enumerate(mags[1:], 1):
        extent = box.scaled_down(mag)
        levels.append(StoredLevel(array=noise(array.dtype.name, extent.size, c, i), start=extent.start, mag=mag))
    for level in levels:
        write_mag(dataset / name / folder_name(level.mag), level.array, level.start, encoding, **written)
    layer = {
        "name": name,
        "category": category,
        "boundingBox": {"topLeft": start, "width": x, "height": y, "depth": z},
        "elementClass": element_class(array),
        "numChannels": c,
        "dataFormat": "wkw",
        "mags": [{"mag": mag, "path": f"./{name}/{folder_name(mag)}"} for mag in mags],
    }
    document = read_properties(dataset)
    document["dataLayers"].append(layer)
    write_properties(dataset, document)
    return levels


def element_class(array: Array) -> str:
    """As webKnossos has it: all channels together, floats by the names of C."""
    kind = array.dtype
    plain = {"f": {4: "float", 8: "double"}.get(kind.itemsize), "u": "uint", "i": "int"}[kind.kind]
    return f"{plain}{kind.itemsize * 8 * len(array)}" if kind.kind != "f" else str(plain)


def folder_name(mag: Vec3) -> str:
    return str(mag[0]) if len(set(mag)) == 1 else "-".join(map(str, mag))


def read_properties(dataset: Path) -> dict[str, Any]:
    file = dataset / PROPERTIES
    empty = {"id": {"name": "d", "team": "t"}, "scale": {"factor": [8, 8, 40], "unit": "nanometer"}, "dataLayers": []}
    document: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {**empty, "version": 1}
    return document


def write_properties(dataset: Path, document: Mapping[str, Any]) -> None:
    dataset.mkdir(exist_ok=True)
    (dataset / PROPERTIES).write_text(json.dumps(document))
