"""DataSources as a main server reads them (webknossos.md A.3, B.10, C.2): what it takes, and what it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from wkdvid.testing.webknossos.state import Generation, Json, Key

COLOR = {"uint8", "uint16", "uint24", "uint32", "int8", "int16", "int32", "float", "double", "uint64", "int64"}
SEGMENTATION = {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
FORMATS = {"wkw", "zarr", "zarr3", "n5", "neuroglancerPrecomputed"}


class Invalid(Exception):
    """Does not validate; the message says what."""


def read_inventory(body: Json, generation: Generation) -> dict[Key, Mapping[str, Json]]:
    """A datastore's list of its datasets, in the form of this generation.

    Raises:
        Invalid: another form, or a DataSource that cannot be.
    """
    _check(isinstance(body, list), "expected a list")
    found = {}
    for item in body:
        _check(isinstance(item, dict), "expected objects")
        if generation is Generation.ROOTED:
            _check(set(item) <= {"dataSource", "rootPath", "rootRealPath"}, "expected dataSource")
        source = item.get("dataSource") if generation is Generation.ROOTED else item
        found[read_source(source, generation)] = source
    return found


def read_source(source: Json, generation: Generation) -> Key:
    """
    Raises:
        Invalid: not a DataSource.
    """
    _check(isinstance(source, dict) and set(source.get("id", ())) == {"team", "name"}, "id")
    key = (source["id"]["team"], source["id"]["name"])
    if "status" in source:
        _check(isinstance(source["status"], str), "status")
        return key
    scale = source.get("scale")
    factor = scale if generation is Generation.CONNECT or not isinstance(scale, dict) else scale.get("factor")
    _check(isinstance(scale, list) == (generation is Generation.CONNECT), "scale")
    _check(isinstance(factor, list) and len(factor) == 3 and min(factor) > 0, "scale")
    layers = source.get("dataLayers")
    _check(isinstance(layers, list) and len({layer["name"] for layer in layers}) == len(layers) > 0, "dataLayers")
    for layer in layers:
        _check_layer(layer, generation)
    return key


def _check_layer(layer: Mapping[str, Any], generation: Generation) -> None:
    _check("/" not in layer["name"] and not layer["name"].startswith("."), "name")
    classes = SEGMENTATION if layer["category"] == "segmentation" else COLOR
    _check(layer["category"] in ("color", "segmentation") and layer["elementClass"] in classes, "elementClass")
    box = layer["boundingBox"]
    _check(len(box["topLeft"]) == 3 and min(box["width"], box["height"], box["depth"]) > 0, "boundingBox")
    _check_largest_id(layer, generation)
    if generation is Generation.CONNECT:
        _check(layer["dataFormat"] == "wkw", "dataFormat")
        mags = [one["resolution"] for one in layer["wkwResolutions"] if one["cubeLength"] > 0]
        _check(mags == layer["resolutions"], "wkwResolutions")
    else:
        _check(layer["dataFormat"] in FORMATS and all(one["path"] for one in layer["mags"]), "mags")
        mags = [one["mag"] for one in layer["mags"]]
    _check(all(len(mag) == 3 and min(mag) > 0 for mag in mags), "mags")
    _check(all(_is_finer(a, b) for a, b in itertools.pairwise(mags)), "order of mags")


def _is_finer(a: list[int], b: list[int]) -> bool:
    return a != b and all(i <= j for i, j in zip(a, b, strict=True))


def _check_largest_id(layer: Mapping[str, Any], generation: Generation) -> None:
    """Above 2^53 - 1 it comes in an envelope, which only the newest can open."""
    largest = layer.get("largestSegmentId", 0)
    if isinstance(largest, dict) and generation is Generation.ROOTED:
        _check(largest["customJsonEncoding"] == "bigint", "largestSegmentId")
        largest = int(largest["value"])
    _check(type(largest) is int and 0 <= largest < 2**64, "largestSegmentId")


def _check(good: bool, what: str) -> None:
    if not good:
        raise Invalid(f"does not validate: {what}")
